"""How much an exported form of a model loses beside the float32 checkpoint, on the evaluation's own frozen masks."""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from components.contract.artifacts import Blocks
from components.contract.reports import FormAccuracy
from components.evaluation.params import QuestionSettings
from components.evaluation.questions import Questions, questions_of_test_split
from components.masking.frozen_masks import FrozenMasks
from components.modeling.masked_lm import MaskedLM
from components.modeling.scoring import LogitsAt, Scores, score_with
from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MASKED_TOKENS = 4096
"""How many masked tokens are asked at most: enough to tell a loss of 0.01 nats, for each is compared with itself."""
BLOCKS_AT_ONCE = 8
TOKENS_AT_ONCE = 4096
"""The most tokens that are asked at once, where a block doesn't have more: attention takes a longer one's square."""


class AccuracyTest:
    """Asks the exported forms of one model what the evaluation asks first, and compares them with its checkpoint.

    Args:
        model: The checkpoint, which computes in float32.
        questions: What is asked, as `first_questions` gives it.

    Example:
        test = AccuracyTest(as_masked_lm(model), first_questions(blocks, tokenizer, settings))
        accuracy = test.of("bfloat16", logits_at)
        require_accuracy(accuracy, 0.01, "leave out --export.precision")
    """

    def __init__(self, model: MaskedLM, questions: Questions) -> None:
        self._model = model
        self._questions = questions

    def of(self, form: str, logits_at: LogitsAt) -> FormAccuracy:
        """Asks a form of the model.

        Args:
            form: Its name, for people.
            logits_at: What it answers.
        """
        ours, theirs = self._reference, self._ask(logits_at)
        loss, float32_loss = (_loss(scores) for scores in (theirs, ours))
        return FormAccuracy(
            form=form,
            masked_tokens=len(self._questions.masks),
            float32_loss=float32_loss,
            loss=loss,
            same_first_answers=float(np.mean(ours.top_ids[:, 0] == theirs.top_ids[:, 0])),
            largest_difference=float(np.abs(ours.log_probabilities - theirs.log_probabilities).max()),
        )

    @functools.cached_property
    def _reference(self) -> Scores:
        return self._ask(self._model.logits_at)

    def _ask(self, logits_at: LogitsAt) -> Scores:
        asked, size = self._questions, self._model.config.vocab_size
        at_once = max(1, min(BLOCKS_AT_ONCE, TOKENS_AT_ONCE // asked.input_ids.shape[1]))
        return score_with(logits_at, size, asked.input_ids, asked.attention_mask, asked.masks, batch_size=at_once, k=1)


def _loss(scores: Scores) -> float:
    """The mean cross-entropy, nats a masked token, every token weighing the same."""
    return -float(scores.log_probabilities.astype(np.float64).mean())


def first_questions(
    blocks: Blocks,
    tokenizer: "PreTrainedTokenizerFast",
    settings: QuestionSettings,
    masked_tokens: int = MASKED_TOKENS,
) -> Questions:
    """The evaluation's own questions, the first of them: whole blocks, and at least one.

    Args:
        blocks: Their test split is asked about.
        tokenizer: The tokenizer that they were made with.
        settings: The evaluation's.
        masked_tokens: How many masked tokens there are at most, where one block doesn't have more.

    Raises:
        DataError: If the split has no blocks, or nothing in them can be masked.
    """
    questions = questions_of_test_split(blocks, tokenizer, settings)
    block = questions.masks.block
    if len(block) <= masked_tokens:
        return questions
    # Of the blocks before this one, none is cut off; the first block with a mask is kept however many it has.
    end = max(int(block[masked_tokens]), int(block[0]) + 1)
    kept = int(np.searchsorted(block, end))
    fields = {field.name: getattr(questions.masks, field.name)[:kept] for field in dataclasses.fields(FrozenMasks)}
    return dataclasses.replace(
        questions,
        indices=questions.indices[:end],
        input_ids=questions.input_ids[:end],
        attention_mask=questions.attention_mask[:end],
        masks=FrozenMasks(**fields),
        record=questions.record[:kept],
    )


def require_accuracy(accuracy: FormAccuracy, max_loss_increase: float, way_out: str) -> None:
    """Refuses a form that is worse than the checkpoint by more than is allowed.

    Args:
        accuracy: What was measured.
        max_loss_increase: The most that its loss may be above the checkpoint's, nats a masked token.
        way_out: What may be set otherwise, beside a larger `export.max_loss_increase`.

    Raises:
        ModelError: If it is worse, or its answers are no numbers.
    """
    if is_accurate(accuracy, max_loss_increase):
        return
    raise ModelError(
        f"the {accuracy.form} form of a model must not be worse than its checkpoint by more than "
        f"export.max_loss_increase ({max_loss_increase:g} nats a masked token)",
        received=accuracy.sentence,
        remedy=f"{way_out}, or allow more with --export.max_loss_increase",
    )


def is_accurate(accuracy: FormAccuracy, max_loss_increase: float) -> bool:
    """Whether a form is worse than the checkpoint by no more than is allowed. One that answers NaN isn't accurate."""
    return math.isfinite(accuracy.loss) and accuracy.loss_increase <= max_loss_increase
