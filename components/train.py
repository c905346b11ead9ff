"""The train step: a masked language model, from a checkpoint or from scratch, trained on blocks."""

import contextlib
import dataclasses
import functools
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from components.contract import manifest, reports
from components.contract.artifacts import HISTORY, LOGS, REPORT, STATE, STEP_HISTORY, Blocks, Checkpoint, Tokenizer
from components.contract.component import Component
from components.contract.component_json import as_json, from_json
from components.contract.workers import THIS_PROCESS, Member, Workers
from components.training.continuing import (
    AUTO,
    FinishedTraining,
    Training,
    first_whole,
    named_training,
    require_longer,
    require_same,
    shorter_trainings,
    take_over,
)
from components.training.inputs import (
    PlannedInputs,
    require_blocks_to_learn_from,
    require_documents_to_group,
    require_own_tokenizer,
    require_validation,
    require_whole_words,
)
from components.training.observer import TrainingObserver
from components.training.params import TrainingSteps, TrainParams, training_steps
from components.training.report import training_report, write_rows
from components.training.room import require_room_to_train
from components.training.sharing import require_shareable
from components.training.starting_model import model_config, require_blocks, starting_model
from components.training.step_checkpoints import CHECKPOINTS, StepCheckpoints
from foundation.disk import flush_tree
from foundation.errors import ArtifactError
from foundation.keras_choice import choose_keras
from foundation.terminal import TERMINAL

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from components.training.execution import Execution
    from components.training.members import Members


@dataclasses.dataclass(frozen=True)
class Train(Component[Checkpoint]):
    """Trains a masked language model: AdamW with a warm-up and a decay, the head at masked positions only.

    AdamW: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization" (https://arxiv.org/abs/1711.05101).

    Attributes:
        blocks: The train split is learned from, the test split validated on.
        tokenizer: The one that the blocks were made with.
        params: The settings.
        planned: For the preflight alone.
        observer: Watches the training, and changes nothing in it or in what the step makes.
        trainings: Where `train.continue_from auto` looks for finished ones; None for nowhere. What is found is part of
            the key, the place isn't.
    """

    name: ClassVar[str] = "train"
    version: ClassVar[str] = "8"
    output: ClassVar[type[Checkpoint]] = Checkpoint
    scratch: ClassVar[str] = CHECKPOINTS
    takes_long: ClassVar[bool] = True
    varying: ClassVar[tuple[str, ...]] = (
        REPORT,
        LOGS,
        STATE,
        *(f"{rows}.{form}" for rows in (HISTORY, STEP_HISTORY) for form in ("json", "csv")),
    )

    blocks: Blocks
    tokenizer: Tokenizer
    params: TrainParams
    planned: PlannedInputs = dataclasses.field(default=PlannedInputs(), metadata={"key": False})
    observer: TrainingObserver | None = dataclasses.field(default=None, metadata={"key": False})
    trainings: Path | None = dataclasses.field(default=None, metadata={"key": False})

    @property
    def sources_read_inputs(self) -> bool:
        """Whether the number of steps, and so the number of blocks, decides what is gone on from."""
        return self.params.continue_from is not None

    def sources(self) -> Mapping[str, str]:
        """What training starts from, and the digest of the finished training that it goes on from, if any."""
        continued = {} if self.continued is None else {"continue_from": self.continued.checkpoint.digest}
        return {**self.starts_from, **continued}

    @functools.cached_property
    def starts_from(self) -> Mapping[str, str]:
        """The digests of a local checkpoint's files, or the commit of one on the Hub."""
        from components.contract.manifest import digest_of_file
        from components.hub.reading import resolve_revision
        from components.modeling.weights import checkpoint_files

        if self.params.pretrained is None:
            return {}
        directory = Path(self.params.pretrained)
        if directory.is_dir():
            return {f"pretrained/{path.name}": digest_of_file(path) for path in checkpoint_files(directory)}
        return {"pretrained": resolve_revision(self.params.pretrained, "model", self.params.revision)}

    @functools.cached_property
    def continued(self) -> FinishedTraining | None:
        """The finished training to go on from, looked up once, so that the one that `sources` names is the one.

        None also before there are blocks: only with them is it known which trainings are this one, but shorter.

        Raises:
            ConfigError: If the one that `train.continue_from` names is another training, or no shorter one.
        """
        name = self.params.continue_from
        if name is None or not self.has_inputs:
            return None
        if name == AUTO:
            return self.whole_training[0]
        found = named_training(name)
        require_same(found, self.training)
        require_longer(found, training_steps(self.params, len(self.blocks.split("train"))).steps)
        return found

    @property
    def has_inputs(self) -> bool:
        """Whether the blocks and the tokenizer are there, and there is a train block."""
        ready = self.blocks.path is not None and self.tokenizer.path is not None
        return ready and len(self.blocks.split("train")) > 0

    @property
    def training(self) -> Training:
        """What makes this training the one that it is, its length aside."""
        inputs = {name: artifact.digest for name, artifact in self.inputs.items()}
        return Training(self.version, self.params.in_key, inputs, self.starts_from)

    @functools.cached_property
    def whole_training(self) -> tuple[FinishedTraining | None, list[ArtifactError]]:
        """What `train.continue_from auto` finds, and what is wrong with the trainings that came farther."""
        return first_whole(self.shorter_trainings())

    def shorter_trainings(self) -> list[FinishedTraining]:
        """The finished trainings of this root that are this one, but shorter; the one that came farthest first."""
        if self.trainings is None:
            return []
        steps = training_steps(self.params, len(self.blocks.split("train"))).steps
        return shorter_trainings(self.trainings, self.training, steps)

    def preflight(self) -> None:
        """Refuses an unknown or impossible architecture, an unreadable checkpoint, and what the observer refuses."""
        from components.hub.checkpoints import require_checkpoint
        from components.modeling.configuration import require_heads
        from components.modeling.frozen_layers import require_layers

        params = self.params
        if self.observer is not None:
            self.observer.preflight()
        if params.continue_from not in (None, AUTO):
            named_training(str(params.continue_from))
        config = model_config(self.params)
        require_blocks(config, self.planned.block_size, self.planned.packing)
        require_layers(config, params.layer_freezing)
        if self.planned.block_size is not None:
            require_documents_to_group(params, self.planned.packing)
        if params.pretrained is None:
            require_heads(config)
        else:
            require_checkpoint(params.pretrained, params.revision)
            require_own_tokenizer(params, self.tokenizer, self.planned, config)
        if params.needs_certain_devices:
            # Only then is it worth waiting for TensorFlow here.
            self.execution(config, params.batch_size)

    def preflight_with(self, workers: Workers) -> None:
        """Refuses batches that the workers can't share evenly, as far as it is known by now how large they are."""
        if workers is not THIS_PROCESS:
            batch_size = self.planned_steps.batch_size if self.has_inputs else self.params.batch_size
            require_shareable(self.params, batch_size, workers.count)

    def cached_notice(self) -> str | None:
        """What the observer has to say of a training that it can't watch any more."""
        return None if self.observer is None else self.observer.training_is_cached()

    def run(self, out: Path) -> None:
        """Builds or loads the model, trains it or goes on training it, and saves it as it was before and after."""
        started = time.perf_counter()
        if (out / REPORT).exists():
            return  # It is written last, and all else is on the disk before it.
        steps = self.prepare(out)
        execution = self.execution(model_config(self.params), steps.batch_size)
        TERMINAL.paragraph(f"  {execution}")
        self.begin(StepCheckpoints(out / CHECKPOINTS), steps)
        self.train(out, steps, execution, started, self.continued)

    def run_with(self, out: Path, workers: Workers) -> None:
        """Does what `run` does, in all workers together, each of which has a part of every batch.

        With `train.strategy one_device`, the first of them trains alone.
        """
        if workers is THIS_PROCESS:
            self.run(out)
        elif not (out / REPORT).exists():
            require_shareable(self.params, self.planned_steps.batch_size, workers.count)
            steps = self.prepare(out)
            self.begin(StepCheckpoints(out / CHECKPOINTS), steps)
            workers.together(SharedTraining(as_json(self), out, self.continued))

    def run_as(self, out: Path, member: Member, continued: FinishedTraining | None) -> None:
        """Does the part of one of the processes that train together, once `run_with` has prepared it.

        Args:
            out: As for `run`.
            member: Which of the processes this is.
            continued: The finished training to go on from, which is looked up once for all.

        Raises:
            MemberLost: If another process is gone.
        """
        from components.training.members import ALONE, SeveralMembers

        started = time.perf_counter()
        alone = member.count == 1 or self.params.strategy == "one_device"
        if (alone and not member.is_chief) or (out / REPORT).exists():
            return
        with contextlib.nullcontext() if member.is_chief else TERMINAL.muted():
            members = ALONE if alone else SeveralMembers(member)
            # Where processes were started anew, the chief first tidies up.
            steps = self.prepare(out) if member.is_chief else self.planned_steps
            execution = self.execution(model_config(self.params), steps.batch_size, members)
            members.require_alike({**execution.as_plain(), **manifest.library_versions(), "step version": self.version})
            TERMINAL.paragraph(f"  {execution}")
            self.train(out, steps, execution, started, continued)

    @property
    def planned_steps(self) -> TrainingSteps:
        """The steps that the settings ask for, of the blocks that there are."""
        return training_steps(self.params, len(self.blocks.split("train")))

    def prepare(self, out: Path) -> TrainingSteps:
        """Removes what an earlier run left and nobody goes on from, and refuses what can't be trained."""
        remove_all_but_checkpoints(out)
        set_damaged_checkpoints_aside(StepCheckpoints(out / CHECKPOINTS))
        require_blocks_to_learn_from(self.blocks)
        require_validation(self.params, self.blocks)
        require_documents_to_group(self.params, self.blocks.packing)
        steps = self.planned_steps
        require_whole_words(self.params, self.tokenizer.load())
        return steps

    def train(
        self,
        out: Path,
        steps: TrainingSteps,
        execution: "Execution",
        started: float,
        continued: FinishedTraining | None,
    ) -> None:
        """Trains, and where this process is the one that writes, saves what comes of it.

        Args:
            out: As for `run`, with nothing in it but checkpoints to go on from.
            steps: How many steps to make.
            execution: With what.
            started: When the step began, by `time.perf_counter`.
            continued: The finished training to go on from, if any.
        """
        from components.modeling.checkpoint import save_masked_lm
        from components.training.execution import deterministic_operations
        from components.training.fit import Fit
        from components.training.stopping import Interruption

        members, tokenizer = execution.members, self.tokenizer.load()
        every_steps = self.params.checkpoint_every_steps
        when = f"after this step, with{'out' if every_steps is None else ''} a checkpoint"
        # Once a model is trained, a signal waits until it is saved.
        with (
            Interruption(when) as interruption,
            execution.scope(),
            deterministic_operations(execution.is_deterministic(self.params.deterministic)),
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        ):
            start = starting_model(self.params, self.blocks, tokenizer, continued)
            model = start.model
            for note in start.notes:
                TERMINAL.paragraph(f"  {self.name:<11} {note}")
            members.require_alike_weights(model.weights)
            if members.is_chief:
                require_room_to_train(model, self.params, steps.steps, out)
                save_masked_lm(model, tokenizer, out / "initial")
            fit = Fit(
                model,
                tokenizer,
                self.blocks,
                self.params,
                steps,
                execution,
                out,
                interruption,
                self.observer,
                None if members.is_chief else Path(scratch),
            )
            telemetry, best_epoch = fit.run()
            if not members.is_chief:
                members.wait()
                return
            interruption.when = "when the model is saved"
            save_masked_lm(model, tokenizer, out / "model")
            write_rows(out / HISTORY, telemetry.EPOCH_COLUMNS, telemetry.rows)
            write_rows(out / STEP_HISTORY, telemetry.STEP_COLUMNS, telemetry.step_rows)
            report = training_report(
                model,
                self.blocks,
                self.params,
                steps,
                execution,
                telemetry,
                best_epoch,
                continued,
                has_new_head=start.has_new_head,
                new_words=start.new_words,
            )
            flush_tree(out)
            reports.write(out / REPORT, dataclasses.replace(report, seconds=round(time.perf_counter() - started, 3)))
            members.wait()

    def begin(self, checkpoints: StepCheckpoints, steps: TrainingSteps) -> None:
        """Takes the finished training over that this one goes on from, unless it has gone on already, and says so.

        Where another could be gone on from, and `train.continue_from` isn't set, this is said, too.

        Args:
            checkpoints: Those of this training.
            steps: What is planned.
        """
        if checkpoints.newest() is not None:
            return
        if self.params.continue_from == AUTO:
            for damage in self.whole_training[1]:
                TERMINAL.paragraph(
                    f"  {self.name:<11} passes over a shorter training that is damaged: {damage.received}"
                )
        if self.continued is not None:
            take_over(self.continued, checkpoints, self.params, steps)
            where = f"step {self.continued.step:,} of {steps.steps:,}, where the training {self.continued.name} ended"
            TERMINAL.paragraph(f"  {self.name:<11} goes on from {where}")
        elif self.params.continue_from == AUTO:
            TERMINAL.paragraph(
                f"  {self.name:<11} starts anew: there is no shorter training of the same settings and data"
            )
        elif (other := next(iter(self.shorter_trainings()), None)) is not None:
            TERMINAL.paragraph(
                f"  {self.name:<11} starts anew, though {other.name} is the same training up to step {other.step:,} of "
                f"{steps.steps:,}: --train.continue_from auto goes on from there"
            )

    def resumes(self, partial: Path) -> str | None:
        """How far a training came that was cut off, by its newest whole checkpoint."""
        if (partial / REPORT).exists():
            return "its end"
        checkpoints = StepCheckpoints(partial / CHECKPOINTS)
        damaged = " and ".join(checkpoints.damaged())
        because = f", because {damaged} can't be used" if damaged else ""
        checkpoint = checkpoints.newest()
        if checkpoint is None:
            return f"its start{because}" if damaged or checkpoints.has_set_aside() else None
        there = checkpoint.facts["params"]
        here = self.params.in_key
        others = [f"train.{name} {there.get(name)!r}" for name, value in here.items() if there.get(name) != value]
        return (
            f"step {checkpoint.step:,} of {checkpoint.facts['steps']:,}"
            + (f" with {', '.join(others)}" if others else "")
            + because
        )

    def execution(self, config: "PretrainedConfig", batch_size: int, members: "Members | None" = None) -> "Execution":
        """The precision and the devices for a model and batches of so many blocks. Starts TensorFlow.

        Args:
            config: The model's.
            batch_size: How many.
            members: The processes that share them; None for this one alone.

        Raises:
            ConfigError: If the devices or the architecture can't do what the params ask for.
        """
        from components.training.devices import Devices
        from components.training.execution import choose_execution
        from components.training.members import ALONE

        members = ALONE if members is None else members
        return choose_execution(self.params, Devices.visible(members.strategy), config, batch_size, members)


@dataclasses.dataclass(frozen=True)
class SharedTraining:
    """What each of the processes does that train together; it travels to them by pickle.

    Attributes:
        told: The step as JSON.
        out: Where the chief writes.
        continued: The finished training that it goes on from, as the process found it that asked for this.
    """

    told: str
    out: Path
    continued: FinishedTraining | None

    def __call__(self, member: Member) -> None:
        """Trains."""
        choose_keras()
        cast(Train, from_json(self.told)).run_as(self.out, member, self.continued)


def remove_all_but_checkpoints(directory: Path) -> None:
    """Removes what a run that was cut off left, but the checkpoints that it can be gone on from, and its last state."""
    for path in directory.iterdir():
        if path.name not in (CHECKPOINTS, STATE):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def set_damaged_checkpoints_aside(checkpoints: StepCheckpoints) -> None:
    """Names the damaged checkpoints that training can't go on from, and sets them aside."""
    for name, what in checkpoints.damaged().items():
        aside = checkpoints.set_aside(name)
        TERMINAL.paragraph(f"  {Train.name:<11} damaged: {what}; set aside as {aside.name}")
