"""A whole tokenizer in the graph: text to token ids, and token ids to text."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.added_tokens import AddedTokens
from serving.graph.tokenizers.segments import segment_ids
from serving.graph.tokenizers.tables import hash_table

UNCUT = tf.int32.max
"""A token id that stands for a part of a word too long to be cut, and so for none of the vocabulary."""

# What `PreTrainedTokenizerBase.clean_up_tokenization` replaces, in its order.
_CLEAN_UP = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


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
        decoder: "Decoder",
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

    def target_ids(self, targets: tf.Tensor) -> tf.Tensor:
        """The token that stands for each word that a user wants scored, as the fill-mask pipeline picks it.

        That's the vocabulary's entry of that very name, or else the first token of the word.

        Args:
            targets: (targets,) string.

        Returns:
            (targets,) int32, -1 where a word has no token at all, or is too long to be cut into tokens.
        """
        named = tf.cast(self._vocabulary.lookup(targets), tf.int32)
        ids = self.tokenize(targets)
        first = tf.concat([ids, tf.fill([ids.nrows(), 1], -1)], 1).with_row_splits_dtype(tf.int64)
        found = tf.where(named >= 0, named, tf.gather(first.values, first.row_starts()))
        return tf.where(found == UNCUT, -1, found)


class Decoder(tf.Module):
    """Joins the texts of tokens.

    Args:
        first: The bytes of every token id where it comes first, by id; None where the tokenizer has no such token.
        rest: The same where another token stands before it.
        special_ids: The ids that `skip_special_tokens` leaves out.
        clean_up: Whether the tokenizer removes the blanks before punctuation (`clean_up_tokenization_spaces`).
    """

    def __init__(
        self, first: Sequence[bytes | None], rest: Sequence[bytes | None], special_ids: set[int], clean_up: bool
    ) -> None:
        super().__init__()
        self._first = tf.constant([text or b"" for text in first], tf.string)
        # One copy in the SavedModel where the place makes no difference, as with bytes.
        self._rest = self._first if rest == first else tf.constant([text or b"" for text in rest], tf.string)
        self._absent = tf.constant([text is None for text in first], tf.bool)
        self._special = tf.constant([token in special_ids for token in range(len(first))], tf.bool)
        self._clean_up = clean_up

    def __call__(self, ids: tf.Tensor, kept: tf.Tensor, skip_special_tokens: tf.Tensor) -> tf.Tensor:
        """Decodes sequences.

        Args:
            ids: (sequences, length) int32.
            kept: (sequences, length) bool, False for what isn't part of the sequence, such as padding.
            skip_special_tokens: (sequences,) bool.

        Returns:
            (sequences,) string, valid UTF-8.
        """
        kept = kept & ~tf.gather(self._absent, ids)
        kept = kept & ~(skip_special_tokens[:, None] & tf.gather(self._special, ids))
        is_first = kept & (tf.cumsum(tf.cast(kept, tf.int32), axis=1) == 1)
        texts = tf.where(is_first, tf.gather(self._first, ids), tf.where(kept, tf.gather(self._rest, ids), ""))
        text = code_points.valid_utf8(tf.strings.reduce_join(texts, axis=1))
        if self._clean_up:
            for blanked in _CLEAN_UP:
                text = tf.strings.regex_replace(text, blanked.replace("?", "\\?").replace(".", "\\."), blanked.strip())
        return text
