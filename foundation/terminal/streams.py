"""What the streams of a process can show: whether they are terminals, how wide, in color, and in which characters."""

import codecs
import io
import os
import sys
from typing import TextIO

DEFAULT_COLUMNS = 80
POOR_TERMINALS = ("dumb", "unknown")
STAND_INS = str.maketrans({"█": "#", "░": ".", "·": "-", "–": "-", "−": "-", "…": "...", "“": '"', "”": '"', "’": "'"})
"""What to write in place of characters that a terminal's encoding lacks."""


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal. It is None in a process that was started without that stream."""
    return stream is not None and not stream.closed and stream.isatty()


def is_rewritable(stream: TextIO | None) -> bool:
    """Whether a line that was written to a stream can be rewritten without disturbing anybody."""
    if stream is None or not is_terminal(stream) or os.environ.get("TERM") in POOR_TERMINALS:
        return False
    try:
        # In the background, the terminal's line belongs to the shell.
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except OSError:  # a terminal, but not the one that controls this process
        return True


def takes_color(stream: TextIO | None) -> bool:
    """Whether what is written to a stream should have colors.

    A terminal has them, unless it is a poor one. `NO_COLOR` takes them away (https://no-color.org), and `FORCE_COLOR`
    has them written to whatever there is; where both are set, there are none.
    """
    if stream is None or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and os.environ.get("TERM") not in POOR_TERMINALS


def columns_of(stream: TextIO | None) -> int:
    """The width of a terminal, as it is now."""
    try:
        return (stream and os.get_terminal_size(stream.fileno()).columns) or DEFAULT_COLUMNS
    except (OSError, ValueError):
        return DEFAULT_COLUMNS


def is_utf8(stream: TextIO | None) -> bool:
    """Whether a stream takes every character."""
    return stream is not None and codecs.lookup(stream.encoding or "utf-8").name == "utf-8"


def take_any_text() -> None:
    """Makes standard output accept characters that its encoding lacks: it writes others in their place."""
    codecs.register_error(_stand_in.__name__, _stand_in)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_stand_in.__name__)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """What to write for characters that can't be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(STAND_INS)
    return lacking.encode("ascii", "backslashreplace").decode("ascii"), error.end
