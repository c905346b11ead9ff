r"""The byte-level pre-tokenizer of GPT-2 and RoBERTa in the graph.

Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), cut a text into words with

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

RE2 has no look-ahead and its own edition of Unicode. So the words are found here from the class of each character and
of its neighbors, all at once, and the classes are asked of the fast tokenizer itself.
"""

import functools

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.segments import segment_ids
from serving.graph.tokenizers.tables import CodePointTable

OTHER, LETTER, NUMBER, BLANK = range(4)
_SPACE, _APOSTROPHE = 0x20, 0x27
_SHORT_CONTRACTIONS = "stmd"
_LONG_CONTRACTIONS = ("re", "ve", "ll")


@functools.cache
def character_classes() -> np.ndarray:
    """The class of every code point, as the fast tokenizers' byte-level pre-tokenizer sees it.

    Returns:
        (0x110000,) int32 of OTHER, LETTER, NUMBER and BLANK.
    """
    from tokenizers.pre_tokenizers import ByteLevel

    pre_tokenizer = ByteLevel(add_prefix_space=False)
    # Neighbors of one class stay together, so all code points in one text fall into a few thousand runs.
    points = np.array([point for point in code_points.scalar_values() if point != _SPACE])
    runs = pre_tokenizer.pre_tokenize_str("".join(map(chr, points)))
    # Beside a letter a letter stays, beside a number a number, beside another sign another sign.
    probe = "".join(f"a{chr(points[start])}1{chr(points[start])}!\n" for _, (start, _) in runs)
    begins = np.zeros(len(probe), bool)
    begins[[start for _, (start, _) in pre_tokenizer.pre_tokenize_str(probe)]] = True
    joined = ~begins.reshape(len(runs), 6)
    run_classes = np.select([joined[:, 1], joined[:, 2], joined[:, 4]], [LETTER, NUMBER, OTHER], BLANK)
    classes = np.full(code_points.NUMBER_OF_CODE_POINTS, BLANK, np.int32)
    classes[points] = np.repeat(run_classes, [end - start for _, (start, end) in runs])
    return classes


class ByteLevelWords(tf.Module):
    """Cuts pieces of text into words, blanks included.

    Args:
        add_prefix_space: Whether a piece that doesn't begin with a space gets one.
    """

    def __init__(self, add_prefix_space: bool) -> None:
        super().__init__()
        self._add_prefix_space = add_prefix_space
        self._classes = CodePointTable(character_classes())

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Cuts pieces.

        Args:
            pieces: (pieces,) string, valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token, which stays whole.

        Returns:
            Words (words,) string, and the piece of each (words,) int64.
        """
        if self._add_prefix_space:
            spaced = tf.raw_ops.StaticRegexReplace(input=pieces, pattern="^[^ ]", rewrite=" \\0", replace_global=False)
            pieces = tf.where(is_added, pieces, spaced)
        points, splits = code_points.decode(pieces)
        piece_of = segment_ids(splits)
        begins = self._begins(points, piece_of, tf.gather(is_added, piece_of))
        starts = tf.where(begins)[:, 0]
        words = code_points.encode(points, tf.concat([starts, [tf.size(points, tf.int64)]], 0))
        return words, tf.gather(piece_of, starts)

    def _begins(self, points: tf.Tensor, piece_of: tf.Tensor, is_added: tf.Tensor) -> tf.Tensor:
        """Whether a word begins at each character: (characters,) bool."""
        classes = self._classes(points)
        blank = classes == BLANK
        first = piece_of != _shifted(piece_of, 1, -1)
        last = piece_of != _shifted(piece_of, -1, -1)
        previous_class = _shifted(classes, 1, BLANK)
        previous_point = _shifted(points, 1, 0)
        previous_blank = previous_class == BLANK
        # A run of blanks is one word, but its last blank leaves it where another character follows, and goes with
        # that character where it is a space.
        next_solid = ~_shifted(blank, -1, False) & ~last
        begins = tf.where(
            blank,
            ~previous_blank | next_solid,
            tf.where(previous_blank, previous_point != _SPACE, classes != previous_class),
        )
        begins = first | begins

        # 's 't 'm 'd 're 've 'll where the apostrophe begins a word.
        apostrophe = begins & (points == _APOSTROPHE)
        second = tf.where(last, 0, _shifted(points, -1, 0))
        third = tf.where(last | _shifted(last, -1, True), 0, _shifted(points, -2, 0))
        short = apostrophe & _any_of(second, _SHORT_CONTRACTIONS)
        long = apostrophe & tf.reduce_any(
            [(second == ord(pair[0])) & (third == ord(pair[1])) for pair in _LONG_CONTRACTIONS], 0
        )
        inside = _shifted(short | long, 1, False)
        after = _shifted(short, 2, False) | _shifted(long, 3, False)
        begins = (begins & ~inside) | after
        return tf.where(is_added, first, begins)


def _shifted(values: tf.Tensor, by: int, fill: int | bool) -> tf.Tensor:
    """Moves values right (`by` > 0) or left, filling the gap: (n,) of the same type."""
    padded = tf.pad(values, [[max(by, 0), max(-by, 0)]], constant_values=fill)
    return padded[:-by] if by > 0 else padded[-by:]


def _any_of(points: tf.Tensor, characters: str) -> tf.Tensor:
    return tf.reduce_any([points == ord(character) for character in characters], 0)
