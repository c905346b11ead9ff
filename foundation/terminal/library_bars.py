"""The progress of libraries that draw bars with tqdm, as the Hub's client and `datasets` do, in the terminal's line.

tqdm keeps a list of its bars that count. Where `let_bars_count` was called before tqdm was imported, they count and
never draw, because they wait longer than any run lasts before they do; what they counted is read from that list.
"""

import os
import sys
import time
from typing import Any

from foundation.terminal.progress import BYTES, Progress

NEVER = "1e9"
"""Seconds after which a bar would draw."""
SCALES = {"k": 1e3, "M": 1e6}


def let_bars_count() -> None:
    """Has tqdm's bars count without being drawn, on a terminal or not. For a process of its own, before any import."""
    os.environ.setdefault("TQDM_DELAY", NEVER)
    # The Hub's client takes this for the sign that its bars are wanted although nobody draws them.
    os.environ.setdefault("TQDM_POSITION", "-1")


def bars_are_counted() -> bool:
    """Whether bars count and aren't drawn in this process."""
    return os.environ.get("TQDM_DELAY") == NEVER


def progress_of_libraries() -> Progress | None:
    """What libraries are busy with at the moment, as one progress; None where no bar counts.

    Several files that come at the same time are one download.
    """
    module: Any = sys.modules.get("tqdm.std")
    if module is None or not bars_are_counted():
        return None
    try:
        bars = [each for each in list(module.tqdm._instances) if not each.disable]
    except (RuntimeError, AttributeError):  # changed at this very moment by another thread, or by another release
        return None
    if not bars:
        return None
    files = [each for each in bars if each.unit == BYTES]
    # Of bars within bars, the innermost moves.
    chosen = files or bars[-1:]
    return _as_progress(chosen)


def _as_progress(bars: list[Any]) -> Progress:
    scales = [SCALES.get(str(each.unit)[:1], 1.0) if str(each.unit)[1:] == BYTES else 1.0 for each in bars]
    is_size = str(bars[0].unit).endswith(BYTES)
    totals = [each.total for each in bars]
    doing = str(bars[0].desc or "").strip().removesuffix(":") or "working"
    progress = Progress(
        f"{len(bars)} files" if len(bars) > 1 else doing,
        total=sum(total * scale for total, scale in zip(totals, scales, strict=True)) if all(totals) else None,
        unit=BYTES if is_size else "" if bars[0].unit == "it" else str(bars[0].unit).strip(),
        done=sum(each.n * scale for each, scale in zip(bars, scales, strict=True)),
    )
    before = sum(each.initial * scale for each, scale in zip(bars, scales, strict=True))
    progress.began(min(each.start_t for each in bars) - time.time() + time.monotonic(), before)
    return progress
