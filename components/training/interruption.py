"""Signals that ask a training to end: held back until a step is done, so that a checkpoint can be written first."""

import contextlib
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from foundation.terminal import TERMINAL

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Whether somebody asked the training to end.

    As a context, it gives the signals back at its end.
    """

    def __init__(self) -> None:
        self._handlers: dict[signal.Signals, Any] = {}
        self._received: signal.Signals | None = None
        self._since = 0.0

    @property
    def seconds(self) -> float | None:
        """How long ago somebody asked; None where nobody has."""
        return None if self._received is None else time.monotonic() - self._since

    def hold_back(self) -> None:
        """Begins to hold signals back, those that somebody handles. Only the main thread can, and only it gets any."""
        if self._handlers or threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if callable(signal.getsignal(number)):
                self._handlers[number] = signal.signal(number, self._receive)

    def deliver(self) -> None:
        """Has the signal do what it would have done at once, if there was one."""
        self._let_go()
        if self._received is not None:
            received, self._received = self._received, None
            signal.raise_signal(received)

    def __enter__(self) -> "Interruption":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._let_go()
        if error is None:
            self.deliver()

    def _let_go(self) -> None:
        """Gives the signals back to those who handled them before."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        is_second = self._received is not None
        self._received, self._since = signal.Signals(number), time.monotonic()
        if is_second:
            self.deliver()
        else:
            with contextlib.suppress(RuntimeError):  # the signal came in the middle of a line
                TERMINAL.tell("  stopping after this step, with a checkpoint; once more stops at once")
