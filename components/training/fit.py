"""The training of a model under `fit`, from the start or from where a run was cut off."""

import dataclasses
import functools
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.contract.artifacts import LOGS, STATE, Blocks
from components.masking.masking import MaskingCollator, MaskingRate, max_predictions
from components.masking.whole_words import WordBoundaries
from components.modeling.checkpoint import save_masked_lm
from components.modeling.library.adapter import as_masked_lm
from components.training.batches import batches, in_training_order
from components.training.devices import describe_devices
from components.training.execution import Execution
from components.training.flops import measured_peak_flops, step_flops
from components.training.loss_watch import BadLoss, LossWatch
from components.training.observer import Observation, ObservedTraining, TrainingObserver
from components.training.optimizer import build_optimizer, create_slots
from components.training.params import TrainingSteps, TrainParams
from components.training.progress import Progress
from components.training.resuming import Checkpointing, require_same_precision
from components.training.schedules import masking_changes
from components.training.stages import StageBegins, Stages, plan_stages
from components.training.step_checkpoints import CHECKPOINTS, StepCheckpoint, StepCheckpoints, restore_variables
from components.training.stopping import BestEpoch, Interruption, StopAt
from components.training.telemetry import Telemetry, steps_a_row
from components.training.training_model import MaskedLMTraining
from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, TFPreTrainedModel

LAST_GOOD = "last_good"
"""Where the model of the last good checkpoint is saved when the loss goes wrong."""
OBSERVER = "observer"
"""Where an observer keeps files while the model trains."""
MOST_BLOCKS = 16
"""Blocks of a batch that an error names."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """One training: `run` is the sequence of its parts, each of which is a method of its own below.

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

    def run(self) -> tuple[Telemetry, int | None]:
        """Trains the model.

        Returns:
            The history, and the epoch with the lowest validation loss, if there was any validation.

        Raises:
            ModelError: If the loss goes wrong, or the devices have too little memory.
            PipelineError: If a checkpoint can't be written.
        """
        training = self.compiled_training()
        checkpoints = StepCheckpoints(self.out / CHECKPOINTS)
        resumed = checkpoints.newest()
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
        try:
            training.fit(
                train_batches,
                validation_data=validation_batches,
                initial_epoch=checkpointing.initial_epoch,
                epochs=self.steps.epochs,
                steps_per_epoch=self.steps.steps_per_epoch,
                callbacks=callbacks,
                verbose=0,
            )
        except BadLoss as bad:
            good = checkpoints.before(bad.step)
            raise self.loss_failure(bad, self.blocks_of(bad.step, order), training, good) from bad
        except tf.errors.ResourceExhaustedError as error:
            raise self.memory_failure(error) from error
        training.keep_averaged_weights()
        shutil.rmtree(self.out / OBSERVER, ignore_errors=True)
        return telemetry, best.epoch

    def masking_rate(self) -> MaskingRate:
        """The part of the tokens that each step masks."""
        params, steps = self.params, self.steps.steps
        changes = masking_changes(params.mlm_probability_schedule, steps)
        return MaskingRate(params.mlm_probability, params.mlm_probability_end, steps, changes)

    def stages(self, training: MaskedLMTraining, train_batches: tf.data.Dataset) -> Stages:
        """The stages of the training, and what a step of each has to do."""
        steps, block_size, inputs = self.steps, self.blocks.block_size, train_batches.element_spec[0]
        plan = plan_stages(steps.blocks_by_step, self.masking_rate(), steps.steps, block_size)
        # The products of a step grow with its blocks. To count them is to trace the model.
        flops = {
            predictions: step_flops(training, inputs, steps.blocks_a_step, block_size, predictions)
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

    def compiled_training(self) -> MaskedLMTraining:
        """The model as `fit` trains it, with its optimizer, whose every variable exists."""
        params = self.params
        if self.blocks.packing == "packed":
            as_masked_lm(self.model).keep_documents_apart()
        training = MaskedLMTraining(
            self.model,
            max_predictions(self.blocks.block_size, max(self.masking_rate().largest, params.eval_mlm_probability)),
            seed=params.seed,
            accumulation_steps=params.gradient_accumulation_steps,
            max_grad_norm=params.max_grad_norm,
            ema_decay=params.ema_decay,
            frozen_layers=params.layer_freezing,
            gradient_checkpointing=params.gradient_checkpointing,
            compiled=self.execution.jit_compile,
        )
        training.compile(optimizer=build_optimizer(params, self.steps))
        create_slots(training.optimizer, training.trained_variables)
        return training

    def machine(self) -> dict[str, Any]:
        """What this run computes with, as far as it may change a result."""
        execution = self.execution
        return {"precision": execution.precision, "devices": list(execution.device_names), **describe_devices()}

    def block_order(self) -> np.ndarray:
        """(epochs * blocks an epoch,) int32, the numbers of the train blocks in the order that training sees them."""
        blocks_an_epoch = self.steps.steps_per_epoch * self.steps.blocks_a_step
        return in_training_order(len(self.blocks.split("train")), self.steps.epochs, blocks_an_epoch, self.params.seed)

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
                first = max(begin, first_batch)
                masking = MaskingCollator(
                    self.tokenizer, self.masking_rate(), self.params.seed, words=words, first_batch=first
                )
                part = places[:end, :size].reshape(-1)
                parts.append(batches(self.model, self.blocks.split("train"), size, masking, part))
        return functools.reduce(tf.data.Dataset.concatenate, parts)

    def validation_batches(self) -> tf.data.Dataset | None:
        """The test split in batches whose masks are the same after each epoch; None where the split is empty."""
        test_blocks = self.blocks.split("test")
        frozen = MaskingCollator(self.tokenizer, self.params.eval_mlm_probability, self.params.seed, frozen=True)
        return batches(self.model, test_blocks, self.steps.batch_size, frozen) if len(test_blocks) else None

    def telemetry(self, stages: Stages) -> Telemetry:
        """The history, empty so far."""
        steps, execution = self.steps, self.execution
        return Telemetry(
            self.out / LOGS,
            steps_a_row=steps_a_row(steps.steps),
            steps_per_epoch=steps.steps_per_epoch,
            stages=stages,
            measure_peak=lambda: measured_peak_flops(execution.product_dtype, len(execution.device_names)),
            given_peak_tflops=self.params.peak_tflops,
            watch=LossWatch(self.params.divergence_factor),
            progress=Progress(
                steps.steps,
                steps.epochs,
                math.ceil(len(self.blocks.split("test")) / steps.batch_size),
                stages.flops_before,
            ),
        )

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
            state=None if self.params.save_only_model else StepCheckpoints(self.out / STATE),
            steps=self.steps.steps,
            interruption=self.interruption,
        )

    def observation(self, training: MaskedLMTraining, first_step: int) -> list["Observing"]:
        """The callback that tells the observer; none where nobody watches."""
        if self.observer is None:
            return []
        observed = ObservedTraining(
            self.model,
            self.tokenizer,
            self.out / OBSERVER,
            epochs_seen=first_step // self.steps.steps_per_epoch,
            averaged_weights=training.averaged_weights,
        )
        return [Observing(self.observer.training_begins(observed))]

    def loss_failure(
        self, bad: BadLoss, blocks: Sequence[int], training: MaskedLMTraining, good: StepCheckpoint | None
    ) -> ModelError:
        """Saves the model of the last good checkpoint, and makes the error that names it, the step and the batch.

        Args:
            bad: What happened.
            blocks: The batch of that step, as numbers of train blocks.
            training: The model, which takes the checkpoint's weights.
            good: The last checkpoint before; None where there is none.
        """
        named = ", ".join(map(str, blocks[:MOST_BLOCKS])) + (", …" if len(blocks) > MOST_BLOCKS else "")
        train_on = "there is no checkpoint before it (train.checkpoint_every_steps)"
        if good is not None:
            directory = self.out / LAST_GOOD
            restore_variables(training, good.variables)
            with training.averaged_weights():
                save_masked_lm(training.masked_lm, self.tokenizer, directory)
            train_on = (
                f"the last good checkpoint, of step {good.step}, can be trained further by --train.pretrained "
                f"{directory} --train.model_type null --train.model_config {{}}"
            )
        return ModelError(
            "the training loss must be a number and stay near the lowest that it was",
            received=f"{bad.what}, from step {bad.step} of {self.steps.steps} on, whose batch has the train blocks "
            f"{named}",
            remedy="lower --train.learning_rate, or set --train.max_grad_norm 1 and --train.warmup_ratio 0.1, and "
            f"train from the start; {train_on}",
        )

    def memory_failure(self, error: tf.errors.ResourceExhaustedError) -> ModelError:
        """The error of a step that doesn't fit into memory."""
        message = (error.message or "out of memory").splitlines()[0]
        return ModelError(
            "a step's activations must fit into the devices' memory",
            received=f"{message}, on {', '.join(self.execution.device_names)} with batches of {self.steps.batch_size} "
            "blocks",
            remedy="lower --train.batch_size and raise --train.gradient_accumulation_steps by as much, or set "
            "--train.gradient_checkpointing true",
        )


class Observing(tf.keras.callbacks.Callback):
    """Tells an observer when an epoch or the training ends.

    Args:
        observation: What the observer does during this training.
    """

    def __init__(self, observation: Observation) -> None:
        super().__init__()
        self.observation = observation
        # Without it Keras would wait for the loss at every step.
        self._supports_tf_logs = True

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tells of the epoch, by the number of epochs that the model has seen."""
        is_last = epoch + 1 == self.params.get("epochs") or bool(self.model.stop_training)
        self.observation.epoch_ends(epoch + 1, is_last)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Tells of the end."""
        self.observation.training_ends()
