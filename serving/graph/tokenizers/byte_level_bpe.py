"""Byte-level byte-pair encoding in the graph (RoBERTa, GPT-2, Longformer, DeBERTa, BART, ModernBERT, EuroBERT)."""

import functools
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from serving.graph.tokenizers.byte_level_words import ByteLevelWords
from serving.graph.tokenizers.merges import Merges
from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.segments import fill_in, repeat
from serving.graph.tokenizers.split_words import SplitWords
from serving.graph.tokenizers.tables import hash_table


@functools.cache
def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in of every byte, by stand-in."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + rank): byte for rank, byte in enumerate(hidden)}


def token_bytes(token: str) -> bytes:
    """The bytes that a token of a byte-level vocabulary stands for.

    A token with a character outside of the alphabet, which only an added token has, stands for its own UTF-8.
    """
    alphabet = byte_alphabet()
    try:
        return bytes(alphabet[character] for character in token)
    except KeyError:
        return token.encode()


class ByteLevelBPE(tf.Module):
    """Turns pieces of text into token ids.

    A word that is one token as it stands is looked up. The others go through the merges, all of the batch at
    once.

    Args:
        model: `model` of a `tokenizer.json`, of type BPE.
        whole_words: Token id by word, for the words of the vocabulary that the tokenizer leaves in one token.
        added: Token id by added token.
        words: The pre-tokenizer.

    Raises:
        ModelError: If the model has an option that the graph lacks.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        whole_words: Mapping[bytes, int],
        added: Mapping[str, int],
        words: ByteLevelWords | SplitWords,
    ) -> None:
        super().__init__()
        if model.get("byte_fallback"):
            raise refusal("a byte-level BPE with byte_fallback")
        vocabulary: dict[str, int] = model["vocab"]
        missing = [stand_in for stand_in in byte_alphabet() if stand_in not in vocabulary]
        if missing:
            raise refusal(f"a byte-level vocabulary without {len(missing)} of the 256 bytes")
        self.words = words
        self._merges = Merges(model)
        self._byte_ids = tf.constant(
            [vocabulary[stand_in] for stand_in, _ in sorted(byte_alphabet().items(), key=lambda item: item[1])],
            tf.int64,
        )
        self._whole = hash_table(list(whole_words), list(whole_words.values()), -1)
        self._added = hash_table([content.encode() for content in added], list(added.values()), -1)

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokenizes pieces.

        Args:
            pieces: (pieces,) string, valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token.

        Returns:
            Token ids (tokens,) int32, and the piece of each (tokens,) int64.
        """
        words, piece_of = self.words(pieces, is_added)
        # A word may be spelled as an added token that doesn't count beside letters.
        whole = tf.where(tf.gather(is_added, piece_of), self._added.lookup(words), self._whole.lookup(words))
        positions = tf.where(whole < 0)[:, 0]
        unknown = tf.gather(words, positions)
        parts = tf.cast(tf.io.decode_raw(tf.strings.reduce_join(unknown), tf.uint8), tf.int32)
        ids, word_of = self._merges(tf.gather(self._byte_ids, parts), tf.cast(tf.strings.length(unknown), tf.int64))
        tokens, lengths = fill_in(whole, tf.ones_like(whole), positions, ids, word_of)
        return tokens, repeat(piece_of, lengths)
