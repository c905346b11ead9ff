"""Reads how far a training is from the files that it writes for TensorBoard, while it goes on."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from components.contract.artifacts import Checkpoint
from runners.tracking.event_files import EventReader
from runners.tracking.tracker import Row, finite

POLL_SECONDS = 2.0
KINDS = ("train", "validation")


class Follower:
    """Gives each row of a training once, by rising steps.

    Args:
        logs: The directory that the training writes, not there yet.
        tell: Called with new rows, in a thread of its own.
        seen: The last step of each kind that is known already.
    """

    def __init__(self, logs: Path, tell: Callable[[Sequence[Row]], None], seen: dict[str, int]) -> None:
        self.logs = logs
        self.tell = tell
        self.seen = seen
        self._readers: dict[Path, EventReader] = {}
        self._old = set(logs.glob("*/*"))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True, name="follow training")
        self._thread.start()

    def stop(self) -> None:
        """Reads what is left, and ends."""
        self._over.set()
        self._thread.join()
        self.poll()

    def _follow(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            self.poll()

    def poll(self) -> None:
        """Reads what is new. A file that is gone or damaged is left alone: the training's history has all of it."""
        for kind in KINDS:
            by_step: dict[int, dict[str, float]] = {}
            for path in sorted(self.logs.glob(f"{kind}/*tfevents*")):
                if path in self._old:  # of a run that was cut off, and removed as soon as the training begins
                    continue
                reader = self._readers.setdefault(path, EventReader(path))
                with contextlib.suppress(OSError, ValueError, TypeError):
                    for step, tag, value in reader.scalars():
                        by_step.setdefault(step, {})[tag] = value
            self._give([Row(kind, step, finite(values)) for step, values in sorted(by_step.items())])

    def _give(self, rows: Sequence[Row]) -> None:
        new = [row for row in rows if row.step > self.seen.get(row.kind, 0) and row.values]
        for row in new:
            self.seen[row.kind] = row.step
        if new:
            self.tell(new)


def rows_of(checkpoint: Checkpoint, seen: dict[str, int]) -> list[Row]:
    """The rows of a finished training that are not known yet, and which are known by then."""
    rows = []
    for step in checkpoint.step_history:
        rows.append(Row("train", step.step, finite({**vars(step), "step": None})))
    for epoch in checkpoint.history:
        values = finite({"loss": epoch.val_loss, "perplexity": epoch.val_perplexity})
        if values:
            rows.append(Row("validation", epoch.step, values))
    new = [row for row in rows if row.step > seen.get(row.kind, 0)]
    for row in new:
        seen[row.kind] = max(row.step, seen.get(row.kind, 0))
    return new
