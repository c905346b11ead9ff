"""Colors, for those who look at a terminal: what stands out in a line, by what the line says.

Lines are plain text everywhere else in the program, and nothing that they say is lost without colors. The names of the
groups in the patterns are rich's styles.
"""

import functools
import io
import re
from typing import TYPE_CHECKING, TextIO

from foundation.terminal.streams import takes_color

if TYPE_CHECKING:
    from rich.console import Console

LINES = (
    # A step's line: its name, and what became of it.
    re.compile(r"^  (?P<bold>[a-z]+) +(?:(?P<green>ran)|(?P<cyan>cached)|(?P<yellow>run)|(?P<red>failed|damaged))\b"),
    # A heading and what belongs to it, as in "Report      pipeline_root/...".
    re.compile(r"^(?P<bold>[A-Z][A-Za-z ]{2,10}?)(?=  +\S)"),
    # The two parts of a bar.
    re.compile(r"(?P<green>█+)"),
    re.compile(r"(?P<dim>░+)"),
)
MESSAGES = (
    re.compile(r"^(?P<bold>[\w.-]+): (?:(?P<yellow>warning)|(?P<red>error))\b"),
    re.compile(r"^ +(?P<bold>Received|Way out):"),
)


def painted(text: str, stream: TextIO | None, patterns: tuple[re.Pattern[str], ...] = LINES) -> str:
    """A line with the codes of its colors, where a stream takes colors; the line itself elsewhere."""
    if not takes_color(stream) or not any(pattern.search(text) for pattern in patterns):
        return text
    from rich.color import ColorSystem
    from rich.text import Text

    line = Text(text, end="")
    for pattern in patterns:
        line.highlight_regex(pattern)
    parts = [(part, style) for part, style, _ in _console().render(line)]
    return "".join(style.render(part, color_system=ColorSystem.STANDARD) if style else part for part, style in parts)


@functools.cache
def _console() -> "Console":
    from rich.console import Console

    return Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=100_000)
