"""What a user should know of the words to choose from: those that are no single token, each with what was meant."""

import tensorflow as tf

from serving.graph.tokenizers.in_graph import InGraphTokenizer

UNKNOWN_TOKENS = ("[UNK]", "<unk>")
"""What tokenizers write where a word isn't in their vocabulary."""


class TargetWords:
    """The words to choose from, and the tokens that stand for them.

    Args:
        tokenizer: The model's.
        targets: (batch,) string, for each text its words, one a line.
    """

    def __init__(self, tokenizer: InGraphTokenizer, targets: tf.Tensor) -> None:
        indices, words, _ = tf.raw_ops.StringSplitV2(input=targets, sep="\n")
        self._tokenizer = tokenizer
        self._rows = tf.size(targets, tf.int64)
        self._words, self._row_of = words, indices[:, 0]
        self._bare = tf.strings.strip(words)
        self._blanked = tf.strings.join([" ", self._bare])
        # All forms at once: the tokenizer takes most of the graph's operations.
        tokens = tokenizer.tokenize(tf.concat([words, self._blanked, self._bare], 0))
        self._are_single = tf.reshape(tokens.row_lengths() == 1, [3, -1])  # (words, with a blank, without; words)
        self._ids = tokenizer.target_ids(words, tokens)

    def named(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The words that have a token: the row of each, and the token's id, both (named,) int64."""
        has_token = self._ids >= 0
        return tf.boolean_mask(self._row_of, has_token), tf.cast(tf.boolean_mask(self._ids, has_token), tf.int64)

    def notes(self) -> tf.Tensor:
        """A line for each word that is no single token, since another text is scored in its place.

        The client says the same of each word, for servers of older models, too: see `serving.client.target_words`.

        Returns:
            (batch,) string: lines, and an empty string where every word is one token.
        """
        words, ids = self._words, self._ids
        is_single, *are_offered = tf.unstack(self._are_single)
        first = self._tokenizer.decode(
            tf.maximum(ids, 0)[:, None], (ids >= 0)[:, None], skip_special_tokens=tf.zeros_like(ids, tf.bool)
        )
        quoted = tf.strings.join(["`", words, "`"])
        is_unknown = tf.reduce_any(first[:, None] == tf.constant(UNKNOWN_TOKENS)[None, :], 1)
        offers = [
            tf.where(
                (form != words) & is_offered & (self._bare != ""),
                tf.strings.join([" did you mean `", form, "`?"]),
                "",
            )
            for form, is_offered in zip((self._blanked, self._bare), are_offered, strict=True)
        ]
        offer = tf.where(offers[0] != "", offers[0], offers[1])
        of_several = tf.strings.join(
            [
                quoted,
                " isn't one token:",
                offer,
                tf.where(offer == "", " its", " Its"),
                " first, `",
                first,
                "`, stands for it",
            ]
        )
        of_unknown = tf.strings.join(
            [quoted, " isn't in the vocabulary: its `", first, "`, any such word, stands for it"]
        )
        note = tf.where(is_single, "", of_several)
        note = tf.where(is_unknown, of_unknown, note)
        note = tf.where(ids < 0, tf.strings.join([quoted, " has no token: it is left out"]), note)
        has_note = (note != "") & (words != "") & ~self._tokenizer.is_token(words)
        return tf.strings.unsorted_segment_join(
            tf.boolean_mask(note, has_note), tf.boolean_mask(self._row_of, has_note), self._rows, separator="\n"
        )
