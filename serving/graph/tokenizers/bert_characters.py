"""What BERT's normalizer and pre-tokenizer do to each character, asked of the fast tokenizer's own.

(tensorflow-text has a BERT normalizer too, with another edition of Unicode.)
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.normal_forms import NormalForms, normal_forms

WORD, BLANK, PUNCTUATION = range(3)


def characters(settings: Mapping[str, Any]) -> NormalForms:
    """What BERT's normalizer does.

    Args:
        settings: `normalizer` of a `tokenizer.json`: clean_text, handle_chinese_chars, strip_accents and lowercase.
    """
    return _characters(**{name: value for name, value in settings.items() if name != "type"})


@functools.cache
def _characters(**options: bool | None) -> NormalForms:
    from tokenizers.normalizers import BertNormalizer

    # No character decomposes into a digit: BERT's decomposition is the canonical one.
    return normal_forms(BertNormalizer(**options), separator="0")


@functools.cache
def character_classes() -> np.ndarray:
    """The class of every code point, as BERT's pre-tokenizer sees it.

    Returns:
        (0x110000,) int32 of WORD, BLANK and PUNCTUATION.
    """
    from tokenizers.pre_tokenizers import BertPreTokenizer

    pre_tokenizer = BertPreTokenizer()
    points = np.array(code_points.scalar_values())
    found = np.full(len(points), BLANK, np.int32)
    for text, (start, end) in pre_tokenizer.pre_tokenize_str("".join(map(chr, points))):
        # Punctuation stands alone; so may a character between two signs.
        alone = end - start == 1 and len(pre_tokenizer.pre_tokenize_str("a" + text)) == 2
        found[start:end] = PUNCTUATION if alone else WORD
    classes = np.full(code_points.NUMBER_OF_CODE_POINTS, BLANK, np.int32)
    classes[points] = found
    return classes
