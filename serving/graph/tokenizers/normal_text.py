"""Tokenizers that see text only after it was made normal."""

import tensorflow as tf

from serving.graph.tokenizers.added_tokens import AddedTokens
from serving.graph.tokenizers.in_graph import PieceTokenizer
from serving.graph.tokenizers.normalizers import Normalizer


class InNormalText(tf.Module):
    """Makes pieces of text normal, finds the added tokens that are looked for in normal text, and tokenizes the rest.

    Args:
        normalizer: Makes text normal.
        added_tokens: Finds added tokens, by their normal form.
        pieces: Tokenizes what stands between them.
    """

    def __init__(self, normalizer: Normalizer, added_tokens: AddedTokens, pieces: PieceTokenizer) -> None:
        super().__init__()
        self.normalizer, self.added_tokens, self.pieces = normalizer, added_tokens, pieces

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokenizes pieces.

        Args:
            pieces: (pieces,) string, valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token found already.

        Returns:
            Token ids (tokens,) int32, and the piece of each (tokens,) int64.
        """
        normal = self.normalizer(tf.where(is_added, "", pieces))
        parts, part_is_added, piece_of_part = self.added_tokens(normal)
        was_added = tf.gather(is_added, piece_of_part)
        parts = tf.where(was_added, tf.gather(pieces, piece_of_part), parts)
        ids, part_of = self.pieces(parts, part_is_added | was_added)
        return ids, tf.gather(piece_of_part, part_of)
