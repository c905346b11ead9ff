"""The training of a model under `fit`, from the start or from where a run was cut off."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

from components.contract.artifacts import Blocks
from components.hub.access import TrainingUploads
from components.masking.masking import MaskingCollator, MaskingRate, max_predictions
from components.masking.whole_words import WordBoundaries
from components.modeling.library.documents_apart import keep_documents_apart
from components.publishing.uploads_during_training import UploadDuringTraining
from components.training.batches import batches, in_training_order
from components.training.devices import describe_devices
from components.training.execution import Execution
from components.training.flops import measured_peak_flops, step_flops
from components.training.interruption import Interruption
from components.training.loss_failure import loss_failure
from components.training.loss_watch import BadLoss, LossWatch
from components.training.optimizer import build_optimizer
from components.training.params import TrainParams
from components.training.progress import Progress
from components.training.resuming import Checkpointing, create_slots, require_same_precision
from components.training.step_checkpoints import CHECKPOINTS, StepCheckpoints
from components.training.steps import TrainingSteps
from components.training.stopping import BestEpoch, StopAt
from components.training.telemetry import Telemetry
from components.training.training_model import MaskedLMTraining
from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, TFPreTrainedModel

LAST_GOOD = "last_good"
"""Where the model of the last good checkpoint is saved when the loss goes wrong."""
UPLOADS = "uploads"
"""Where uploads to the Hub keep their copies while the model trains."""


def fit(
    model: "TFPreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    blocks: Blocks,
    params: TrainParams,
    steps: TrainingSteps,
    execution: Execution,
    uploads: TrainingUploads | None,
    out: Path,
) -> tuple[Telemetry, int | None, str | None]:
    """Trains a model in place, in the scope of its execution.

    Args:
        model: Before the first step, wherever training goes on.
        tokenizer: Its tokenizer.
        blocks: What it learns from, and is validated on.
        params: How.
        steps: How long.
        execution: On what.
        uploads: Where to upload it meanwhile, if anywhere.
        out: Has the checkpoints, also those of a run that was cut off; TensorBoard's logs go there.

    Returns:
        The history; the epoch with the lowest validation loss, if there was any; the URL of the Hub's commit with the
        newest upload, if any.

    Raises:
        ModelError: If the loss goes wrong, or the devices have too little memory.
        PipelineError: If a checkpoint can't be written.
    """
    train_blocks, test_blocks = blocks.split("train"), blocks.split("test")
    rate = MaskingRate(params.mlm_probability, params.mlm_probability_end, steps.steps)
    slots = max_predictions(blocks.block_size, max(rate.largest, params.eval_mlm_probability))
    if blocks.packing == "packed":
        keep_documents_apart(model)
    training = MaskedLMTraining(
        model,
        slots,
        seed=params.seed,
        accumulation_steps=params.gradient_accumulation_steps,
        max_grad_norm=params.max_grad_norm,
        ema_decay=params.ema_decay,
        gradient_checkpointing=params.gradient_checkpointing,
        compiled=execution.jit_compile,
    )
    training.compile(optimizer=build_optimizer(params, steps))
    create_slots(training.optimizer, model.trainable_variables)

    checkpoints = StepCheckpoints(out / CHECKPOINTS)
    resumed = checkpoints.newest()
    first_step = resumed.step if resumed else 0
    machine = {"precision": execution.precision, "devices": list(execution.device_names), **describe_devices()}
    if resumed:
        require_same_precision(resumed.facts, machine)
    # A training that was at its end needs no batch, but Keras wants a data set.
    first_batch = min(first_step, steps.steps - 1)
    words = WordBoundaries.of(tokenizer) if params.whole_word_mask else None
    masking = MaskingCollator(tokenizer, rate, params.seed, words=words, first_batch=first_batch)
    frozen = MaskingCollator(tokenizer, params.eval_mlm_probability, params.seed, frozen=True)
    blocks_an_epoch = steps.steps_per_epoch * steps.blocks_a_step
    order = in_training_order(len(train_blocks), steps.epochs, blocks_an_epoch, params.seed)
    batched = batches(model, train_blocks, steps.blocks_a_step, masking, order)

    telemetry = Telemetry(
        out / "logs",
        logging_steps=params.logging_steps,
        steps_per_epoch=steps.steps_per_epoch,
        tokens_a_step=round(steps.blocks_a_step * blocks.tokens_a_block),
        flops_a_step=step_flops(training, batched.element_spec[0], steps.blocks_a_step, blocks.block_size),
        peak_flops=params.peak_tflops * 1e12
        if params.peak_tflops
        else measured_peak_flops(execution.product_dtype, len(execution.device_names)),
        watch=LossWatch(params.divergence_factor),
        progress=Progress(steps.steps, steps.epochs),
    )
    best = BestEpoch(
        params.early_stopping_patience,
        params.early_stopping_threshold,
        checkpoints if params.load_best_model_at_end else None,
    )
    interruption = Interruption()
    checkpointing = Checkpointing(
        checkpoints,
        resumed,
        every_steps=params.checkpoint_every_steps,
        steps_per_epoch=steps.steps_per_epoch,
        epochs=steps.epochs,
        facts={"params": dataclasses.asdict(params), "steps": steps.steps, "machine": machine},
        parts={"telemetry": telemetry, "best": best},
        interruption=interruption,
    )
    training.first_step = checkpointing.initial_step
    callbacks: list[tf.keras.callbacks.Callback] = [telemetry, best, StopAt(steps.steps, first_step), checkpointing]
    upload = None
    if uploads is not None:
        epoch, context = first_step // steps.steps_per_epoch, training.averaged_weights
        scratch = out / UPLOADS
        upload = UploadDuringTraining(model, tokenizer, uploads, scratch, epoch=epoch, in_context=context)
        callbacks.append(upload)
    validation = batches(model, test_blocks, steps.batch_size, frozen) if len(test_blocks) else None
    # Dropout has its own chance; Flaubert's LayerDrop, decided while the step is traced, takes it from here. So do the
    # data sets, which are made by now.
    tf.keras.utils.set_random_seed(params.seed)
    try:
        with interruption:
            training.fit(
                batched,
                validation_data=validation,
                initial_epoch=checkpointing.initial_epoch,
                epochs=steps.epochs,
                steps_per_epoch=steps.steps_per_epoch,
                callbacks=callbacks,
                verbose=0,
            )
    except BadLoss as bad:
        batch = order[(bad.step - 1) * steps.blocks_a_step : bad.step * steps.blocks_a_step].tolist()
        good = checkpoints.before(bad.step)
        raise loss_failure(bad, steps.steps, batch, training, tokenizer, good, out / LAST_GOOD) from bad
    except tf.errors.ResourceExhaustedError as error:
        raise memory_failure(error, execution, steps.batch_size) from error
    training.keep_averaged_weights()
    return telemetry, best.epoch, upload.commits[-1].url if upload and upload.commits else None


def memory_failure(error: tf.errors.ResourceExhaustedError, execution: Execution, batch_size: int) -> ModelError:
    """The error of a step that doesn't fit into memory."""
    message = (error.message or "out of memory").splitlines()[0]
    return ModelError(
        "a step's activations fit into the devices' memory",
        received=f"{message}, on {', '.join(execution.device_names)} with batches of {batch_size} blocks",
        remedy="lower --train.batch_size and raise --train.gradient_accumulation_steps by as much, or set "
        "--train.gradient_checkpointing true",
    )
