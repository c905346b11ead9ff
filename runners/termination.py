"""SIGTERM and SIGHUP end a run as Ctrl-C does: with a closed record and a message."""

import signal
from types import FrameType


class Terminated(KeyboardInterrupt):
    """A signal other than Ctrl-C's asks the run to end.

    Args:
        number: Which one.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def handle_termination() -> None:
    """Has the signals raise `Terminated` in the main thread. Those that were ignored, as by nohup, stay so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _terminate)


def number_of(interrupt: KeyboardInterrupt) -> int:
    """The number of the signal that interrupted a run."""
    return interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated(number)
