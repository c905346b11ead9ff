"""What showing the progress costs training: the time of a step's count and of a drawing, as a share of one processor.

Run: python benchmarks/terminal.py
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from components.training.progress import Progress
from foundation.terminal.terminal import REDRAW_SECONDS, Terminal

STEPS, DRAWINGS = 200_000, 1_000
MEASURES = {"loss": 4.8391, "perplexity": 126.36, "tokens_per_second": 26431.0}
STEPS_A_SECOND = 50.0
"""More than a small model makes on two cores."""


def seconds_each(work: Callable[[], None], times: int) -> float:
    """The processor's time that some work takes, each time."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def main() -> None:
    """Measures both, and prints a table and JSON."""
    progress = Progress(STEPS, 3)
    counting = seconds_each(lambda: progress.step(STEPS // 2, MEASURES), STEPS)
    ours, theirs = os.openpty()
    threading.Thread(target=read_all, args=(ours,), daemon=True).start()
    stdout, terminal = sys.stdout, Terminal()
    os.environ["TERM"] = "xterm"  # so that the line is drawn and colored, wherever this runs
    with os.fdopen(theirs, "w", encoding="utf-8") as sys.stdout:
        terminal.status(progress.line)
        terminal._draw()
        drawing = seconds_each(terminal._draw, DRAWINGS)
    sys.stdout = stdout
    share = counting * STEPS_A_SECOND + drawing / REDRAW_SECONDS
    print(f"counting a step   {counting * 1e6:8.2f} µs")
    print(f"drawing the line  {drawing * 1e6:8.2f} µs, every {REDRAW_SECONDS} s")
    print(f"of a processor    {share:8.4%} at {STEPS_A_SECOND:.0f} steps a second")
    print(json.dumps({"counting_seconds": counting, "drawing_seconds": drawing, "share": share}))


def read_all(descriptor: int) -> None:
    """Reads what is drawn, as a terminal does."""
    with contextlib.suppress(OSError):
        while os.read(descriptor, 65536):
            pass


if __name__ == "__main__":
    main()
