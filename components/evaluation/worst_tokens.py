"""The tokens that a model is worst at: beside their frequency, and in themselves."""

from typing import TYPE_CHECKING

import numpy as np

from components.contract.reports import Answer, TokenExample, TokenLoss, WorstTokens
from components.evaluation.questions import Questions, special_ids_of
from components.evaluation.token_texts import TokenTexts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from components.modeling.scoring import Scores

MOST_TOKENS = 15
"""Listed in either order."""
FEWEST_MASKED = 10
"""The mean loss of a token that was masked less often is mostly chance."""
CONTEXT_TOKENS = 16
"""Shown on either side of an example."""


def worst_tokens(
    questions: Questions, tokenizer: "PreTrainedTokenizerFast", after: "Scores", unigram: "Scores"
) -> WorstTokens:
    """Sums the loss up by true token, and picks the worst.

    Args:
        questions: What was asked.
        tokenizer: The tokenizer of the questions.
        after: The trained model's answers.
        unigram: Those of guessing by word frequency.
    """
    labels = questions.masks.label
    loss = -after.log_probabilities.astype(np.float64)  # (masked tokens,)
    unigram_loss = -unigram.log_probabilities.astype(np.float64)  # (masked tokens,)
    tokens, place, count = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.bincount(place, loss) / count  # (tokens,)
    excess = np.bincount(place, loss - unigram_loss)  # (tokens,)
    texts = _Texts(questions, tokenizer, after, loss)

    def described(which: np.ndarray) -> tuple[TokenLoss, ...]:
        return tuple(
            TokenLoss(
                token_str=texts.tokens.text(int(tokens[number])),
                continues_word=texts.tokens.continues_word(int(tokens[number])),
                masked_tokens=int(count[number]),
                mean_loss=float(means[number]),
                mean_loss_unigram=float(means[number] - excess[number] / count[number]),
                excess_loss=float(excess[number]),
                example=texts.example(np.flatnonzero(place == number), float(means[number])),
            )
            for number in which
        )

    # Of equal ones the lower id comes first, so that equal answers give equal bytes.
    by_excess = np.argsort(-excess, kind="stable")[:MOST_TOKENS]
    frequent = np.flatnonzero(count >= FEWEST_MASKED)
    by_mean = frequent[np.argsort(-means[frequent], kind="stable")][:MOST_TOKENS]
    return WorstTokens(
        fewest_masked=FEWEST_MASKED,
        by_excess_loss=described(by_excess[excess[by_excess] > 0]),
        by_mean_loss=described(by_mean),
    )


class _Texts:
    """The examples' texts.

    Args:
        questions: What was asked.
        tokenizer: Reads the blocks' tokens.
        after: The trained model's answers.
        loss: (masked tokens,) their loss.
    """

    def __init__(
        self, questions: Questions, tokenizer: "PreTrainedTokenizerFast", after: "Scores", loss: np.ndarray
    ) -> None:
        self.tokens = TokenTexts(tokenizer)
        self._questions, self._after, self._loss = questions, after, loss
        self._special = list(special_ids_of(tokenizer))

    def example(self, occurrences: np.ndarray, mean: float) -> TokenExample:
        """The one of some masked tokens, by their places in the masks, whose loss is nearest to their mean."""
        masks = self._questions.masks
        chosen = int(occurrences[np.argmin(np.abs(self._loss[occurrences] - mean))])
        block = self._questions.input_ids[masks.block[chosen]]  # (block_size,)
        position, first_guess = int(masks.position[chosen]), int(self._after.top_ids[chosen, 0])
        # Special tokens part the records of a block, and padding ends it: the example stays within one record.
        special = np.flatnonzero(np.isin(block, self._special))
        begin = max(position - CONTEXT_TOKENS, *(special[special < position] + 1), 0)
        end = min(position + CONTEXT_TOKENS + 1, *special[special > position], len(block))
        return TokenExample(
            before=self.tokens.before(block[begin:position].tolist(), int(block[position])),
            after=self.tokens.after(block[position + 1 : end].tolist()),
            guess=Answer(
                self.tokens.text(first_guess),
                float(np.exp(self._after.top_log_probabilities[chosen])),
                self.tokens.continues_word(first_guess),
            ),
            probability=float(np.exp(-self._loss[chosen])),
        )
