"""What a person sees of a run: lines that stay, progress below them, messages, tables, colors."""

from foundation.terminal.layout import cropped, table
from foundation.terminal.library_bars import let_bars_count
from foundation.terminal.progress import BYTES, Progress, size_text
from foundation.terminal.stages import Stages
from foundation.terminal.streams import columns_of, is_terminal, is_utf8, take_any_text
from foundation.terminal.terminal import TERMINAL, Terminal, TerminalHandler

__all__ = [
    "BYTES",
    "TERMINAL",
    "Progress",
    "Stages",
    "Terminal",
    "TerminalHandler",
    "columns_of",
    "cropped",
    "is_terminal",
    "is_utf8",
    "let_bars_count",
    "size_text",
    "table",
    "take_any_text",
]
