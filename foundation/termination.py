"""Signals that ask a process to end (Ctrl-C's SIGINT, SIGTERM, SIGHUP): each ends it within seconds, and none is lost.

A signal becomes an exception in the main thread, so that whatever is under way cleans up behind itself. Such an
exception can be lost, and the main thread may be busy in a library for minutes; both are provided for here.
"""

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from foundation.terminal import TERMINAL

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BUSY_SECONDS = 5.0
"""How long the main thread may take to notice a signal; then the process ends without it."""
AGAIN_SECONDS = 0.05
"""After how long a signal comes again whose exception was lost: by then the destructor that lost it is over."""
AGAIN = 128
"""Added to a signal's number that is to be sent again."""


class Terminated(KeyboardInterrupt):
    """A signal asks the process to end.

    Args:
        number: Which one.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Termination:
    """What the signals do to this process.

    First `end_at_once`, while libraries are imported; then `interrupt`, while there is something to close; and `ignore`
    when nothing is left to be done. Signals that are ignored from the start, as by nohup, stay so.

    Attributes:
        received: The signal that interrupted the main thread; None where none has.
        closing: Called before the process ends without its main thread: closes what should not be left open.
        said: What is told then.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.closing: Callable[[], None] | None = None
        self.said = ""
        self._answered = 0
        self._held: int | None = None
        self._is_held_back = False
        self._wakes: int | None = None
        self._hook = sys.unraisablehook

    def end_at_once(self, said: str) -> None:
        """Has a signal end the process on the spot.

        Args:
            said: What is told then.
        """
        self.said = said
        self._handle(self._end)

    def interrupt(self, said: str) -> None:
        """Has the first signal raise `Terminated` in the main thread, and another end the process on the spot.

        Where the exception is lost, because a destructor or a callback from C was running, the signal comes again.
        Where the main thread doesn't notice it for some seconds, because a library keeps it busy, the process ends
        without it.

        Args:
            said: What is told where the process ends without its main thread.
        """
        self.said = said
        if self._wakes is None:
            self._watch()
        self._handle(self._raise)

    def ignore(self) -> None:
        """Has signals do nothing: all is done, and Python itself takes a moment to end."""
        self._handle(signal.SIG_IGN)

    def lost(self) -> Terminated | None:
        """The exception of a signal that should have ended the main thread's work by now; None where there is none."""
        return None if self.received is None else Terminated(self.received)

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """A context that no signal interrupts: it comes at the end. For what takes no longer than a moment."""
        self._is_held_back = True
        try:
            yield
        finally:
            self._is_held_back = False
            if self._held is not None:
                number, self._held = self._held, None
                self._raise(number)

    def leave(self, code: int) -> None:
        """Ends the process after an interrupt, without waiting for threads that still work, such as an upload."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()
        os._exit(code)

    def _handle(self, handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
        ours = (self._end, self._raise)
        for number in SIGNALS:
            current: Any = signal.getsignal(number)
            if current in (signal.SIG_DFL, signal.default_int_handler, *ours):
                signal.signal(number, handler)

    def _raise(self, number: int, frame: FrameType | None = None) -> None:
        self._answered += 1
        if self._is_held_back and self._held is None:
            self._held = number
        elif self.received is None and self._held is None:
            self.received = number
            raise Terminated(number)
        else:
            self._end(number)

    def _end(self, number: int, frame: FrameType | None = None) -> None:
        """Ends the process."""
        try:
            if self.closing is not None:
                self.closing()
            TERMINAL.tell(self.said)
        finally:
            os._exit(128 + number)

    def _watch(self) -> None:
        """Watches from another thread whether signals are noticed, and whether their exceptions are lost."""
        reads, wakes = os.pipe()
        os.set_blocking(wakes, False)
        wake = functools.partial(signal.set_wakeup_fd, wakes, warn_on_full_buffer=False)
        wake()
        self._wakes = wakes
        # A child that is forked has no such thread, and must not wake ours.
        os.register_at_fork(before=functools.partial(signal.set_wakeup_fd, -1), after_in_parent=wake)
        threading.Thread(target=self._keep_watching, args=(reads,), name="signals", daemon=True).start()
        self._hook = sys.unraisablehook
        sys.unraisablehook = self._come_again

    def _come_again(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Has a signal sent again whose exception Python ignores; any other exception is reported as before."""
        if self._wakes is not None and issubclass(unraisable.exc_type, KeyboardInterrupt):
            number, self.received = self.received or signal.SIGINT, None
            os.write(self._wakes, bytes([AGAIN + number]))
        else:
            self._hook(unraisable)

    def _keep_watching(self, reads: int) -> None:
        answered = self._answered
        while True:
            for number in os.read(reads, 64):
                if number > AGAIN:
                    time.sleep(AGAIN_SECONDS)
                    os.kill(os.getpid(), number - AGAIN)
                elif number in SIGNALS and signal.getsignal(number) == self._raise:
                    noticed_by = time.monotonic() + BUSY_SECONDS
                    while self._answered == answered and time.monotonic() < noticed_by:
                        time.sleep(0.05)
                    if self._answered == answered:
                        self._end(number)
                    answered = self._answered


TERMINATION = Termination()
"""The only instance, because a process has one handler of each signal."""


def number_of(interrupt: KeyboardInterrupt) -> int:
    """The number of the signal that interrupted the main thread."""
    return interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT
