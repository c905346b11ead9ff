"""How a model is measured, and what it must reach to be pushed."""

import dataclasses
import math

from components.contract.mask_placeholder import MASK
from components.evaluation.baseline import LAST_BLESSED
from foundation.errors import ConfigError

SAMPLE_SENTENCES = 5
"""How many sentences of the test split are shown where none are given."""
BEFORE, AFTER, UNIGRAM, BASELINE = "before", "after", "unigram", "baseline"
"""The models: this one before and after training, guessing by word frequency, and the one that it is compared with."""
TOP_K = 5
"""How many of the most probable tokens are kept at each mask."""
SEED_MARGIN = 0.01
"""Two trainings that differ by their seed alone differ by about this part of their perplexity."""


@dataclasses.dataclass(frozen=True)
class QuestionSettings:
    """Which questions are asked.

    Attributes:
        probability: Share of the tokens that are masked, above 0 and at most 1.
        seed: Of the masks.
        max_blocks: The most blocks, evenly spaced; None for all.
    """

    probability: float
    seed: int
    max_blocks: int | None


@dataclasses.dataclass(frozen=True)
class EvaluateParams:
    """How the model is measured on the test split, and what it must reach to be pushed.

    Attributes:
        seed: Chooses the masks, the same for every model, and the bootstrap's draws; a whole number from 0.
        batch_size: Blocks scored at once; doesn't change the result beyond rounding.
        max_blocks: Measure on this many blocks, evenly spaced over the test split; null for all of them.
        max_perplexity: Perplexity that the model must stay below to be blessed; null for any.
        min_improvement_over_start: Part by which perplexity must fall below that before training, beyond chance;
            null for not looking at it. It isn't looked at where the checkpoint had no language-model head, so that the
            one before training was random, unless min_improvement_over_unigram is null.
        min_improvement_over_unigram: Part by which it must fall below that of guessing by word frequency, the unigram
            baseline, beyond chance; -0.02 allows 2% more; null turns this check off.
        min_improvement_over_baseline: Part by which it must fall below the baseline's, beyond chance. Two trainings
            that differ by their seed differ by about 0.01; -0.02 allows 2% more; null for not looking at it.
        baseline: last_blessed for the last blessed model where models are pushed to, or a checkpoint's Hub name or
            local folder; null for none.
        confidence: Of the intervals, from 0.5 up to, but not, 1.
        bootstrap_resamples: How often the records are drawn anew for an interval, from 100.
        slice_column: Column of the corpus by whose values there are slices, such as category; null for none.
        contamination_ngram: Tokens in a row that a test block must share with the train split to count as
            contaminated, from 2.
        pseudo_log_likelihood_blocks: Test blocks scored token by token too, which costs as many passes as they have
            tokens; 0 for none.
        sample_texts: Sentences, each with a <mask>, whose answers before and after training the report shows; null for
            sentences of the test split, [] for none.
    """

    seed: int = 42
    batch_size: int = 16
    max_blocks: int | None = None
    max_perplexity: float | None = None
    min_improvement_over_start: float | None = SEED_MARGIN
    min_improvement_over_unigram: float | None = SEED_MARGIN
    min_improvement_over_baseline: float | None = SEED_MARGIN
    baseline: str | None = LAST_BLESSED
    confidence: float = 0.95
    bootstrap_resamples: int = 10_000
    slice_column: str | None = None
    contamination_ngram: int = 24
    pseudo_log_likelihood_blocks: int = 0
    sample_texts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        names = [f"min_improvement_over_{name}" for name in ("start", "unigram", "baseline")]
        improvements: dict[str, float | None] = {name: getattr(self, name) for name in names}
        for name, rule, allowed, example in (
            ("seed", "must be a whole number from 0", self.seed >= 0, "42"),
            ("batch_size", "must be from 1 to 4096", 1 <= self.batch_size <= 4096, "16, or to less if memory runs out"),
            (
                "max_blocks",
                "must be at least 1, or null",
                self.max_blocks is None or self.max_blocks >= 1,
                "1000, or null",
            ),
            (
                "max_perplexity",
                "must be above 1, or null for any",
                self.max_perplexity is None or 1 < self.max_perplexity < math.inf,
                "50, or to null",
            ),
            *(
                (name, "must be a number below 1, or null", value is None or -math.inf < value < 1, str(SEED_MARGIN))
                for name, value in improvements.items()
            ),
            (
                "baseline",
                f"must be {LAST_BLESSED}, a Hub name, a local folder, or null",
                self.baseline is None or self.baseline.strip(),
                LAST_BLESSED,
            ),
            ("confidence", "must be from 0.5 up to, but not, 1", 0.5 <= self.confidence < 1, "0.95"),
            (
                "bootstrap_resamples",
                "must be from 100 to 1,000,000",
                100 <= self.bootstrap_resamples <= 1_000_000,
                "10000",
            ),
            (
                "slice_column",
                "must name a column, or be null",
                self.slice_column is None or self.slice_column.strip("."),
                "category",
            ),
            ("contamination_ngram", "must be at least 2", self.contamination_ngram >= 2, "24"),
            ("pseudo_log_likelihood_blocks", "must be at least 0", self.pseudo_log_likelihood_blocks >= 0, "20"),
            (
                "sample_texts",
                f"must be sentences with a {MASK} each, or null",
                all(MASK in text for text in self.sample_texts or ()),
                f"'[\"This is a {MASK}.\"]'",
            ),
        ):
            if not allowed:
                raise ConfigError(
                    f"evaluate.{name} {rule}",
                    received=repr(getattr(self, name)),
                    remedy=f"set --evaluate.{name} to {example}",
                )

    def questions(self, eval_mlm_probability: float) -> QuestionSettings:
        """Which questions are asked where so large a share of the tokens is masked."""
        return QuestionSettings(eval_mlm_probability, self.seed, self.max_blocks)
