"""Runs a program's main function as all that its process does: what is logged and what a signal does, until its end."""

import logging
import os
from collections.abc import Callable

from foundation.terminal import TerminalHandler, let_bars_count
from foundation.termination import TERMINATION


def run_as_process(main: Callable[[], int], said: str, interrupted: Callable[[KeyboardInterrupt], int]) -> int:
    """Runs a main function, which signals end.

    After an interrupt the process is left at once, without waiting for threads that still work.

    Args:
        main: Returns the exit code.
        said: What is told where a signal has to end the process without its main thread.
        interrupted: Tells of an interrupt that `main` itself didn't answer, and returns the exit code.

    Returns:
        The exit code.
    """
    try:
        TERMINATION.interrupt(said)
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        let_bars_count()
        # Keras' remarks about its own retracing and callbacks tell a user nothing to do.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        logging.lastResort = TerminalHandler(logging.WARNING)
        code = main()
    except KeyboardInterrupt as interrupt:
        code = interrupted(interrupt)
    if TERMINATION.received is not None:
        TERMINATION.leave(code)
    TERMINATION.ignore()
    return code
