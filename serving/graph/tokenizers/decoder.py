"""Token ids back to text, in the graph."""

from collections.abc import Sequence

import tensorflow as tf

from serving.graph.tokenizers import code_points

# What `PreTrainedTokenizerBase.clean_up_tokenization` replaces, in its order.
_CLEAN_UP = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


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
