"""The errors of a training that went wrong, with what can be done about it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

from components.modeling.checkpoint import save_masked_lm
from components.training.loss_watch import BadLoss
from components.training.step_checkpoints import StepCheckpoint, restore_variables
from components.training.training_model import MaskedLMTraining
from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MOST_BLOCKS = 16
"""Blocks of a batch that an error names."""


def save_last_good(
    training: MaskedLMTraining, tokenizer: "PreTrainedTokenizerFast", good: StepCheckpoint, directory: Path
) -> None:
    """Saves the model of a checkpoint, whose weights the training takes.

    Args:
        training: The training.
        tokenizer: The model's.
        good: The checkpoint.
        directory: Where to.
    """
    restore_variables(training, good.variables)
    with training.averaged_weights():
        save_masked_lm(training.masked_lm, tokenizer, directory)


def loss_failure(
    bad: BadLoss, steps: int, blocks: Sequence[int], good: StepCheckpoint | None, last_good: Path
) -> ModelError:
    """The error of a loss that went wrong, which names the last good checkpoint, the step and the batch.

    Args:
        bad: What happened.
        steps: Steps that were planned.
        blocks: The batch of that step, as numbers of train blocks.
        good: The last checkpoint before; None where there is none.
        last_good: Where its model was saved.
    """
    named = ", ".join(map(str, blocks[:MOST_BLOCKS])) + (", …" if len(blocks) > MOST_BLOCKS else "")
    train_on = "there is no checkpoint before it (train.checkpoint_every_steps)"
    if good is not None:
        train_on = (
            f"the last good checkpoint, of step {good.step}, can be trained further by --train.pretrained "
            f"{last_good} --train.model_type null --train.model_config {{}}"
        )
    return ModelError(
        "the training loss must be a number and stay near the lowest that it was",
        received=f"{bad.what}, from step {bad.step} of {steps} on, whose batch has the train blocks {named}",
        remedy="lower --train.learning_rate, or set --train.max_grad_norm 1 and --train.warmup_ratio 0.1, and "
        f"train from the start; {train_on}",
    )


def memory_failure(error: tf.errors.ResourceExhaustedError, devices: Sequence[str], batch_size: int) -> ModelError:
    """The error of a step that doesn't fit into memory.

    Args:
        error: TensorFlow's.
        devices: On which it trains.
        batch_size: Blocks that go through the model at once.
    """
    message = (error.message or "out of memory").splitlines()[0]
    return ModelError(
        "a step's activations must fit into the devices' memory",
        received=f"{message}, on {', '.join(devices)} with batches of {batch_size} blocks",
        remedy="lower --train.batch_size and raise --train.gradient_accumulation_steps by as much, or set "
        "--train.gradient_checkpointing true",
    )
