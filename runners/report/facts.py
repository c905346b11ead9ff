"""What a run left behind, as a report reads it: whatever is missing, because the run ended early, is just empty."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """A run's record and the artifacts of its finished steps.

    Attributes:
        directory: `runs/<id>`.
    """

    directory: Path

    @functools.cached_property
    def run(self) -> dict[str, Any]:
        """The content of `run.json`."""
        return dict(json.loads((self.directory / "run.json").read_text("utf-8")))

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The steps, in order."""
        return list(self.run["steps"])

    @property
    def root(self) -> Path:
        """The pipeline root, which `run.json` names directories relative to."""
        return self.directory.parents[1]

    def artifact(self, step: str) -> Path | None:
        """The directory of a step's artifact, if it is still there."""
        names = [Path(each["artifact"]) for each in self.steps if each["name"] == step and each["artifact"]]
        # Records that earlier versions wrote hold absolute paths, which end in the same three parts.
        paths = [self.root.joinpath(*name.parts[-3:]) for name in names]
        return paths[0] if paths and paths[0].is_dir() else None

    def read(self, step: str, name: str) -> Any:
        """A JSON file of the artifact of a step; an empty dictionary where there is none."""
        directory = self.artifact(step)
        if directory is None or not (directory / name).is_file():
            return {}
        return json.loads((directory / name).read_text("utf-8"))

    @property
    def evaluation(self) -> dict[str, Any]:
        """`metrics.json` of the evaluation."""
        return dict(self.read("evaluate", "metrics.json"))

    @property
    def blessing(self) -> dict[str, Any]:
        """`blessing.json` of the evaluation."""
        return dict(self.read("evaluate", "blessing.json"))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of the training's history."""
        return list(self.read("train", "history.json"))

    @property
    def step_history(self) -> list[dict[str, Any]]:
        """The rows of the training's history by step."""
        return list(self.read("train", "history_steps.json"))
