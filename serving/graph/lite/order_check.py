"""Whether a file for TensorFlow Lite answers alike whatever it was asked before.

An interpreter lays out its memory anew where a request has another shape than the one before. XNNPACK in TensorFlow
2.21, which computes most of the graph, can then go on with what it had arranged for the former shape: the answers are
wrong, without an error, until a larger request comes. No model that does so may be served.
"""

from pathlib import Path

import numpy as np

from foundation.errors import ModelError
from serving.graph.lite.interpreter import LiteModel

SHAPES = ((1, 24), (3, 8), (2, 12), (1, 8), (4, 6), (1, 24), (2, 6), (1, 12), (3, 4), (6, 4))
"""Of the requests: fewer rows and more, in turn, with as many tokens as before or fewer."""
LARGEST_DIFFERENCE = 1e-5
"""Of two scores that are the same."""


def require_same_answers(path: Path, mask_token_id: int, vocabulary_size: int) -> None:
    """Asks a file several questions in turn, and each again alone.

    Args:
        path: The file.
        mask_token_id: The mask's id.
        vocabulary_size: All ids are below it.

    Raises:
        ModelError: If an answer differs.
    """
    model = LiteModel(path)
    for before, shape in zip((None, *SHAPES), SHAPES, strict=False):
        ids = np.random.default_rng(0).integers(0, vocabulary_size, shape).astype(np.int32)
        ids[:, 1] = mask_token_id
        attention_mask = np.ones_like(ids)
        attention_mask[1:, -1] = 0
        found, alone = (each.tokens(ids, attention_mask)["score"] for each in (model, LiteModel(path)))
        difference = float(np.abs(found - alone).max())
        if not difference <= LARGEST_DIFFERENCE:
            raise ModelError(
                "a model for TensorFlow Lite must answer alike whatever it was asked before",
                received=f"scores that differ by {difference:.1g} for a request of shape {shape} after {before}",
                remedy="leave out --export.quantize: XNNPACK in TensorFlow 2.21 is wrong about this architecture",
            )
