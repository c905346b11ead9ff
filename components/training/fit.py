"""The training of a model under `fit`, from the start or from where a run was cut off."""

import dataclasses
import functools
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.contract.artifacts import LOGS, STATE, Blocks
from components.masking.masking import MaskingCollator, MaskingRate, max_predictions
from components.masking.whole_words import WordBoundaries
from components.modeling.architectures.records import can_be_trimmed
from components.modeling.layer_matrices import layer_matrices
from components.modeling.library.adapter import as_masked_lm
from components.training.batches import batches, in_training_order
from components.training.devices import describe_devices
from components.training.execution import Execution
from components.training.failures import loss_failure, memory_failure, save_last_good
from components.training.flops import measured_peak_flops, step_flops
from components.training.lengths import lengths_of_batches, lengths_of_blocks
from components.training.loss_watch import BadLoss, LossWatch
from components.training.members import Members, lost_members
from components.training.observer import ObservedTraining, TrainingObserver
from components.training.observing import Observing
from components.training.optimizer import build_optimizer, create_slots
from components.training.params import TrainingSteps, TrainParams
from components.training.progress import Progress
from components.training.resuming import Checkpointing, require_same_precision
from components.training.schedules import masking_changes
from components.training.stages import StageBegins, Stages, plan_stages
from components.training.step_checkpoints import (
    CHECKPOINTS,
    OthersCheckpoints,
    StepCheckpoint,
    StepCheckpoints,
)
from components.training.stopping import BestEpoch, Interruption, StopAt
from components.training.telemetry import Telemetry, steps_a_row
from components.training.training_model import MaskedLMTraining
from foundation.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, TFPreTrainedModel

LAST_GOOD = "last_good"
"""Where the model of the last good checkpoint is saved when the loss goes wrong."""
OBSERVER = "observer"
"""Where an observer keeps files while the model trains."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """One training: `run` is the sequence of its parts, each of which is a method of its own below.

    Where several processes train, each has such a one, and the chief alone writes into `out`.

    Attributes:
        model: The model before the first step, wherever training goes on; trained in place.
        tokenizer: Its tokenizer.
        blocks: What it learns from, and is validated on.
        params: The settings.
        steps: How many steps it makes.
        execution: The precision and the devices; training runs in its scope.
        out: Has the checkpoints, also those of a run that was cut off; TensorBoard's logs go there.
        interruption: Holds signals back from the first step on, also after training, until the model is saved.
        observer: Who watches, if anybody.
        scratch: Where a process that isn't the chief writes what isn't kept.
    """

    model: "TFPreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    blocks: Blocks
    params: TrainParams
    steps: TrainingSteps
    execution: Execution
    out: Path
    interruption: Interruption
    observer: TrainingObserver | None = None
    scratch: Path | None = None

    @property
    def members(self) -> Members:
        """The processes that train."""
        return self.execution.members

    def step_checkpoints(self, name: str) -> StepCheckpoints:
        """The checkpoints in a directory of `out`, which the chief writes."""
        return (StepCheckpoints if self.members.is_chief else OthersCheckpoints)(self.out / name)

    def run(self) -> tuple[Telemetry, int | None]:
        """Trains the model.

        Returns:
            The history, and the epoch with the lowest validation loss, if there was any validation.

        Raises:
            ModelError: If the loss goes wrong, or the devices have too little memory.
            PipelineError: If a checkpoint can't be written.
            MemberLost: If another process that trains is gone.
        """
        training = self.compiled_training()
        checkpoints = self.step_checkpoints(CHECKPOINTS)
        resumed = self.resumed(checkpoints)
        if resumed is not None:
            require_same_precision(resumed.facts, self.machine())
        order = self.block_order()
        train_batches = self.train_batches(order, first_step=resumed.step if resumed else 0)
        stages = self.stages(training, train_batches)
        telemetry = self.telemetry(stages)
        best = BestEpoch(
            self.params.early_stopping_patience,
            self.params.early_stopping_threshold,
            checkpoints if self.params.load_best_model_at_end else None,
        )
        checkpointing = self.checkpointing(checkpoints, resumed, {"telemetry": telemetry, "best": best})
        training.first_step = checkpointing.initial_step
        # Checkpoints come after what they hold the state of, and observers last.
        stop = StopAt(self.steps.steps, checkpointing.step)
        begins = StageBegins(stages, self.params.seed, checkpointing.step)
        callbacks = [begins, telemetry, best, stop, checkpointing, *self.observation(training, checkpointing.step)]
        validation_batches = self.validation_batches()
        # Dropout has its own chance; Flaubert's LayerDrop, decided while the step is traced, takes it from here. So do
        # the data sets, which are made by now.
        tf.keras.utils.set_random_seed(self.params.seed)
        distributed = self.members.distributed
        try:
            with lost_members():
                training.fit(
                    distributed(train_batches),
                    validation_data=None if validation_batches is None else distributed(validation_batches),
                    # Where the data set is distributed, Keras doesn't find its end.
                    validation_steps=None if self.members.strategy is None else self.validation_steps,
                    initial_epoch=checkpointing.initial_epoch,
                    epochs=self.steps.epochs,
                    steps_per_epoch=self.steps.steps_per_epoch,
                    callbacks=callbacks,
                    verbose=0,
                )
        except BadLoss as bad:
            if not self.members.is_chief:
                self.members.wait()  # The chief has seen it, too, saves the last good model, and ends all.
            good = checkpoints.before(bad.step)
            if good is not None:
                save_last_good(training, self.tokenizer, good, self.out / LAST_GOOD)
            blocks = self.blocks_of(bad.step, order)
            raise loss_failure(bad, self.steps.steps, blocks, good, self.out / LAST_GOOD) from bad
        except tf.errors.ResourceExhaustedError as error:
            raise memory_failure(error, self.execution.all_device_names, self.steps.batch_size) from error
        training.keep_averaged_weights()
        telemetry.gradient_bytes = training.gradient_bytes
        if self.members.is_chief:
            shutil.rmtree(self.out / OBSERVER, ignore_errors=True)
        return telemetry, best.epoch

    def resumed(self, checkpoints: StepCheckpoints) -> StepCheckpoint | None:
        """The checkpoint to go on from, which the chief chooses; None to start.

        Raises:
            ConfigError: If this process doesn't see what the chief sees.
        """
        newest = checkpoints.newest() if self.members.is_chief else None
        name = self.members.chosen(None if newest is None else newest.directory.name)
        if self.members.is_chief or name is None:
            return newest
        try:
            return checkpoints.read(name)
        except (ArtifactError, OSError) as error:
            raise ConfigError(
                "all workers must see the files of the pipeline root, at the same path",
                received=f"{checkpoints.directory / name}, which worker 0 goes on from, and worker {self.members.rank} "
                f"can't read: {error}",
                remedy="put the root on a file system that all machines have at the same place",
            ) from error

    def masking_rate(self) -> MaskingRate:
        """The part of the tokens that each step masks."""
        params, steps = self.params, self.steps.steps
        changes = masking_changes(params.mlm_probability_schedule, steps)
        return MaskingRate(params.mlm_probability, params.mlm_probability_end, steps, changes)

    def stages(self, training: MaskedLMTraining, train_batches: tf.data.Dataset) -> Stages:
        """The stages of the training, and what a step of each has to do."""
        steps, block_size, inputs = self.steps, self.blocks.block_size, train_batches.element_spec[0]
        plan = plan_stages(steps.blocks_by_step, self.masking_rate(), steps.steps, block_size)
        # The products of a step grow with its blocks. To count them is to trace the model: once, for the mean length.
        length = self.mean_length
        flops = {
            predictions: step_flops(training, inputs, steps.blocks_a_step, length, predictions)
            for predictions in {stage.predictions for stage in plan.stages}
        }
        return Stages(
            tuple(
                dataclasses.replace(
                    stage,
                    tokens=round(stage.blocks * self.blocks.tokens_a_block),
                    flops=flops[stage.predictions] * stage.blocks / steps.blocks_a_step,
                )
                for stage in plan.stages
            )
        )

    def trimmed_lengths(self, split: str) -> np.ndarray | None:
        """Tokens of each block of a split, (blocks,) int32, by which its batches are cut; None to leave them whole.

        Joined records have no padding, and packed ones hardly any; their test split has a document a row.
        """
        is_padded = self.blocks.packing == "documents" or (self.blocks.packing == "packed" and split == "test")
        if not is_padded or not can_be_trimmed(self.model.config):
            return None
        return lengths_of_blocks(self.blocks.split(split))

    @functools.cached_property
    def train_lengths(self) -> np.ndarray | None:
        """`trimmed_lengths` of the train split."""
        return self.trimmed_lengths("train")

    @property
    def mean_length(self) -> int:
        """Positions of a step's blocks on average, those that are padding included."""
        block_size, lengths = self.blocks.block_size, self.train_lengths
        if lengths is None:
            return block_size
        places = lengths[self.block_order()].reshape(-1, self.steps.blocks_a_step)  # (steps, blocks)
        return round(lengths_of_batches(places.max(axis=1), block_size).mean())

    def compiled_training(self) -> MaskedLMTraining:
        """The model as `fit` trains it, with its optimizer, whose every variable exists."""
        params = self.params
        if self.blocks.packing == "packed":
            as_masked_lm(self.model).keep_documents_apart()
        training = MaskedLMTraining(
            self.model,
            max_predictions(self.blocks.block_size, max(self.masking_rate().largest, params.eval_mlm_probability)),
            block_size=self.blocks.block_size,
            whole_words=params.whole_word_mask,
            seed=params.seed,
            accumulation_steps=params.gradient_accumulation_steps,
            max_grad_norm=params.max_grad_norm,
            ema_decay=params.ema_decay,
            frozen_layers=params.layer_freezing,
            gradient_checkpointing=params.gradient_checkpointing,
            compiled=self.execution.jit_compile,
        )
        matrices = layer_matrices(self.model)
        if params.optimizer == "muon" and not matrices:
            raise ConfigError(
                "with train.optimizer muon, the model's layers must have matrices, whose momentum it makes orthogonal",
                received=f"train.optimizer muon for {self.model.config.model_type}, which has none",
                remedy="set --train.optimizer adamw",
            )
        training.compile(optimizer=build_optimizer(params, self.steps, matrices))
        create_slots(training.optimizer, training.trained_variables)
        return training

    def machine(self) -> dict[str, Any]:
        """What this run computes with, as far as it may change a result."""
        execution = self.execution
        return {"precision": execution.precision, "devices": execution.all_device_names, **describe_devices()}

    def block_order(self) -> np.ndarray:
        """(epochs * blocks an epoch,) int32, the numbers of the train blocks in the order that training sees them."""
        blocks_an_epoch = self.steps.steps_per_epoch * self.steps.blocks_a_step
        blocks = self.blocks.split("train")
        return in_training_order(
            len(blocks),
            self.steps.epochs,
            blocks_an_epoch,
            self.params.seed,
            lengths=lengths_of_blocks(blocks) if self.params.group_by_length else None,
            blocks_a_step=self.steps.blocks_a_step,
        )

    def blocks_of(self, step: int, order: np.ndarray) -> list[int]:
        """The numbers of the train blocks that a step, counted from 1, learns from."""
        begin = (step - 1) * self.steps.blocks_a_step
        size = next(size for first, size in reversed(self.steps.blocks_by_step) if first < step)
        return [int(number) for number in order[begin : begin + size]]

    def train_batches(self, order: np.ndarray, first_step: int) -> tf.data.Dataset:
        """The masked batches of all steps after the first ones, which an earlier run made.

        Each step has its place in the order, of as many blocks as the largest batch, and begins there: so each step's
        blocks depend on its number alone, and those of later steps not on the warm-up.
        """
        # A training that was at its end needs no batch, but Keras wants a data set.
        first_batch = min(first_step, self.steps.steps - 1)
        words = WordBoundaries.of(self.tokenizer) if self.params.whole_word_mask else None
        places = order.reshape(-1, self.steps.blocks_a_step)  # (steps, blocks)
        sizes = self.steps.blocks_by_step
        ends = [*(step for step, _ in sizes[1:]), len(places)]
        parts = []
        for (begin, size), end in zip(sizes, ends, strict=True):
            if first_batch < end:
                masking = MaskingCollator(
                    self.tokenizer,
                    self.masking_rate(),
                    self.params.seed,
                    words=words,
                    share=self.members.share(size),
                    first_batch=max(begin, first_batch),
                )
                part = places[:end, :size].reshape(-1)
                blocks = self.blocks.split("train")
                lengths = self.train_lengths
                parts.append(batches(self.model, blocks, size, masking, part, members=self.members, lengths=lengths))
        return functools.reduce(tf.data.Dataset.concatenate, parts)

    def validation_batches(self) -> tf.data.Dataset | None:
        """The test split in batches whose masks are the same after each epoch; None where the split is empty."""
        test_blocks = self.blocks.split("test")
        frozen = MaskingCollator(self.tokenizer, self.params.eval_mlm_probability, self.params.seed, frozen=True)
        if not len(test_blocks):
            return None
        lengths = self.trimmed_lengths("test")
        return batches(self.model, test_blocks, self.steps.batch_size, frozen, members=self.members, lengths=lengths)

    @property
    def validation_steps(self) -> int:
        """Batches of a validation."""
        return math.ceil(len(self.blocks.split("test")) / self.steps.batch_size)

    def telemetry(self, stages: Stages) -> Telemetry:
        """The history, empty so far."""
        steps = self.steps
        return Telemetry(
            (self.scratch or self.out) / LOGS,
            steps_a_row=steps_a_row(steps.steps),
            steps_per_epoch=steps.steps_per_epoch,
            stages=stages,
            measure_peak=self.peak_flops if self.members.is_chief else lambda: math.inf,
            given_peak_tflops=self.params.peak_tflops,
            watch=LossWatch(self.params.divergence_factor),
            progress=Progress(
                steps.steps,
                steps.epochs,
                self.validation_steps,
                stages.flops_before,
            ),
        )

    def peak_flops(self) -> float:
        """Floating-point operations a second that all devices do, as this process' own do them."""
        execution = self.execution
        return self.members.count * measured_peak_flops(execution.product_dtype, len(execution.device_names))

    def checkpointing(
        self,
        checkpoints: StepCheckpoints,
        resumed: StepCheckpoint | None,
        parts: Mapping[str, Any],
    ) -> Checkpointing:
        """What writes the checkpoints, and restores the one that training goes on from."""
        facts = {
            "params": self.params.in_key,
            "steps": self.steps.steps,
            "machine": self.machine(),
        }
        return Checkpointing(
            checkpoints,
            resumed,
            every_steps=self.params.checkpoint_every_steps,
            steps_per_epoch=self.steps.steps_per_epoch,
            epochs=self.steps.epochs,
            facts=facts,
            parts=parts,
            state=None if self.params.save_only_model else self.step_checkpoints(STATE),
            steps=self.steps.steps,
            interruption=self.interruption,
        )

    def observation(self, training: MaskedLMTraining, first_step: int) -> list[Observing]:
        """The callback that tells the observer; none where nobody watches, or others than the chief."""
        if self.observer is None or not self.members.is_chief:
            return []
        observed = ObservedTraining(
            self.model,
            self.tokenizer,
            self.out / OBSERVER,
            epochs_seen=first_step // self.steps.steps_per_epoch,
            averaged_weights=training.averaged_weights,
        )
        return [Observing(self.observer.training_begins(observed))]
