"""The unigram baseline: what can be guessed about a masked token from its frequency alone."""

import dataclasses
from collections.abc import Collection, Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Unigram:
    """Add-one smoothed token frequencies.

    Attributes:
        log_probabilities: (vocabulary_size,) float64, natural logarithms; minus infinity for special tokens, which
            are never masked and so never the answer.
        counts: (vocabulary_size,) int64, how often each stands in the text; 0 for special tokens.
    """

    log_probabilities: np.ndarray
    counts: np.ndarray

    @classmethod
    def count(cls, batches: Iterable[np.ndarray], *, vocabulary_size: int, special_ids: Collection[int]) -> "Unigram":
        """Counts tokens, and gives each of the vocabulary one more (Laplace).

        Args:
            batches: Arrays of token ids of any shape, below `vocabulary_size`.
            vocabulary_size: Number of tokens, special ones among them.
            special_ids: Left out.
        """
        counts = np.zeros(vocabulary_size, dtype=np.int64)
        for batch in batches:
            counts += np.bincount(batch.reshape(-1), minlength=vocabulary_size)
        smoothed = counts + 1
        counts[list(special_ids)] = smoothed[list(special_ids)] = 0
        with np.errstate(divide="ignore"):
            return cls(np.log(smoothed) - np.log(smoothed.sum()), counts)

    def top(self, k: int) -> np.ndarray:
        """(k,) int64, the most frequent tokens, the most frequent first; of equals the lower id first."""
        return np.argsort(-self.log_probabilities, kind="stable")[:k]
