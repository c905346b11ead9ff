"""Compares a tokenizer in the graph with the one that it was made from."""

import random
from typing import TYPE_CHECKING

import tensorflow as tf

from serving.graph.tokenizers.refusal import refusal

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from serving.graph.tokenizers.in_graph import InGraphTokenizer

_SENTENCES = (
    "",
    " ",
    "Why is the sky blue?  It's because we'll've said\u00a0so, they'd 've (didn't).\n\n\tEnd ",
    "Die Straße nach Ōsaka, l’été à Noël, İstanbul, ﬁn; e\u0301 \u1e9b\u0323 ① ² ½ ٣ ３",
    "日本語と漢字 한국어 \u1112\u1161\u11ab हिन्दी ไทย עִבְרִית العَرَبِيَّة",
    "👩‍👩‍👧 🇫🇷 \u200b\u200d\ufeff\u00ad\x00\x07\x1f\x85\ufffd\U0010ffff",
    "supercalifragilisticexpialidocious" * 8,
    "aaaa" * 40 + " 0123456789" * 5 + "!" * 70 + " " * 70 + "\n" * 9,
)

_MOST_TOKENS = 50
_TEMPLATES = ("{}", "a  {}  b", "a \u030b{}\u030b b", "x{} {}y {}{} ({})-{}.")


def probes(special_tokens: list[str], seed: int = 0, number: int = 512) -> list[str]:
    """Texts on which tokenizers tend to differ: fixed ones, and random ones from all planes of Unicode.

    Args:
        special_tokens: Put into the texts literally, and in forms that normalization may make them of.
        seed: Of the random texts.
        number: Of the random texts.
    """
    generator = random.Random(seed)
    alphabets = [
        [*special_tokens, *special_tokens, " ", "\t", "a", "<", "[", "]", ">"],
        [chr(point) for point in range(0x20, 0x7F)],
        list("'stmdrevl STL 1!\n\u00a0"),
        [" ", "\n", "\t", "\r", "\x0b", "\x1c", "\x85", "\u00a0", "\u1680", "\u180e", "\u2028", "\u3000", "a", "."],
        [chr(point) for point in range(0x300, 0x370)] + list("aeiouAEIOU"),
        [chr(point) for point in (*range(0x80, 0x3000), *range(0xA640, 0xD7FF), *range(0xF900, 0x10000))],
        [chr(point) for point in range(0x10000, 0x20000)],
        [chr(point) for point in range(0x20000, 0x110000, 7)],
    ]
    texts = [
        *_SENTENCES,
        *(template.replace("{}", form) for form in forms_of(special_tokens) for template in _TEMPLATES),
    ]
    for _ in range(number):
        mixed = generator.random() < 0.3
        alphabet = generator.choice(alphabets)
        length = generator.randrange(24)
        texts.append(
            "".join(generator.choice(generator.choice(alphabets) if mixed else alphabet) for _ in range(length))
        )
    return texts


def forms_of(tokens: list[str]) -> list[str]:
    """Tokens, and what normalization may make tokens of: other case, fullwidth characters."""
    wide = {point: point + 0xFEE0 for point in range(0x21, 0x7F)}
    return [form for token in tokens for form in (token, token.lower(), token.upper(), token.translate(wide))]


def refuse_differences(built: "InGraphTokenizer", tokenizer: "PreTrainedTokenizerFast") -> None:
    """Compares ids, and the text that ids decode to.

    Raises:
        ModelError: With the first text on which the two differ.
    """
    texts = probes(list(tokenizer.get_added_vocab())[:_MOST_TOKENS])
    expected = tokenizer(texts, add_special_tokens=True, padding=False, truncation=False)["input_ids"]
    found = tf.function(built.encode, autograph=False)(tf.constant([text.encode() for text in texts]))
    for text, theirs, ours in zip(texts, expected, found.to_list(), strict=True):
        if theirs != ours:
            raise refusal(f"{text!r} is {theirs} to the tokenizer and {ours} to the graph")
    for skip in (True, False):
        decoded = tf.function(built.decode, autograph=False)(
            found.to_tensor(tokenizer.pad_token_id),
            tf.sequence_mask(found.row_lengths()),
            tf.fill([len(texts)], skip),
        )
        for ids, text in zip(expected, decoded.numpy(), strict=True):
            decoded_by_tokenizer = tokenizer.decode(ids, skip_special_tokens=skip)
            if decoded_by_tokenizer.encode() != text:
                raise refusal(f"{ids} is {decoded_by_tokenizer!r} to the tokenizer and {text!r} to the graph")
