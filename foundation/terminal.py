"""What a run shows on standard output: lines that stay and, below them, a line that says what is being done.

On a terminal that last line is rewritten, in as many columns as there are at the moment. Elsewhere (a file, a pipe,
`TERM=dumb`, a job in the background) a long step writes a plain line now and then, so that a log shows life.
"""

import codecs
import contextlib
import io
import logging
import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

Status = Callable[[int | None], str]
"""Gives the line that says what is being done, in at most so many columns; None asks for one of any length."""
REDRAW_SECONDS = 0.5
LINE_SECONDS = 30.0
"""The time from one plain line that says what is being done to the next."""
DEFAULT_COLUMNS = 80
ERASE_BELOW = "\x1b[J"
STAND_INS = str.maketrans({"█": "#", "░": ".", "·": "-", "–": "-", "−": "-", "…": "...", "“": '"', "”": '"', "’": "'"})
"""What to write in place of characters that a terminal's encoding lacks."""


class Terminal:
    """Standard output, whichever stream that is at the moment. Many threads may use it at once.

    Between two drawings the cursor stands at the beginning of the line that is rewritten. It stays there
    when a terminal that is made narrower breaks the line in two, so that all of the line can be erased.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._step: Status | None = None
        self._status: Status | None = None
        self._drawn = False
        self._shown = 0.0

    def line(self, text: str = "") -> None:
        """Writes a line that stays."""
        with self._lock:
            drawn = self._drawn
            self._write(f"{self._erasing()}{text}\n")
            self._drawn = False
            if drawn:
                self._draw()

    def paragraph(self, text: str) -> None:
        """Writes a line that stays; on a terminal that is too narrow for it, lines that are broken at words."""
        columns = columns_of(sys.stdout) if is_rewritable(sys.stdout) else None
        if columns is not None and len(text) > columns:
            # One column less: some terminals break a line when its last column is filled.
            text = textwrap.fill(
                text,
                max(columns - 1, 1),
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        self.line(text)

    def tell(self, text: str) -> None:
        """Writes a line of its own to standard error, also after the `^C` that a terminal shows at an interrupt."""
        with self._lock:
            self.clear()
            stream = sys.stderr
            start = "" if not is_terminal(stream) else f"\r{ERASE_BELOW}" if is_rewritable(stream) else "\n"
            if stream is not None:
                with contextlib.suppress(OSError):
                    print(f"{start}{text}", file=stream, flush=True)

    def clear(self) -> None:
        """Erases the line that is rewritten, until it is drawn again."""
        with self._lock:
            self._write(self._erasing())
            self._drawn = False

    @contextlib.contextmanager
    def working(self, name: str) -> Iterator[None]:
        """Says what is being done and for how long, while the context lasts.

        Args:
            name: What is being done, unless `status` says it better.
        """
        started, over = time.monotonic(), threading.Event()

        def step(columns: int | None) -> str:
            return f"  {name:<11} {'...':<7} {time.monotonic() - started:7.0f} s"[:columns]

        with self._lock:
            self._step, self._status, self._shown = step, None, started
            self._draw()
        threading.Thread(target=self._keep_drawing, args=(over,), daemon=True).start()
        try:
            yield
        except Exception:
            raise
        except BaseException:
            self._leave()  # whoever interrupts sees how far it came
            raise
        finally:
            over.set()
            with self._lock:
                self._step = self._status = None
                self.clear()

    def status(self, status: Status | None) -> None:
        """Says what is being done; None for what `working` says. It is called anew for each drawing."""
        self._status = status

    def _keep_drawing(self, over: threading.Event) -> None:
        while not over.wait(REDRAW_SECONDS):
            with self._lock:
                if not over.is_set():
                    self._draw()

    def _draw(self) -> None:
        status = self._status or self._step
        if status is None:
            return
        if is_rewritable(sys.stdout):
            text = status(max(columns_of(sys.stdout) - 1, 1))
            # What is longer is erased after it is overwritten, so that nothing flickers.
            self._write(f"\r{text}{ERASE_BELOW}\r")
            self._drawn = True
        elif time.monotonic() - self._shown >= LINE_SECONDS:
            self.line(status(None))
            self._shown = time.monotonic()

    def _leave(self) -> None:
        """Draws the line a last time and leaves it there."""
        with self._lock:
            if self._drawn:
                self._draw()
                self._write("\n")
                self._drawn = False

    def _erasing(self) -> str:
        """The characters that erase what was drawn; none where the shell has that line by now."""
        return f"\r{ERASE_BELOW}" if self._drawn and is_rewritable(sys.stdout) else ""

    def _write(self, text: str) -> None:
        """Writes to standard output; where nobody reads it any more, the work goes on without it."""
        stream = sys.stdout
        if not text or stream is None:
            return
        try:
            stream.write(text)
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                # What is left in the buffer must go somewhere, or Python ends with an error of its own.
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


TERMINAL = Terminal()
"""The only instance, because a process has one standard output."""


class TerminalHandler(logging.Handler):
    """Writes a log's records as lines to standard error, without disturbing the line that is rewritten."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record."""
        TERMINAL.tell(self.format(record))


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal. It is None in a process that was started without that stream."""
    return stream is not None and not stream.closed and stream.isatty()


def is_rewritable(stream: TextIO | None) -> bool:
    """Whether a line that was written to a stream can be rewritten without disturbing anybody."""
    if stream is None or not is_terminal(stream) or os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    try:
        # In the background, the terminal's line belongs to the shell.
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except OSError:  # a terminal, but not the one that controls this process
        return True


def columns_of(stream: TextIO) -> int:
    """The width of a terminal, as it is now."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except OSError:
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
