"""What is told, and kept, when the training loss has gone wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.modeling.checkpoint import save_masked_lm
from components.training.loss_watch import BadLoss
from components.training.resuming import restore_variables
from components.training.step_checkpoints import StepCheckpoint
from components.training.training_model import MaskedLMTraining
from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_BLOCKS = 16


def loss_failure(
    bad: BadLoss,
    steps: int,
    blocks: Sequence[int],
    training: MaskedLMTraining,
    tokenizer: "PreTrainedTokenizerBase",
    good: StepCheckpoint | None,
    directory: Path,
) -> ModelError:
    """Saves the model of the last good checkpoint, and makes the error that names it, the step and the batch.

    Args:
        bad: What happened.
        steps: Steps in all.
        blocks: The batch of that step, as indices of the train split.
        training: The model, which takes the checkpoint's weights.
        tokenizer: Its tokenizer.
        good: The last checkpoint before; None where there is none.
        directory: Where to save the model.
    """
    named = ", ".join(map(str, blocks[:MOST_BLOCKS])) + (", …" if len(blocks) > MOST_BLOCKS else "")
    train_on = "there is no checkpoint before it (train.checkpoint_every_steps)"
    if good is not None:
        restore_variables(training, good.variables)
        with training.averaged_weights():
            save_masked_lm(training.masked_lm, tokenizer, directory)
        train_on = (
            f"the last good checkpoint, of step {good.step}, can be trained further by --train.pretrained {directory} "
            "--train.model_type null --train.model_config {}"
        )
    return ModelError(
        "the training loss is a number and stays near the lowest that it was",
        received=f"{bad.what}, from step {bad.step} of {steps} on, whose batch has the train blocks {named}",
        remedy="lower --train.learning_rate, or set --train.max_grad_norm 1 and --train.warmup_ratio 0.1, and train "
        f"from the start; {train_on}",
    )
