"""A step that trains nothing but leaves what a training leaves, row by row, and a runner that says nothing."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from components.contract import reports
from components.contract.artifacts import Checkpoint
from components.contract.component import Component
from runners.local import LocalRunner
from runners.tracking.event_files import EventWriter
from tests import reports as complete

STEPS = 6


@dataclasses.dataclass(frozen=True)
class Params:
    learning_rate: float = 1e-3


@dataclasses.dataclass(frozen=True)
class Train(Component[Checkpoint]):
    """Writes a row a step, and calls back after each; where it was cut off, it goes on two steps before."""

    params: Params = Params()
    after: Callable[[int], None] = dataclasses.field(default=lambda step: None, metadata={"key": False}, compare=False)
    name = "train"
    version = "1"
    output = Checkpoint

    def resumes(self, partial: Path) -> str | None:
        return f"step {(partial / 'step').read_text()}" if (partial / "step").is_file() else None

    def run(self, out: Path) -> None:
        first = max(1, int((out / "step").read_text()) - 1) if (out / "step").is_file() else 1
        for old in out.glob("logs/*/*"):
            old.unlink()
        with EventWriter(out / "logs/train") as train, EventWriter(out / "logs/validation") as validation:
            for step in range(1, STEPS + 1):
                train.scalars(step, {"loss": loss_at(step), "learning_rate": self.params.learning_rate})
                if step >= first:
                    (out / "step").write_text(str(step))
                    self.after(step)
            validation.scalars(STEPS, {"loss": 2.0})
        rows = [complete.step_row(step, loss_at(step)) for step in range(1, STEPS + 1)]
        reports.write(out / "history_steps.json", rows)
        reports.write(out / "history.json", [dataclasses.replace(complete.epoch_row(1, 3.0, val_loss=2.0), step=STEPS)])
        reports.write(out / "report.json", complete.training())


def loss_at(step: int) -> float:
    return 4.0 - step / 4


def run(root: Path, *trackers, name: str | None = None, config=None, show=lambda line: None, **train):
    runner = LocalRunner(root, name=name, trackers=trackers, show=show)
    return runner.execute(lambda run: run(Train(**train)), config or {"train": {"learning_rate": 1e-3}})


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()
