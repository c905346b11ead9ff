"""What a run shows on standard output: lines that stay and, below them, a line that says what is being done.

On a terminal that last line is rewritten, in as many columns as there are at the moment. Elsewhere (a file, a pipe,
`TERM=dumb`, a job in the background) a long step writes a plain line now and then, so that a log shows life.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TextIO, TypeVar, cast

from foundation.errors import PipelineError
from foundation.terminal.layout import cropped, wrapped
from foundation.terminal.library_bars import progress_of_libraries
from foundation.terminal.progress import BYTES, Progress
from foundation.terminal.streams import columns_of, is_rewritable, is_terminal
from foundation.terminal.styles import MESSAGES, painted

AnyProgress = TypeVar("AnyProgress", bound=Progress)
Status = Callable[[int | None], str]
"""Gives the line that says what is being done, in at most so many columns; None asks for one of any length."""
REDRAW_SECONDS = 0.5
LINE_SECONDS = 30.0
"""The time from one plain line that says what is being done to the next."""
ERASE_BELOW = "\x1b[J"


class Terminal:
    """Standard output, whichever stream that is at the moment. Many threads may use it at once.

    Between two drawings the cursor stands at the beginning of the line that is rewritten. It stays there
    when a terminal that is made narrower breaks the line in two, so that all of the line can be erased.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._name = ""
        self._step: Status | None = None
        self._status: Status | None = None
        self._progress: Progress | None = None
        self._drawn = False
        self._shown = 0.0
        self._muted = 0

    @contextlib.contextmanager
    def muted(self) -> Iterator[None]:
        """Writes nothing, to standard output or standard error, while the context lasts."""
        with self._lock:
            self._muted += 1
        try:
            yield
        finally:
            with self._lock:
                self._muted -= 1

    def line(self, text: str = "") -> None:
        """Writes a line that stays."""
        with self._lock:
            drawn = self._drawn
            lines = "\n".join(painted(each, _stdout()) for each in text.split("\n"))
            self._write(f"{self._erasing()}{lines}\n")
            self._drawn = False
            if drawn:
                self._draw()

    def paragraph(self, text: str) -> None:
        """Writes a line that stays; on a terminal that is too narrow for it, lines that are broken at words.

        The further lines begin below the last column of the first: below what a step's line says at its end.
        """
        self.line("\n".join(_fitted(text, _stdout())))

    def tell(self, text: str) -> None:
        """Writes a line of its own to standard error, also after the `^C` that a terminal shows at an interrupt."""
        stream = _stderr()
        self._tell("\n".join(_fitted(text, stream, hang=4)))

    def error(self, program: str, error: PipelineError) -> None:
        """Tells of an error: on a terminal, the rule, what was received and the way out each on a line of its own.

        Args:
            program: What the line begins with.
            error: Says the three.
        """
        stream = _stderr()
        if not is_terminal(stream):
            self._tell(f"{program}: {error}")
            return
        rule, received, remedy = error.sentences
        lines = _fitted(f"{program}: {rule}", stream, hang=2)
        lines += _fitted(f"  {received}", stream, hang=4) + _fitted(f"  {remedy}", stream, hang=4)
        self._tell("\n".join(lines))

    def clear(self) -> None:
        """Erases the line that is rewritten, until it is drawn again."""
        with self._lock:
            self._write(self._erasing())
            self._drawn = False

    @contextlib.contextmanager
    def working(self, name: str) -> Iterator[None]:
        """Says what is being done and for how long, while the context lasts.

        What libraries write to standard output or standard error meanwhile has lines of its own.

        Args:
            name: What is being done, unless `status` or `progress` says it better.
        """
        started, over = time.monotonic(), threading.Event()

        def step(columns: int | None) -> str:
            libraries = progress_of_libraries()
            if libraries is not None:
                libraries.step = name
                return libraries.line(columns)
            text = f"  {name:<11} {'running':<7} {time.monotonic() - started:7.0f} s"
            return text if columns is None else cropped(text, columns)

        with self._lock:
            self._name, self._step, self._status, self._shown = name, step, None, started
            self._draw()
        threading.Thread(target=self._keep_drawing, args=(over,), daemon=True).start()
        try:
            with self._others_beside():
                yield
        except Exception:
            raise
        except BaseException:
            self._leave()  # whoever interrupts sees how far it came
            raise
        finally:
            over.set()
            with self._lock:
                self._name, self._step, self._status = "", None, None
                self.clear()

    @contextlib.contextmanager
    def progress(self, doing: str, total: float | None = None, unit: str | None = "") -> Iterator[Progress]:
        """Shows how far a long piece of work is, while the context lasts; then again what was shown before.

        Args:
            doing: What is done: "tokenizing", say.
            total: How much there is to do; None where nobody knows.
            unit: Of what: "records", or `BYTES`; None where the amount says nothing to a person.

        Example:
            with TERMINAL.progress("tokenizing", len(records), "records") as progress:
                for record in records:
                    progress.advance()
        """
        with self.showing(Progress(doing, total, unit)) as progress:
            yield progress

    @contextlib.contextmanager
    def showing(self, progress: AnyProgress) -> Iterator[AnyProgress]:
        """The same for a progress of any kind."""
        before, status = self._progress, self._status
        progress.step = self._name
        self._progress, self._status = progress, progress.line
        try:
            yield progress
        finally:
            self._progress = before
            # Where the work ends by an interrupt, how far it came stays to be seen.
            if not isinstance(sys.exception(), KeyboardInterrupt):
                self._status = status

    def counting_bytes(self, doing: str, total: float) -> contextlib.AbstractContextManager[object]:
        """Shows how many bytes were read, as `progress` does, unless that is shown for more files already."""
        counts = self._progress is not None and self._progress.unit == BYTES
        return contextlib.nullcontext() if counts else self.progress(doing, total, BYTES)

    def following(self, path: Path, file: IO[Any]) -> contextlib.AbstractContextManager[None]:
        """Counts how far a file is read, where bytes are what is counted at the moment; see `Progress.follow`."""
        progress = self._progress
        counts = progress is not None and progress.unit == BYTES
        return progress.follow(str(path), file) if progress and counts else contextlib.nullcontext()

    def status(self, status: Status | None) -> None:
        """Says what is being done; None for what `working` says. It is called anew for each drawing."""
        self._status = status

    def beside(self, stream: TextIO, text: str) -> None:
        """Writes lines to a stream as they are, above the line that is rewritten."""
        with self._lock:
            drawn = self._drawn
            self.clear()
            with contextlib.suppress(OSError, ValueError):
                stream.write(text)
                stream.flush()
            if drawn:
                self._draw()

    def _tell(self, text: str) -> None:
        with self._lock:
            self.clear()
            stream = None if self._muted else _stderr()
            start = "" if not is_terminal(stream) else f"\r{ERASE_BELOW}" if is_rewritable(stream) else "\n"
            text = "\n".join(painted(each, stream, MESSAGES) for each in text.split("\n"))
            if stream is not None:
                with contextlib.suppress(OSError):
                    print(f"{start}{text}", file=stream, flush=True)

    @contextlib.contextmanager
    def _others_beside(self) -> Iterator[None]:
        """Has what others write to the standard streams stand on lines of its own, where they are terminals."""
        stdout, stderr = sys.stdout, sys.stderr
        out = _Beside(self, stdout) if is_rewritable(_stdout()) and not isinstance(stdout, _Beside) else None
        err = _Beside(self, stderr) if out and is_rewritable(_stderr()) else None
        if out:
            sys.stdout = cast(TextIO, out)
        if err:
            sys.stderr = cast(TextIO, err)
        try:
            yield
        finally:
            if out:
                out.end_line()
                sys.stdout = stdout
            if err:
                err.end_line()
                sys.stderr = stderr

    def _keep_drawing(self, over: threading.Event) -> None:
        while not over.wait(REDRAW_SECONDS):
            with self._lock:
                if not over.is_set():
                    self._draw()

    def _draw(self) -> None:
        status, stream = self._status or self._step, _stdout()
        if status is None:
            return
        if is_rewritable(stream):
            # One column less: some terminals break a line when its last column is filled.
            text = painted(status(max(columns_of(stream) - 1, 1)), stream)
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
        return f"\r{ERASE_BELOW}" if self._drawn and is_rewritable(_stdout()) else ""

    def _write(self, text: str) -> None:
        """Writes to standard output; where nobody reads it any more, the work goes on without it."""
        stream = _stdout()
        if not text or stream is None or self._muted:
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


class _Beside:
    """Takes the place of a standard stream that is a terminal, and gives it whole lines."""

    def __init__(self, terminal: Terminal, stream: TextIO | None) -> None:
        self.terminal, self.stream = terminal, cast(TextIO, stream)
        self._begun = ""

    def write(self, text: str) -> int:
        whole, newline, self._begun = (self._begun + text).rpartition("\n")
        if newline:
            self.terminal.beside(self.stream, whole + newline)
        return len(text)

    def end_line(self) -> None:
        """Writes the line that was begun."""
        if self._begun:
            self.write("\n")

    def flush(self) -> None:
        """Nothing: a line is written when it is whole."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _stdout() -> TextIO | None:
    return sys.stdout.stream if isinstance(sys.stdout, _Beside) else sys.stdout


def _stderr() -> TextIO | None:
    return sys.stderr.stream if isinstance(sys.stderr, _Beside) else sys.stderr


def _fitted(text: str, stream: TextIO | None, hang: int | None = None) -> list[str]:
    """A text as lines that fit a terminal; as it is for any other stream."""
    columns = columns_of(stream) - 1 if is_rewritable(stream) else None
    return [text] if columns is None else [line for each in text.split("\n") for line in wrapped(each, columns, hang)]


TERMINAL = Terminal()
"""The only instance, because a process has one standard output."""


class TerminalHandler(logging.Handler):
    """Writes a log's records as lines to standard error, without disturbing the line that is rewritten."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record."""
        TERMINAL.tell(self.format(record))
