"""Landmarks: the few means of queries and keys by which Nyström's method approximates attention."""

import dataclasses
from typing import TYPE_CHECKING

from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclasses.dataclass(frozen=True)
class Landmarks:
    """How a sequence is divided into landmarks (Xiong et al. 2021, https://arxiv.org/abs/2102.03902).

    Attributes:
        count: How many.
        segment: Tokens of which one is the mean.
    """

    count: int
    segment: int

    @property
    def length(self) -> int:
        """The one length of a sequence that they divide, in tokens; shorter ones are padded to it."""
        return self.count * self.segment


def landmarks(config: "PretrainedConfig") -> Landmarks | None:
    """What a Nyströmformer's configuration says: as many landmarks as `segment_means_seq_len` are plain attention.

    PyTorch's class takes no other length than that of all segments, which may be less than `segment_means_seq_len`.

    Raises:
        ModelError: If a landmark has no token, or the segments are longer than the table of positions.
    """
    count, length = config.num_landmarks, config.segment_means_seq_len
    if count == length:
        return None
    found = Landmarks(count, length // count if count > 0 else 0)
    if not 0 < found.length <= config.max_position_embeddings:
        raise ModelError(
            "the segments of a nystromformer must have a token each, and together no more than there are positions",
            received=f"num_landmarks {count}, segment_means_seq_len {length}, "
            f"max_position_embeddings {config.max_position_embeddings}",
            remedy="correct the three, or make the first two equal, which is plain attention",
        )
    return found
