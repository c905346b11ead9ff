"""Normalizers in the graph, against the library's own."""

import random

import numpy as np
import pytest
import tensorflow as tf

from serving.graph.tokenizers.normalization import charsmap, graphemes
from serving.graph.tokenizers.normalization.composition import forms
from serving.graph.tokenizers.normalization.normalizers import Normalizer
from tests.serving.graph.tokenizers.unigram_tokenizers import replacements


def test_a_character_map_is_read_as_it_was_written():
    written = {key: text for key, text in replacements().items() if len(key) == 1 or key[0] not in replacements()}
    assert charsmap.read(charsmap.write(written)) == written


def test_a_key_that_begins_with_another_is_never_found():
    assert charsmap.read(charsmap.write({"a": "1", "ab": "2", "b": ""})) == {"a": "1", "b": ""}


@pytest.mark.parametrize("broken", [b"", b"\x04\0\0\0", b"\x03\0\0\0abc"])
def test_a_broken_character_map(broken):
    with pytest.raises(ValueError, match="within its trie"):
        charsmap.read(broken)


@pytest.mark.slow
def test_a_character_map_is_applied_as_the_library_applies_it():
    """By grapheme clusters: texts are full of characters of each class that decides where clusters begin."""
    import base64

    from tokenizers import normalizers

    written = charsmap.write(replacements() | {"\u00a9": "(c)", "\u0937": "s", "\u1161": "A", "\u0600": ""})
    theirs = normalizers.Precompiled(written)
    ours = Normalizer({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(written).decode()})
    normalize = tf.function(ours, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    generator = random.Random(0)
    bits = graphemes.properties()
    classes = [np.flatnonzero(bits & (1 << bit)) for bit in range(13)]
    assert all(len(points) for points in classes)
    keys = list(replacements())
    some = "\r\n\u0301\u0300\u200d\u00a9\u00ae\u094d\u0915\u0937\u0958\u1100\u1161\u11a8가각\u0600Aa \0"

    def character():
        kind = generator.randrange(4)
        if kind == 0:
            return generator.choice(keys)
        if kind == 1:
            return chr(generator.choice(generator.choice(classes)))
        return generator.choice(some) if kind == 2 else chr(generator.randrange(0x3000))

    texts = ["".join(character() for _ in range(generator.randrange(12))) for _ in range(10_000)]
    found = normalize(tf.constant([text.encode() for text in texts])).numpy()
    assert [text for text, ours in zip(texts, found, strict=True) if theirs.normalize_str(text).encode() != ours] == []


def test_what_decomposition_moves_stops_at_what_is_dropped_later():
    from tokenizers import normalizers

    parts = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    ours = Normalizer({"type": "Sequence", "normalizers": [{"type": type(part).__name__} for part in parts]})
    generator = random.Random(0)
    marks = ["\U0001d16d", "\u302e", "\U00016ff0", "\u0301", "\u0323", "\u0941", "\u0e38", "\u0345", "a", "É", "⓪"]
    texts = ["".join(generator.choices(marks, k=generator.randrange(8))) for _ in range(5000)]
    theirs = normalizers.Sequence(parts)
    found = ours(tf.constant([text.encode() for text in texts])).numpy()
    assert [ours.decode() for ours in found] == [theirs.normalize_str(text) for text in texts]


@pytest.mark.parametrize("kind", ["NFC", pytest.param("NFKC", marks=pytest.mark.slow)])
def test_letters_and_marks_are_composed_as_the_library_composes_them(kind):
    """Marks of the newest editions of Unicode, syllables, and pairs of which a mark stands between."""
    from tokenizers import normalizers

    theirs, found = getattr(normalizers, kind)(), forms()
    ours = tf.function(Normalizer({"type": kind}), autograph=False)
    pairs, marks = sorted(found.composed), sorted(found.decomposed.order)
    generator = random.Random(0)
    texts = ["a\u0897\u0301", "a\u0316\u0301\u0302", "\u1100\u1161\u11a8", "\u0301a", "é", "\u212b", "\u0958", ""]
    for _ in range(5000):
        parts = [
            generator.choice([[first, second], [first, generator.choice(marks), second], [generator.choice(marks)]])
            for first, second in generator.choices(pairs, k=generator.randrange(4))
        ]
        texts.append("".join(chr(point) for part in parts for point in part))
    normal = ours(tf.constant([text.encode() for text in texts])).numpy()
    assert [text for text, ours in zip(texts, normal, strict=True) if theirs.normalize_str(text) != ours.decode()] == []


def test_a_character_that_composes_with_the_one_before_begins_no_pair():
    """So that two compositions at the same time are never about the same character."""
    composed, order = forms().composed, forms().decomposed.order
    assert {first for first, _ in composed}.isdisjoint({second for _, second in composed} - order.keys())


def test_classes_of_clusters_by_name():
    bits = graphemes.properties()
    assert all(bits[ord(character)] for character in "\u0301\u200d\n가😀")
    assert not any(bits[ord(character)] for character in "a一\U0010ffff")
