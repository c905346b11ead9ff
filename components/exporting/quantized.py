"""The model in eight-bit integers, beside the SavedModel: written, and measured as it is served."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

from components.contract.artifacts import Checkpoint
from components.contract.reports import FormAccuracy
from components.evaluation.questions import Questions
from components.exporting.accuracy import AccuracyTest, require_accuracy
from components.modeling.architectures.architecture import from_zero
from components.modeling.architectures.records import architecture_of
from components.modeling.checkpoint import load_masked_lm
from components.modeling.encoder.local_attention import without_chunks
from components.modeling.library.adapter import as_masked_lm
from components.modeling.masked_lm import MaskedLM
from serving.graph.language_model import LanguageModel
from serving.graph.lite.conversion import convert
from serving.graph.lite.functions import LiteFunctions
from serving.graph.lite.order_check import require_same_answers
from serving.lite.interpreter import LiteModel

if TYPE_CHECKING:
    from components.modeling.scoring import LogitsAt

INT8 = "int8"


def write_quantized(
    path: Path,
    checkpoint: Checkpoint,
    mask_token_id: int,
    top_k: int,
    longest: int,
    questions: Questions | None,
    max_loss_increase: float,
) -> FormAccuracy | None:
    """Writes the model in eight-bit integers, and measures the file.

    Args:
        path: The file.
        checkpoint: The model, whose weights are float32.
        mask_token_id: The mask's id.
        top_k: Candidates a mask.
        longest: The most tokens of a request.
        questions: What it is asked; None for nothing.
        max_loss_increase: The most that its loss may be above the checkpoint's, nats a masked token.

    Returns:
        How it answers; None where it wasn't asked.

    Raises:
        ModelError: If the model needs an operation that TensorFlow Lite doesn't have, or is worse by more.
    """
    model = as_masked_lm(load_masked_lm(checkpoint.model_directory))
    functions = LiteFunctions(LanguageModel(model), mask_token_id, top_k, longest, first_position(model))
    with without_chunks():
        path.write_bytes(convert(functions, path.parent))
    require_same_answers(path, mask_token_id, model.config.vocab_size, longest)
    if questions is None:
        return None
    accuracy = AccuracyTest(model, questions).of(INT8, logits_at(path))
    require_accuracy(accuracy, max_loss_increase, "leave out --export.quantize")
    return accuracy


def first_position(model: MaskedLM) -> int | None:
    """The position id of a row's first token; None where the model takes none, or looks for tokens itself."""
    if "position_ids" not in model.takes:
        return None
    record = architecture_of(model.config)
    if record.design is not None:
        design = record.design(model.config)
        return None if getattr(design, "positions", None) == "after_padding" else getattr(design, "first_position", 0)
    return 0 if record.first_position is from_zero else None


def logits_at(path: Path) -> "LogitsAt":
    """What gives the logits of a TensorFlow Lite file at positions."""
    lite = LiteModel(path)

    def logits(inputs: Mapping[str, tf.Tensor], positions: tf.Tensor) -> tf.Tensor:
        values = [inputs["input_ids"], inputs["attention_mask"], positions]
        with tf.device("/CPU:0"):
            found = tf.numpy_function(lite.logits_at, values, tf.float32)
        return tf.ensure_shape(found, [*positions.shape, None])

    return logits
