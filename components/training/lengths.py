"""How long the batches of padded blocks have to be: a batch of short documents doesn't pay for the block size."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset

EIGHTHS = (1, 2, 4, 6, 8)
"""The lengths that batches have, in eighths of the block size. They are few, because XLA compiles a step for each."""
STEPS_A_GROUP = 50
"""Steps whose blocks are sorted together, as transformers' LengthGroupedSampler takes 50 batches."""
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


def grouped_by_length(
    numbers: np.ndarray, lengths: np.ndarray, blocks_a_step: int, random: np.random.Generator
) -> np.ndarray:
    """The order of an epoch with blocks of like lengths in one step.

    The blocks of some steps at a time are sorted by length and divided anew among these, so that a step's blocks are
    random among those of their length. Then the epoch's steps are shuffled, so that long and short ones alternate, and
    the blocks of each: where the batch size warms up, a step takes the first of them.

    Args:
        numbers: (blocks,) int32, in an order of chance; they fill the epoch's steps.
        lengths: Tokens of each block, by its number.
        blocks_a_step: Blocks that a step learns from.
        random: Where the chance comes from.

    Returns:
        The same numbers (blocks,) int32.
    """
    at_once = STEPS_A_GROUP * blocks_a_step
    groups = [numbers[start : start + at_once] for start in range(0, len(numbers), at_once)]
    ordered = np.concatenate([group[np.argsort(lengths[group], kind="stable")] for group in groups])
    steps = ordered.reshape(-1, blocks_a_step)  # (steps, blocks)
    return random.permuted(random.permutation(steps), axis=1).reshape(-1)
