"""Compares a tokenizer in the graph with the fast tokenizer, text by text."""

import os
import random

import tensorflow as tf

MANY_SEEDS = range(100, 100 + int(os.environ.get("TOKENIZER_TEXTS", "4000")) // 2000)
"""A seed for 2,000 texts each; `TOKENIZER_TEXTS=100000` tries so many."""


class Comparison:
    """One tokenizer, in both forms, traced once.

    Args:
        tokenizer: The fast tokenizer.
        in_graph: The same one in the graph.
    """

    def __init__(self, tokenizer, in_graph):
        self.tokenizer = tokenizer
        text = tf.TensorSpec([None], tf.string)
        self.encode = tf.function(in_graph.encode, input_signature=[text], autograph=False)
        self._decode = tf.function(
            in_graph.decode,
            input_signature=[
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None, None], tf.bool),
                tf.TensorSpec([None], tf.bool),
            ],
            autograph=False,
        )

    def ids(self, texts):
        """The graph's token ids of strings or bytes, a list a text."""
        return self.encode(tf.constant([text.encode() if isinstance(text, str) else text for text in texts])).to_list()

    def differences(self, texts):
        """Texts whose ids differ: (text, the fast tokenizer's ids, the graph's ids)."""
        expected = self.tokenizer(list(texts))["input_ids"]
        found = self.ids(texts)
        return [case for case in zip(texts, expected, found, strict=True) if case[1] != case[2]]

    def decoded(self, sequences, skip_special_tokens):
        """The graph's texts of lists of ids."""
        ids = tf.ragged.constant(sequences, tf.int32, ragged_rank=1)
        kept = tf.sequence_mask(ids.row_lengths())
        return self._decode(ids.to_tensor(), kept, tf.fill([len(sequences)], skip_special_tokens)).numpy().tolist()

    def decoding_differences(self, sequences, skip_special_tokens):
        """Sequences that decode differently: (ids, the fast tokenizer's text, the graph's text)."""
        expected = [self.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens).encode() for ids in sequences]
        found = self.decoded(sequences, skip_special_tokens)
        return [case for case in zip(sequences, expected, found, strict=True) if case[1] != case[2]]


def random_texts(special_tokens, number, seed):
    """Hard texts, as the export itself tries them, but others."""
    from serving.graph.tokenizers.probes import probes

    return probes(special_tokens, seed=seed, number=number)


def random_sequences(size, number, seed, longest=12):
    """Lists of token ids below `size`."""
    generator = random.Random(seed)
    return [[generator.randrange(size) for _ in range(generator.randrange(1, longest))] for _ in range(number)]
