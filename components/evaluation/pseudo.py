"""Questions for pseudo-log-likelihood: every token of some blocks masked alone.

Salazar et al. 2020, "Masked Language Model Scoring" (https://aclanthology.org/2020.acl-main.240).
"""

from collections.abc import Collection

import numpy

from components.masking.frozen_masks import FrozenMasks


def one_at_a_time(
    input_ids: numpy.ndarray, *, special_ids: Collection[int], mask_token_id: int
) -> tuple[numpy.ndarray, FrozenMasks, numpy.ndarray]:
    """A copy of the block for each of its tokens, with that one masked.

    Args:
        input_ids: (blocks, block_size) int32, the true tokens.
        special_ids: Never masked.
        mask_token_id: The mask token.

    Returns:
        The copies (tokens, block_size) int32, their masks, one a copy, and the block of each copy (tokens,).
    """
    blocks, positions = numpy.nonzero(~numpy.isin(input_ids, list(special_ids)))  # (tokens,) each
    copies = numpy.arange(len(blocks))
    fields = (copies, positions, numpy.full(len(blocks), mask_token_id), input_ids[blocks, positions])
    return input_ids[blocks], FrozenMasks(*(field.astype(numpy.int32) for field in fields)), blocks
