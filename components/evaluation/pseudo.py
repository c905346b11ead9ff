"""Questions for pseudo-log-likelihood: every token of some blocks masked alone.

Salazar et al. 2020, "Masked Language Model Scoring" (https://aclanthology.org/2020.acl-main.240).
"""

from collections.abc import Collection

import numpy as np

from components.masking.frozen_masks import FrozenMasks


def one_at_a_time(
    input_ids: np.ndarray, *, special_ids: Collection[int], mask_token_id: int
) -> tuple[np.ndarray, FrozenMasks, np.ndarray]:
    """A copy of the block for each of its tokens, with that one masked.

    Args:
        input_ids: (blocks, block_size) int32, the true tokens.
        special_ids: Never masked.
        mask_token_id: The mask token.

    Returns:
        The copies (tokens, block_size) int32, their masks, one a copy, and the block of each copy (tokens,).
    """
    blocks, positions = np.nonzero(~np.isin(input_ids, list(special_ids)))  # (tokens,) each
    copies = np.arange(len(blocks))
    fields = (copies, positions, np.full(len(blocks), mask_token_id), input_ids[blocks, positions])
    return input_ids[blocks], FrozenMasks(*(field.astype(np.int32) for field in fields)), blocks
