"""Going on from a finished training with more epochs: which one that is, and what must be as it was.

The longer training is the one that all its epochs at once would be, gone on from the step at which the shorter one
ended: each later step has the learning rate and the masking rate that it has in the longer one, epoch k has the same
blocks and masks, and the optimizer's moments, the averaged weights, the history and the best epoch are those at that
step. So where nothing depends on the number of steps (`constant`, without warmup_ratio, mlm_probability_end,
mlm_probability_schedule and batch_size_start), the two end with equal weights, bit for bit on a CPU. Under a decay the
earlier steps had smaller learning rates than in one training of all epochs, and at the step where it goes on the rate
rises to that of the longer schedule.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.contract import manifest
from components.contract.artifacts import REPORT, Checkpoint
from components.training.params import TrainingSteps, TrainParams
from components.training.step_checkpoints import StepCheckpoint, StepCheckpoints
from foundation.errors import ArtifactError, ConfigError, DamagedArtifact, PipelineError

AUTO = "auto"
FREE = ("epochs", "max_steps", "save_only_model")
"""The settings that may be others than in the training that is gone on from."""


@dataclasses.dataclass(frozen=True)
class Training:
    """What makes a training the one that it is, its length aside.

    Attributes:
        version: Of the train step.
        params: Its settings as JSON.
        inputs: The digests of the blocks and the tokenizer.
        sources: The digests of the checkpoint that it started from.
    """

    version: str
    params: Mapping[str, Any]
    inputs: Mapping[str, str]
    sources: Mapping[str, str]

    def differences(self, content: Mapping[str, Any]) -> list[str]:
        """What is otherwise in the manifest of a finished training, in a few words each."""
        params = content["params"]
        found = [
            f"train.{name} {params.get(name)!r}"
            for name, value in self.params.items()
            if name not in FREE and params.get(name) != value
        ]
        found += [f"other {name}" for name, digest in self.inputs.items() if content["inputs"].get(name) != digest]
        sources = {name: digest for name, digest in content["sources"].items() if name != "continue_from"}
        if sources != self.sources:
            found.append("another checkpoint under train.pretrained")
        if content["version"] != self.version:
            found.append("another version of this program")
        return found


@dataclasses.dataclass(frozen=True)
class FinishedTraining:
    """A training that has ended, and kept what a longer one goes on from.

    Attributes:
        checkpoint: What it made.
        step: The optimizer step at which it ended.
    """

    checkpoint: Checkpoint
    step: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.checkpoint.directory.name

    def state(self) -> StepCheckpoint:
        """What is gone on from.

        Raises:
            ArtifactError: If a file of the artifact isn't what was written.
        """
        directory = self.checkpoint.directory
        try:
            manifest.verify(directory, self.checkpoint.manifest, {})
            return StepCheckpoints(self.checkpoint.state_directory).read(f"step-{self.step}")
        except (DamagedArtifact, OSError) as error:
            raise ArtifactError(
                "a training that is gone on from must be as it was written",
                received=error.received if isinstance(error, PipelineError) else str(error),
                remedy=f"copy {directory} again or move it away, or start anew without --train.continue_from",
            ) from error


def finished_training(directory: Path) -> FinishedTraining | None:
    """The finished training in a directory; None where there is none with a state to go on from."""
    checkpoint = Checkpoint(directory)
    try:
        if checkpoint.manifest.get("type") != Checkpoint.__name__ or REPORT not in checkpoint.manifest["files"]:
            return None
        names = {Path(name).parts[1] for name in checkpoint.manifest["files"] if name.startswith("state/step-")}
    except (ArtifactError, OSError):
        return None
    steps = [int(name.removeprefix("step-")) for name in names]
    return FinishedTraining(checkpoint, max(steps)) if steps else None


def named_training(path: str) -> FinishedTraining:
    """The finished training that `train.continue_from` names.

    Raises:
        ConfigError: If there is none.
        ArtifactError: If it is damaged.
    """
    directory = Path(path)
    found = finished_training(directory)
    if found is not None:
        return found
    try:
        manifest.read(directory)
    except DamagedArtifact as damage:
        raise ArtifactError(
            "a training that is gone on from must be as it was written",
            received=damage.received,
            remedy=f"copy {directory} again, or start anew without --train.continue_from",
        ) from damage
    except (ArtifactError, OSError):
        pass  # what follows says it
    if (directory / "model").is_dir() and (directory / manifest.NAME).is_file():
        received = f"{path}, which holds no state of its optimizer (train.save_only_model, or an earlier version)"
        remedy = f"train its model further with a new optimizer, by --train.pretrained {directory / 'model'}"
    else:
        received = f"{path}, which is none" if directory.exists() else f"{path}, which doesn't exist"
        remedy = "give a run's id or name, or the path of an artifact of train, as --list shows them, or auto"
    raise ConfigError(
        "train.continue_from must be auto, a finished training's artifact, or a run that trained one",
        received=received,
        remedy=remedy,
    )


def shorter_trainings(directory: Path, training: Training, steps: int) -> list[FinishedTraining]:
    """The finished trainings among a root's that differ in their length alone and ended before a step.

    Args:
        directory: Has the artifacts of the train step.
        training: What is to be gone on with.
        steps: The step before which it must have ended.

    Returns:
        The one that came farthest first.
    """
    found = [
        each
        for each in _trainings(directory)
        if each.step < steps and not training.differences(each.checkpoint.manifest)
    ]
    return sorted(found, key=lambda each: (each.step, each.name), reverse=True)


def first_whole(trainings: Iterable[FinishedTraining]) -> tuple[FinishedTraining | None, list[ArtifactError]]:
    """The first of some trainings that can be gone on from, and what is wrong with each of those before it."""
    damages = []
    for each in trainings:
        try:
            each.state()
        except ArtifactError as damage:
            damages.append(damage)
        else:
            return each, damages
    return None, damages


def _trainings(directory: Path) -> Iterator[FinishedTraining]:
    for path in sorted(directory.glob("*")):
        if path.suffix == "" and (found := finished_training(path)) is not None:
            yield found


def require_same(finished: FinishedTraining, training: Training) -> None:
    """Refuses to go on with another training than the one that ended.

    Raises:
        ConfigError: If a setting other than its length is another, or the data or the model.
    """
    if others := training.differences(finished.checkpoint.manifest):
        raise ConfigError(
            "a training must go on as it began: only train.epochs, train.max_steps and train.save_only_model may be "
            "others",
            received=f"{finished.checkpoint.directory}, which was trained with {', '.join(others)}",
            remedy="set those as they were there, or train its model further with a new optimizer, by "
            f"--train.pretrained {finished.checkpoint.model_directory}",
        )


def require_longer(finished: FinishedTraining, steps: int) -> None:
    """Refuses a training that is over before it begins.

    Raises:
        ConfigError: If it has no more steps than the one that ended.
    """
    if steps <= finished.step:
        raise ConfigError(
            "train.epochs or train.max_steps must reach beyond the training that is gone on from",
            received=f"{steps:,} steps, and {finished.checkpoint.directory} ended at step {finished.step:,}",
            remedy="raise --train.epochs (or --train.max_steps), or leave out --train.continue_from",
        )


def take_over(
    finished: FinishedTraining, checkpoints: StepCheckpoints, params: TrainParams, steps: TrainingSteps
) -> None:
    """Makes the state at the end of a finished training the first checkpoint of the longer one.

    From there on the longer one is a training that was cut off: it goes on, or is killed and goes on again, like any.

    Raises:
        ArtifactError: If the finished training is damaged.
        PipelineError: If the disk doesn't take it.
    """
    state = finished.state()
    best = StepCheckpoints(finished.checkpoint.state_directory).find(str(state.facts.get("best")))
    if best is not None:
        checkpoints.adopt(best)
    checkpoints.adopt(state, params=params.in_key, steps=steps.steps)
