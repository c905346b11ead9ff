"""Positions that begin anew with each of the documents that are packed into a block."""

import numpy as np


def positions_within_documents(document_ids: np.ndarray, first: int) -> np.ndarray:
    """The positions of tokens in their documents.

    Args:
        document_ids: (blocks, block_size) integers, 0 for padding at the end.
        first: That of a document's first token. The one below it stands for padding.

    Returns:
        (blocks, block_size) int32.
    """
    places = np.arange(document_ids.shape[1])
    begins = np.diff(document_ids, axis=1, prepend=-1) != 0
    since = places - np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    return np.where(document_ids > 0, since + first, max(0, first - 1)).astype(np.int32)
