"""A whole tokenizer in the graph: text to token ids, and token ids to text."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.added_tokens import AddedTokens
from serving.graph.tokenizers.decoder import Decoder
from serving.graph.tokenizers.segments import segment_ids
from serving.graph.tokenizers.tables import hash_table


class PieceTokenizer(Protocol):
    """What turns the pieces between added tokens into token ids."""

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokenizes pieces.

        Args:
            pieces: (pieces,) string, valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token, which is one token id.

        Returns:
            Token ids (tokens,) int32, and the piece of each (tokens,) int64.
        """


class InGraphTokenizer(tf.Module):
    """A tokenizer made of TensorFlow ops.

    Args:
        added_tokens: Finds the added tokens in a text.
        pieces: Tokenizes what stands between them.
        decoder: Turns ids into text.
        vocabulary: Token id by token, as the tokenizer writes its tokens.
        before: Ids that begin every sequence, such as `<s>`.
        after: Ids that end every sequence, such as `</s>`.
        mask_token_id: The id of the mask.
        pad_token_id: The id of padding.
    """

    def __init__(
        self,
        *,
        added_tokens: AddedTokens,
        pieces: PieceTokenizer,
        decoder: Decoder,
        vocabulary: Mapping[str, int],
        before: Sequence[int],
        after: Sequence[int],
        mask_token_id: int,
        pad_token_id: int,
    ) -> None:
        super().__init__()
        self._added_tokens = added_tokens
        self._pieces = pieces
        self.decode = decoder
        self._before = tf.constant(before, tf.int32, [len(before)])
        self._after = tf.constant(after, tf.int32, [len(after)])
        self.mask_token_id = mask_token_id
        self.pad_token_id = pad_token_id
        self._vocabulary = hash_table([token.encode() for token in vocabulary], list(vocabulary.values()), -1)

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Token ids of texts, without the special tokens around them.

        Args:
            texts: (batch,) string. Invalid UTF-8 is read as U+FFFD.

        Returns:
            (batch, None) int32, ragged.
        """
        pieces, is_added, row_of_piece = self._added_tokens(code_points.valid_utf8(texts))
        ids, piece_of = self._pieces(pieces, is_added)
        return tf.RaggedTensor.from_value_rowids(
            ids, tf.gather(row_of_piece, piece_of), nrows=tf.size(texts, tf.int64), validate=False
        )

    def encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Token ids of texts (batch,) string with the special tokens around them: (batch, None) int32, ragged."""
        return self.enclose(self.tokenize(texts))

    def enclose(self, ids: tf.RaggedTensor) -> tf.RaggedTensor:
        """Puts the special tokens around token ids (batch, None) int32."""
        before, after = self._before.shape[0], self._after.shape[0]
        lengths = ids.row_lengths() + before + after
        ends = tf.cumsum(lengths)
        row_of = segment_ids(ids.row_splits)
        # Every row before a token's own has moved it by the special tokens around that row.
        places = tf.range(tf.size(ids.values, tf.int64)) + row_of * (before + after) + before
        places_before = (ends - lengths)[:, None] + tf.range(before, dtype=tf.int64)  # (batch, before)
        places_after = (ends - after)[:, None] + tf.range(after, dtype=tf.int64)  # (batch, after)
        values = tf.concat(
            [
                ids.values,
                tf.reshape(tf.zeros_like(places_before, tf.int32) + self._before, [-1]),
                tf.reshape(tf.zeros_like(places_after, tf.int32) + self._after, [-1]),
            ],
            0,
        )
        all_places = tf.concat([places, tf.reshape(places_before, [-1]), tf.reshape(places_after, [-1])], 0)
        enclosed = tf.scatter_nd(all_places[:, None], values, tf.shape(values, tf.int64))
        return tf.RaggedTensor.from_row_lengths(enclosed, lengths, validate=False)

    def target_ids(self, targets: tf.Tensor) -> tf.Tensor:
        """The token that stands for each word that a user wants scored, as the fill-mask pipeline picks it.

        That's the vocabulary's entry of that very name, or else the first token of the word.

        Args:
            targets: (targets,) string.

        Returns:
            (targets,) int32, -1 where a word has no token at all.
        """
        named = tf.cast(self._vocabulary.lookup(targets), tf.int32)
        ids = self.tokenize(targets)
        first = tf.concat([ids, tf.fill([ids.nrows(), 1], -1)], 1).with_row_splits_dtype(tf.int64)
        return tf.where(named >= 0, named, tf.gather(first.values, first.row_starts()))
