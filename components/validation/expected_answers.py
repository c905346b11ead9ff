"""What the exported model must answer: what transformers' fill-mask pipeline gives on the checkpoint."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contract.reports import ServingModelReport
from components.validation.probe import Served
from components.validation.tolerance import FLOAT32
from foundation.terminal import TERMINAL
from foundation.text_answers import NO_MASK, OK, TOO_MANY_TOKENS, is_answered, no_mask_within, truncated_to
from serving.client.answers import Answer

if TYPE_CHECKING:
    from transformers import FillMaskPipeline, PreTrainedTokenizerFast

    from serving.graph.bfloat16 import Bfloat16Model

CPU = -1
"""What transformers' pipelines call it."""


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the checkpoint answers.

    Attributes:
        answers: Of each text; empty for one that can't be answered.
        of_others: Of the text that the other signatures were asked, with their options.
        logits: (tokens, vocabulary) float32, of the mask token alone.
        own: The same of the checkpoint in the precision of the export; None for one in float32.
    """

    answers: list[Answer]
    of_others: list[Answer]
    logits: Any
    own: "Expected | None" = None


def status_of(text: str, tokenizer: "PreTrainedTokenizerFast", export: ServingModelReport) -> str:
    """The status with which the model must answer a text.

    Args:
        text: The text.
        tokenizer: The model's.
        export: Says how many tokens the model takes, and whether it cuts a longer text.
    """
    longest = export.max_sequence_length
    ids = tokenizer(text, verbose=False)["input_ids"]
    if len(ids) > longest:
        if not export.truncation:
            return TOO_MANY_TOKENS
        if tokenizer.mask_token_id in ids:
            kept = tokenizer(text, truncation=True, max_length=longest)["input_ids"]
            return truncated_to(longest) if tokenizer.mask_token_id in kept else no_mask_within(longest)
    return OK if tokenizer.mask_token_id in ids else NO_MASK


def ask_checkpoint(
    model_directory: Path,
    tokenizer: "PreTrainedTokenizerFast",
    export: ServingModelReport,
    statuses: Mapping[str, str],
    served: Served,
) -> Expected:
    """Asks transformers' fill-mask pipeline what a server was asked.

    Args:
        model_directory: The checkpoint's.
        tokenizer: Its tokenizer.
        export: How it was exported.
        statuses: The texts, each with the status that it must be answered with.
        served: What the server answered, and was asked.

    Raises:
        ModelError: If the checkpoint can't be loaded.
    """
    import tensorflow as tf

    from components.modeling.library.adapter import as_masked_lm
    from serving.graph.bfloat16 import Bfloat16Model

    cut = {"truncation": True, "max_length": export.max_sequence_length} if export.truncation else {}

    def ask(pipeline: "FillMaskPipeline", logits_of: Callable[[tf.Tensor], tf.Tensor]) -> Expected:
        with TERMINAL.progress("asking the checkpoint", len(statuses), "texts") as progress:
            return Expected(
                [
                    pipeline(text, tokenizer_kwargs=cut) if is_answered(status) else []
                    for text, status in progress.watch(statuses.items())
                ],
                [pipeline(served.answerable, **options) for _, options, _ in served.others],
                logits_of(tf.constant([tokenizer(tokenizer.mask_token)["input_ids"]]))[0].numpy(),
            )

    # On the CPU, as a server that is started here: a GPU's arithmetic differs by more than the tolerance.
    with tf.device("/CPU:0"):
        pipeline = fill_mask_pipeline(model_directory, tokenizer, export.top_k)
        expected = ask(pipeline, lambda ids: pipeline.model(ids).logits)
        if export.precision == FLOAT32:
            return expected
        model = Bfloat16Model(as_masked_lm(pipeline.model))
        answered = ask(
            in_precision(pipeline, model, export.top_k),
            lambda ids: model.logits({"input_ids": ids, "attention_mask": tf.ones_like(ids)}),
        )
        return dataclasses.replace(expected, own=answered)


def in_precision(pipeline: "FillMaskPipeline", model: "Bfloat16Model", top_k: int) -> "FillMaskPipeline":
    """The same pipeline with another model's scores."""
    import tensorflow as tf
    from transformers import FillMaskPipeline

    class InPrecision(FillMaskPipeline):
        def _forward(self, model_inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            ids = tf.cast(model_inputs["input_ids"], tf.int32)
            mask = tf.cast(model_inputs.get("attention_mask", tf.ones_like(ids)), tf.int32)
            return {"logits": model.logits({"input_ids": ids, "attention_mask": mask}), "input_ids": ids}

    return InPrecision(model=pipeline.model, tokenizer=pipeline.tokenizer, framework="tf", top_k=top_k, device=CPU)


def fill_mask_pipeline(model_directory: Path, tokenizer: "PreTrainedTokenizerFast", top_k: int) -> "FillMaskPipeline":
    """The fill-mask pipeline of transformers, on a checkpoint."""
    from transformers import FillMaskPipeline

    from components.modeling.checkpoint import load_masked_lm

    model = load_masked_lm(model_directory)
    # Without a device it would take the first GPU, whatever device its caller is on.
    return FillMaskPipeline(model=model, tokenizer=tokenizer, framework="tf", top_k=top_k, device=CPU)
