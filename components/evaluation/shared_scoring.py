"""One model's answers at the masks, given by several processes that each take some of the batches."""

import dataclasses
from pathlib import Path

from components.contract.artifacts import Blocks, Tokenizer
from components.contract.workers import Workers
from components.evaluation.params import TOP_K, QuestionSettings
from components.evaluation.questions import Questions, questions_of_test_split
from components.modeling.checkpoint import load_masked_lm
from components.modeling.library.adapter import as_masked_lm
from components.modeling.scoring import MaskedBatches, Scorer, Scores

BATCHES_AT_ONCE = 16
"""Batches that a process answers before it is given others."""
LEAST_OPERATIONS = 2e12
"""From so many floating-point operations on, several processes answer: to start one takes seconds."""


@dataclasses.dataclass(frozen=True)
class AskedModel:
    """A model and what it is asked: all that a process needs to know.

    Attributes:
        directory: The model's.
        blocks: Their test split is masked.
        tokenizer: Whose mask and special tokens are used.
        settings: Which tokens are masked.
        batch_size: Blocks scored at once.
    """

    directory: Path
    blocks: Blocks
    tokenizer: Tokenizer
    settings: QuestionSettings
    batch_size: int

    def is_worth_sharing(self, questions: Questions) -> bool:
        """Whether the work is more than that of starting processes: two operations for each weight and token."""
        files = [path for form in ("*.safetensors", "*.h5") for path in self.directory.glob(form)]
        weights = sum(path.stat().st_size for path in files) / 4
        return 2 * weights * questions.input_ids.size >= LEAST_OPERATIONS

    def prepare(self) -> Scorer:
        """Loads the model, and draws the masks that everybody draws.

        Raises:
            ModelError: If the blocks hold ids beyond the model's vocabulary.
        """
        questions = questions_of_test_split(self.blocks, self.tokenizer.load(), self.settings)
        model = load_masked_lm(self.directory)
        return Scorer(as_masked_lm(model).logits_at, model.config.vocab_size, self.batches(questions), TOP_K)

    def batches(self, questions: Questions) -> MaskedBatches:
        """The questions as the model is asked them."""
        return MaskedBatches(questions.input_ids, questions.attention_mask, questions.masks, self.batch_size)


def shared_scores(asked: AskedModel, questions: Questions, workers: Workers) -> Scores:
    """The answers, which are those that one process would give.

    Every batch is the one that it would be there, so that rounding is the same as well.

    Args:
        asked: The model.
        questions: What `asked` says, which this process has drawn already.
        workers: Who answers.

    Raises:
        ModelError: If the blocks hold ids beyond the model's vocabulary.
    """
    batches = asked.batches(questions)
    at_once = max(1, min(BATCHES_AT_ONCE, batches.count // workers.count))
    numbers = [range(start, min(start + at_once, batches.count)) for start in range(0, batches.count, at_once)]
    return batches.joined(workers.map(asked.prepare, Scorer.scores, numbers))
