"""A whole tokenizer in the graph: text to token ids, and token ids to text."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.added_tokens import AddedTokens
from serving.graph.tokenizers.decoder import Decoder
from serving.graph.tokenizers.segments import segment_ids
from serving.graph.tokenizers.tables import hash_table

UNCUT = tf.int32.max
"""A token id that stands for a part of a word too long to be cut, and so for none of the vocabulary."""


class PieceTokenizer(Protocol):
    """What turns the pieces between added tokens into token ids."""

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokenizes pieces.

        Args:
            pieces: (pieces,) string, valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token, which is one token id.

        Returns:
            Token ids (tokens,) int32, and the piece of each (tokens,) int64. A word that alone has more tokens than any
            model takes may be `UNCUT`, as often as it has tokens at least.
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
        truncation_side: Which end of a text is cut off where it's too long, `right` or `left`.
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
        truncation_side: str = "right",
    ) -> None:
        super().__init__()
        self._added_tokens = added_tokens
        self._pieces = pieces
        self.decode = decoder
        self._before = tf.constant(before, tf.int32, [len(before)])
        self._after = tf.constant(after, tf.int32, [len(after)])
        self.mask_token_id = mask_token_id
        self.pad_token_id = pad_token_id
        self._keeps_end = truncation_side == "left"
        self.tokens_around = len(before) + len(after)
        self._vocabulary = hash_table([token.encode() for token in vocabulary], list(vocabulary.values()), -1)
        # One graph for all calls, which is traced and loaded once.
        tokens = tf.function(self._find_tokens, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
        # A function that is a module's attribute would be saved by itself too.
        self._tokens = lambda texts: tokens(texts)

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Token ids of texts, without the special tokens around them.

        Args:
            texts: (batch,) string. Invalid UTF-8 is read as U+FFFD.

        Returns:
            (batch, None) int32, ragged.
        """
        ids, row_of = self._tokens(texts)
        return tf.RaggedTensor.from_value_rowids(ids, row_of, nrows=tf.size(texts, tf.int64), validate=False)

    def _find_tokens(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The token ids of texts (batch,) string, (tokens,) int32, and the text of each (tokens,) int64."""
        pieces, is_added, row_of_piece = self._added_tokens(code_points.valid_utf8(texts))
        ids, piece_of = self._pieces(pieces, is_added)
        return ids, tf.gather(row_of_piece, piece_of)

    def encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Token ids of texts (batch,) string with the special tokens around them: (batch, None) int32, ragged."""
        return self.enclose(self.tokenize(texts))

    def truncate(self, ids: tf.RaggedTensor, most_tokens: int) -> tf.RaggedTensor:
        """Cuts token ids (batch, None) int32 to the most that fit into so many together with the special tokens."""
        lengths = ids.row_lengths()
        kept = tf.minimum(lengths, max(most_tokens - self.tokens_around, 0))
        row_of = segment_ids(ids.row_splits)
        place = tf.range(tf.size(ids.values, tf.int64)) - tf.gather(ids.row_starts(), row_of)
        start = lengths - kept if self._keeps_end else tf.zeros_like(kept)
        is_kept = (place >= tf.gather(start, row_of)) & (place < tf.gather(start + kept, row_of))
        return tf.RaggedTensor.from_row_lengths(tf.boolean_mask(ids.values, is_kept), kept, validate=False)

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

    def is_token(self, names: tf.Tensor) -> tf.Tensor:
        """Whether each name (names,) string is an entry of the vocabulary, as it stands: (names,) bool."""
        return self._vocabulary.lookup(names) >= 0

    def target_ids(self, targets: tf.Tensor, ids: tf.RaggedTensor | None = None) -> tf.Tensor:
        """The token that stands for each word that a user wants scored, as the fill-mask pipeline picks it.

        That's the vocabulary's entry of that very name, or else the first token of the word.

        Args:
            targets: (targets,) string.
            ids: Their tokens (targets, None) int32, which may have more rows; None to tokenize them here.

        Returns:
            (targets,) int32, -1 where a word has no token at all, or is too long to be cut into tokens.
        """
        named = tf.cast(self._vocabulary.lookup(targets), tf.int32)
        ids = self.tokenize(targets) if ids is None else ids
        lengths = ids.row_lengths()[: tf.size(targets)]
        starts = tf.where(lengths > 0, ids.row_starts()[: tf.size(targets)], -1) + 1
        first = tf.gather(tf.concat([[-1], ids.values], 0), starts)
        found = tf.where(named >= 0, named, first)
        return tf.where(found == UNCUT, -1, found)
