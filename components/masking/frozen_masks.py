"""Masks drawn once for an evaluation, so that every model is asked the same questions.

Perplexity under freshly drawn masks is not comparable between two runs. These depend on a seed, the probability,
the blocks and the vocabulary only: not on the batch size, the model or the machine.
"""

import dataclasses
import hashlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from components.masking.masking import IGNORED_LABEL, draw_masks

CHUNK_BLOCKS = 4096
"""Blocks whose random numbers are held at once: bounds memory, and is part of what the seed means."""
FIELDS = ("block", "position", "input_id", "label")


@dataclasses.dataclass(frozen=True)
class FrozenMasks:
    """Every masked position of some blocks, in order of block, then of position.

    Attributes:
        block: (tokens,) int32, the block's index.
        position: (tokens,) int32, the position in the block, from 0.
        input_id: (tokens,) int32, what the model sees there: the mask, a random token or the true one.
        label: (tokens,) int32, the true token.
    """

    block: np.ndarray
    position: np.ndarray
    input_id: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.block)

    @property
    def digest(self) -> str:
        """SHA-256 over the four arrays as little-endian int32: equal questions have an equal digest."""
        content = hashlib.sha256()
        for name in FIELDS:
            content.update(getattr(self, name).astype("<i4").tobytes())
        return content.hexdigest()

    def save(self, path: Path) -> None:
        """Writes the four arrays as a compressed `.npz`."""
        np.savez_compressed(path, **{name: getattr(self, name) for name in FIELDS})

    @classmethod
    def load(cls, path: Path) -> "FrozenMasks":
        """The masks that `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in FIELDS})

    def apply(self, input_ids: np.ndarray) -> np.ndarray:
        """The blocks as the model sees them: a copy of `input_ids` (blocks, block_size) with the masks in place."""
        masked = input_ids.copy()
        masked[self.block, self.position] = self.input_id
        return masked


def freeze_masks(
    input_ids: np.ndarray,
    *,
    special_ids: Collection[int],
    mask_token_id: int,
    vocabulary_size: int,
    probability: float,
    seed: int,
) -> FrozenMasks:
    """Draws the masks by the rule that training draws them by: see `components.masking.masking`.

    Args:
        input_ids: (blocks, block_size) int32, the true tokens.
        special_ids: Never masked.
        mask_token_id: The mask token.
        vocabulary_size: Random tokens are drawn from 0 to this, exclusive.
        probability: Share of the tokens that are chosen, above 0 and at most 1.
        seed: A whole number from 0.

    Returns:
        The masks; `block` is the row in `input_ids`.
    """
    parts = []
    for number, start in enumerate(range(0, len(input_ids), CHUNK_BLOCKS)):
        drawn = draw_masks(
            input_ids[start : start + CHUNK_BLOCKS],
            special_ids=special_ids,
            vocabulary_size=vocabulary_size,
            mask_token_id=mask_token_id,
            probability=probability,
            random=np.random.default_rng([seed, number]),
        )
        labels = drawn.dense_labels  # (chunk, block_size)
        rows, positions = np.nonzero(labels != IGNORED_LABEL)
        parts.append((rows + start, positions, drawn.input_ids[rows, positions], labels[rows, positions]))
    columns = zip(*parts, strict=True) if parts else [[np.empty(0)]] * len(FIELDS)
    return FrozenMasks(*(np.concatenate(column).astype(np.int32) for column in columns))
