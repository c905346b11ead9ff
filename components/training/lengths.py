"""How long the batches of padded blocks have to be: a batch of short documents doesn't pay for the block size."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset

EIGHTHS = (1, 2, 4, 6, 8)
"""The lengths that batches have, in eighths of the block size. They are few, because XLA compiles a step for each."""
MULTIPLE = 8
"""Lengths are multiples of so many tokens, as tensor cores multiply them best."""


def batch_lengths(block_size: int) -> np.ndarray:
    """The lengths that a batch may have, rising, (lengths,) int32; the last one is the block size."""
    lengths = {min(block_size, -(-block_size * part // (8 * MULTIPLE)) * MULTIPLE) for part in EIGHTHS}
    return np.array(sorted(lengths), np.int32)


def lengths_of_blocks(blocks: "Dataset") -> np.ndarray:
    """How many tokens each block has, (blocks,) int32; padding, which is at the end, is none.

    Args:
        blocks: Memory-mapped; only their masks are read.
    """
    column = blocks.with_format("arrow")[:].column("attention_mask")
    counts = [
        np.count_nonzero(chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1), axis=1)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate([np.empty(0, np.int64), *counts]).astype(np.int32)


def lengths_of_batches(longest: np.ndarray, block_size: int) -> np.ndarray:
    """The lengths that batches are cut to.

    Args:
        longest: (batches,) int32, tokens of the longest block of each.
        block_size: Positions of a block.

    Returns:
        (batches,) int32, of those that `batch_lengths` allows the shortest that suffices.
    """
    allowed = batch_lengths(block_size)
    return allowed[np.searchsorted(allowed, longest)]
