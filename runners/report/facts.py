"""What a run left behind, as a report reads it: what is missing, because the run ended early, is None or empty."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from components.contract.artifacts import Artifact, Blocks, Checkpoint, Corpus, Evaluation, Pushed, ServingModel
from components.contract.reports import Ends, EpochRow, Sample, StepRow
from runners import run_record

Kind = TypeVar("Kind", bound=Artifact)


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """A run's record and the artifacts of its finished steps.

    Attributes:
        directory: `runs/<id>`.
    """

    directory: Path

    @functools.cached_property
    def run(self) -> dict[str, Any]:
        """The content of `run.json`.

        Raises:
            ArtifactError: If it can't be read.
        """
        return run_record.read(self.directory)

    @property
    def called(self) -> str:
        """The run's name with the id behind it, or the id alone."""
        return f"{self.run['name']} ({self.run['id']})" if self.run["name"] else str(self.run["id"])

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

    @functools.cached_property
    def corpus(self) -> Corpus | None:
        """What ingest made."""
        return self._artifact_of(Corpus, "ingest")

    @functools.cached_property
    def blocks(self) -> Blocks | None:
        """What preprocess made."""
        return self._artifact_of(Blocks, "preprocess")

    @functools.cached_property
    def checkpoint(self) -> Checkpoint | None:
        """What train made."""
        return self._artifact_of(Checkpoint, "train")

    @functools.cached_property
    def evaluation(self) -> Evaluation | None:
        """What evaluate made."""
        return self._artifact_of(Evaluation, "evaluate")

    @functools.cached_property
    def model(self) -> ServingModel | None:
        """What export made."""
        return self._artifact_of(ServingModel, "export")

    @functools.cached_property
    def pushed(self) -> Pushed | None:
        """What push made."""
        return self._artifact_of(Pushed, "push")

    @property
    def metrics(self) -> Mapping[str, float]:
        """The evaluation's metrics by name."""
        return self.evaluation.metrics if self.evaluation else {}

    @property
    def intervals(self) -> Mapping[str, Ends]:
        """Both ends of the metrics' intervals by name."""
        return self.evaluation.report.intervals if self.evaluation else {}

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The sample sentences with the model's answers."""
        return self.evaluation.samples if self.evaluation else ()

    @property
    def history(self) -> tuple[EpochRow, ...]:
        """The rows of the training's history by epoch."""
        return self.checkpoint.history if self.checkpoint else ()

    @property
    def step_history(self) -> tuple[StepRow, ...]:
        """The rows of the training's history by step."""
        return self.checkpoint.step_history if self.checkpoint else ()

    def _artifact_of(self, kind: type[Kind], step: str) -> Kind | None:
        """The artifact of a step; None where there is none."""
        directory = self.artifact(step)
        return None if directory is None else kind(directory)
