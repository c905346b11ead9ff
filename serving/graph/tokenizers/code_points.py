"""Unicode code points in the graph: text to numbers and back."""

import tensorflow as tf

NUMBER_OF_CODE_POINTS = 0x110000
SURROGATES = range(0xD800, 0xE000)


def scalar_values() -> list[int]:
    """Every code point that a text can hold: all but the surrogates."""
    return [point for point in range(NUMBER_OF_CODE_POINTS) if point not in SURROGATES]


def valid_utf8(texts: tf.Tensor) -> tf.Tensor:
    """Texts with every maximal invalid run of bytes replaced by U+FFFD, as Python's `errors="replace"` does.

    A Hugging Face tokenizer can't be given invalid UTF-8, while a string tensor may hold any bytes.

    Args:
        texts: (any shape) string.

    Returns:
        The same shape, string, valid UTF-8.
    """
    return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace", replacement_char=0xFFFD)


def decode(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The code points of texts, one after another.

    Args:
        texts: (texts,) string, valid UTF-8.

    Returns:
        Code points (characters,) int32, and row splits (texts + 1,) int64.
    """
    splits, points = tf.raw_ops.UnicodeDecode(
        input=texts,
        input_encoding="UTF-8",
        errors="replace",
        replacement_char=0xFFFD,
        replace_control_characters=False,
        Tsplits=tf.int64,
    )
    return points, splits


def encode(points: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
    """Code points (characters,) int32 cut at row splits (texts + 1,) int64, as UTF-8 strings (texts,)."""
    return tf.raw_ops.UnicodeEncode(
        input_values=points, input_splits=splits, output_encoding="UTF-8", errors="replace", replacement_char=0xFFFD
    )
