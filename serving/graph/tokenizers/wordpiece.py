"""WordPiece in the graph (BERT, DistilBERT, ELECTRA, MobileBERT, MPNet).

Longest match first from the left, in linear time: Song et al., "Fast WordPiece Tokenization" (2021).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers.bert_words import BertWords
from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.segments import segment_ids
from serving.graph.tokenizers.tables import hash_table

# The op counts a word's bytes and the fast tokenizer its characters, which is done here.
_NO_LIMIT = np.iinfo(np.int32).max


class WordPiece(tf.Module):
    """Turns pieces of text into token ids.

    Args:
        model: `model` of a `tokenizer.json`, of type WordPiece.
        added: Token id by added token.
        words: The normalizer and pre-tokenizer.

    Raises:
        ModelError: If the op can't take the vocabulary.
    """

    def __init__(self, model: Mapping[str, Any], added: Mapping[str, int], words: BertWords) -> None:
        super().__init__()
        import tensorflow_text

        vocabulary: dict[str, int] = model["vocab"]
        unknown, suffix = model["unk_token"], model["continuing_subword_prefix"]
        if sorted(vocabulary.values()) != list(range(len(vocabulary))):
            raise refusal("a WordPiece vocabulary whose ids have gaps")
        if unknown not in vocabulary or not suffix:
            raise refusal("a WordPiece without an unknown token or without a mark for what continues a word")
        self.words = words
        self._unknown = vocabulary[unknown]
        self._longest_word = int(model["max_input_chars_per_word"])
        try:
            self._tokenizer = tensorflow_text.FastWordpieceTokenizer(
                vocab=sorted(vocabulary, key=vocabulary.__getitem__),
                suffix_indicator=suffix,
                max_bytes_per_word=_NO_LIMIT,
                unknown_token=unknown,
                no_pretokenization=True,
            )
        except (RuntimeError, ValueError) as error:
            raise refusal(f"a WordPiece vocabulary that tensorflow-text refuses: {error}") from error
        self._added = hash_table([content.encode() for content in added], list(added.values()), -1)

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokenizes pieces.

        Args:
            pieces: (pieces,) string, valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token.

        Returns:
            Token ids (tokens,) int32, and the piece of each (tokens,) int64.
        """
        words, characters, piece_of = self.words(pieces, is_added)
        added = tf.gather(is_added, piece_of)
        too_long = ~added & (characters > self._longest_word)
        # An added token and a word that is too long become one token each; the op sees one character of theirs.
        one_token = added | too_long
        tokens = self._tokenizer.tokenize(tf.where(one_token, "a", words))
        word_of = segment_ids(tf.cast(tokens.row_splits, tf.int64))
        single = tf.where(added, tf.cast(self._added.lookup(words), tf.int32), self._unknown)
        ids = tf.where(tf.gather(one_token, word_of), tf.gather(single, word_of), tf.cast(tokens.values, tf.int32))
        return ids, tf.gather(piece_of, word_of)
