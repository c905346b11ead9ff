"""What a run left behind, for programs: its artifacts, reports and metrics, each of its own type."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from components.contract import run_names
from components.contract.artifacts import (
    Artifact,
    Blocks,
    Checkpoint,
    Corpus,
    Evaluation,
    InfraBlessing,
    Pushed,
    ServingModel,
    Tokenizer,
)
from foundation.errors import ArtifactError, ConfigError
from runners.opened_root import is_remote
from runners.remote.staged import complete, complete_latest, staged_root
from runners.report.facts import RunFacts
from runners.report.run_report import NAME as REPORT

ROOT = "pipeline_root"
"""The pipeline root of who names none."""

Kind = TypeVar("Kind", bound=Artifact)


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run that has ended, or one that goes on, as far as it came.

    Each step's artifact is an attribute. An artifact has a `directory`, a `digest`, a `summary` and a typed `report`.

    Attributes:
        directory: The run's folder, `ROOT/runs/ID`.

    Example:
        run = load_run("latest", root="pipeline_root")
        print(run.id, run.status, run.report_page)
        print(run.evaluation.blessed, run.evaluation.metrics["perplexity_after"])
        print(run.checkpoint.model_directory, [row.loss for row in run.checkpoint.history])
    """

    directory: Path

    @property
    def facts(self) -> RunFacts:
        """The run's record, as its report reads it."""
        return RunFacts(self.directory)

    @property
    def record(self) -> dict[str, Any]:
        """The content of `run.json`."""
        return self.facts.run

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.record["id"])

    @property
    def root(self) -> Path:
        """The pipeline root."""
        return self.facts.root

    @property
    def status(self) -> str:
        """`succeeded`, `failed`, `interrupted` or `killed`; `running` while it runs."""
        return str(self.record["status"])

    @property
    def error(self) -> str | None:
        """What ended it, if it failed or was interrupted."""
        error = self.record["error"]
        return None if error is None else str(error)

    @property
    def steps(self) -> Mapping[str, str]:
        """What became of each step, by name and in order: `ran`, `cached` or `failed`."""
        return {step["name"]: step["status"] for step in self.record["steps"]}

    @property
    def metrics(self) -> Mapping[str, float]:
        """The evaluation's metrics by name; empty where the run didn't come to it."""
        return dict(self.record["metrics"])

    @property
    def report_page(self) -> Path:
        """The run's page, `report.html`."""
        return self.directory / REPORT

    @property
    def corpus(self) -> Corpus:
        """What ingest made."""
        return self.artifact("ingest", Corpus)

    @property
    def tokenizer(self) -> Tokenizer:
        """What tokenizer made."""
        return self.artifact("tokenizer", Tokenizer)

    @property
    def blocks(self) -> Blocks:
        """What preprocess made."""
        return self.artifact("preprocess", Blocks)

    @property
    def checkpoint(self) -> Checkpoint:
        """What train made."""
        return self.artifact("train", Checkpoint)

    @property
    def evaluation(self) -> Evaluation:
        """What evaluate made."""
        return self.artifact("evaluate", Evaluation)

    @property
    def serving_model(self) -> ServingModel:
        """What export made."""
        return self.artifact("export", ServingModel)

    @property
    def infra_blessing(self) -> InfraBlessing:
        """What validate made."""
        return self.artifact("validate", InfraBlessing)

    @property
    def pushed(self) -> Pushed:
        """What push made."""
        return self.artifact("push", Pushed)

    @property
    def serving_directory(self) -> Path:
        """The directory of the pushed model's versions, to give to a server.

        Raises:
            ArtifactError: If the run pushed no model, or only showed what it would push.
        """
        report = self.pushed.report
        if report.path is None:
            raise ArtifactError(
                "a run must have pushed its model to have a serving directory",
                received=f"{self.directory}, whose push was a dry run",
                remedy="run it with push.dry_run false",
            )
        # Below the root it is relative, so that a root can be moved.
        base_path = (self.root / report.path).parent
        complete_latest(base_path)
        return base_path

    def artifact(self, step: str, kind: type[Kind]) -> Kind:
        """The artifact of a step, one's own step among them.

        Args:
            step: The step's name.
            kind: The artifact's class.

        Raises:
            ArtifactError: If the run didn't come to the step, or the artifact was removed.
        """
        directory = self.facts.artifact(step)
        if directory is None:
            ended = ", ".join(f"{name} {status}" for name, status in self.steps.items()) or "no step"
            raise ArtifactError(
                f"a run must have finished {step} for its artifact, and the artifact must still be there",
                received=f"{self.directory}: {ended}",
                remedy="run the pipeline again, which makes what is missing",
            )
        complete(directory)
        return kind(directory)


def load_run(name: str | Path = run_names.LATEST, *, root: str | Path = ROOT) -> FinishedRun:
    """A run that was made earlier, on the command line or by a program.

    Args:
        name: The run's id or name, `latest`, or the path of its folder.
        root: The pipeline root, or its address; then artifacts come to this machine when they are asked for.

    Raises:
        ConfigError: If there is none.
        ArtifactError: If its record can't be read.
    """
    if is_remote(root):
        root = staged_root(str(root), str(name))
    directory = run_names.find_run(Path(root), str(name))
    if directory is not None:
        found = FinishedRun(directory)
        _ = found.record  # a damaged record is refused here
        return found
    known = [path.name for path in run_names.folders(Path(root)) if (path / run_names.RECORD).is_file()]
    raise ConfigError(
        "a run must be named by its id, its name, as latest, or by the path of its folder",
        received=f"{str(name)!r} with the root {root}",
        remedy=f"use one of {', '.join(known[-5:])}"
        if known
        else "name the root that has the run, or run the pipeline",
    )
