"""Attention of every token to those near it, by chunks: time and memory grow with the length, not with its square.

As Beltagy et al. 2020, "Longformer: The Long-Document Transformer" (https://arxiv.org/abs/2004.05150), compute their
window: the sequence is cut into chunks at least as long as the window, and a chunk's queries meet the keys of their own
chunk and of the nearest tokens in its two neighbors. A short sequence is one chunk.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeAlias

import tensorflow as tf

from components.modeling.encoder.attention import NEVER, Dropout, attention

SMALLEST_CHUNK = 32
"""Tokens; a product of matrices of fewer rows takes longer for each."""
SHORT = 3
"""Chunks; a sequence of so many as one chunk has no more pairs of tokens than they and their neighbors have."""
Size: TypeAlias = "int | tf.Tensor"
"""A number where it is known when the graph is made, else () int32."""
_IS_WHOLE = ContextVar("_IS_WHOLE", default=False)


@contextlib.contextmanager
def without_chunks() -> Iterator[None]:
    """A context in which graphs are made that compute every pair of tokens and mask those that are far apart.

    They need fewer kinds of operations, and no tensors of no elements, on which TensorFlow Lite ends the process. Their
    time and memory grow with the square of the length.
    """
    token = _IS_WHOLE.set(True)
    try:
        yield
    finally:
        _IS_WHOLE.reset(token)


def local_attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    document_ids: tf.Tensor,
    *,
    window: int,
    dropout: Dropout | None = None,
) -> tf.Tensor:
    """Attention to the tokens of the same document that are at most `window` away.

    A token sees at least itself. Padding is one more document: no other token sees it, and its outputs mean nothing.

    Args:
        query: (batch, heads, sequence, size), of any length, which a graph need not know.
        key: The same.
        value: The same.
        document_ids: (batch, sequence) integers from 0, 0 for padding; a mask of ones and zeros is one document.
        window: How many tokens on either side a token sees, at least 1.
        dropout: Drops weights, (batch, heads, chunks, chunk, chunk + 2 window) or, of a short sequence, (batch, heads,
            1, sequence, sequence). What depends on a key and an element's index drops the same when it is computed
            again, but not the same as of another length, or of attention to all tokens.

    Returns:
        (batch, heads, sequence, size) in the dtype of the values; the weights are computed in float32.
    """
    length = sizes(query)[2]
    if _IS_WHOLE.get():
        return attention(query, key, value, window_mask(document_ids, window), dropout=dropout)
    chunk, reach = chunk_and_reach(length, window)
    numbers = tf.expand_dims(tf.expand_dims(tf.cast(document_ids, tf.int32), 1), -1)
    own = cut(numbers + 1, chunk)  # 0 is what the sequence lacks
    others = tf.transpose(with_neighbors(own, reach), (0, 1, 2, 4, 3))  # (batch, 1, chunks, 1, chunk + 2 reach)
    distances = tf.range(chunk)[:, None] + reach - tf.range(chunk + 2 * reach)[None, :]
    mask = tf.where((own == others) & (tf.abs(distances) <= window), 0.0, NEVER)
    keys, values = (with_neighbors(cut(tensor, chunk), reach) for tensor in (key, value))
    context = attention(cut(query, chunk), keys, values, mask, dropout=dropout)  # (batch, heads, chunks, chunk, size)
    batch, heads, count, _, size = sizes(context)
    return tf.reshape(context, (batch, heads, count * chunk, size))[:, :, :length]


def window_mask(document_ids: tf.Tensor, window: int) -> tf.Tensor:
    """What is added to the scores of all pairs of tokens: (batch, 1, sequence, sequence) float32."""
    document = tf.expand_dims(tf.expand_dims(document_ids, 1), -1)  # (batch, 1, sequence, 1)
    # Each row counts its own places: TensorFlow Lite can be wrong about one row that stands for all of a batch.
    place = tf.cumsum(tf.ones_like(document), axis=2)
    is_seen = (document == swapped(document)) & (tf.abs(place - swapped(place)) <= window)
    return tf.where(is_seen, 0.0, NEVER)


def swapped(tensor: tf.Tensor) -> tf.Tensor:
    """(batch, 1, sequence, 1) as (batch, 1, 1, sequence)."""
    return tf.transpose(tensor, (0, 1, 3, 2))


def chunk_and_reach(length: Size, window: int) -> tuple[Size, Size]:
    """How long a chunk is, and how many tokens of each of its neighbors it meets: none where there is one chunk."""
    chunk = max(window, SMALLEST_CHUNK)
    is_short = length <= SHORT * chunk
    if isinstance(is_short, bool):
        return (max(length, 1), 0) if is_short else (chunk, window)
    return tf.where(is_short, tf.maximum(length, 1), chunk), tf.where(is_short, 0, window)


def cut(tensor: tf.Tensor, chunk: Size) -> tf.Tensor:
    """(batch, heads, sequence, size) to (batch, heads, chunks, chunk, size), with zeros at the end."""
    batch, heads, length, size = sizes(tensor)
    count = (length + chunk - 1) // chunk
    padded = tf.pad(tensor, ((0, 0), (0, 0), (0, count * chunk - length), (0, 0)))
    return tf.reshape(padded, (batch, heads, count, chunk, size))


def with_neighbors(tensor: tf.Tensor, reach: Size) -> tf.Tensor:
    """Chunks between the end of that before and the beginning of that after, zeros at both ends.

    Args:
        tensor: (batch, heads, chunks, chunk, size).
        reach: How many tokens of each neighbor, at most the chunk.

    Returns:
        (batch, heads, chunks, chunk + 2 reach, size).
    """
    batch, heads, count, chunk, size = sizes(tensor)
    rows = tf.reshape(tensor, (batch * heads, count, chunk * size))  # moved whole: as five dimensions it takes twice
    return tf.reshape(overlapping(rows, reach * size), (batch, heads, count, chunk + 2 * reach, size))


def overlapping(rows: tf.Tensor, reach: Size) -> tf.Tensor:
    """(batch, chunks, elements) to (batch, chunks, elements + 2 reach): each between parts of its neighbors."""
    elements = sizes(rows)[2]

    # TensorFlow's own gradient, one tensor of zeros for each slice, takes as long as the attention.
    @tf.custom_gradient
    def overlap(rows: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        before = tf.pad(rows[:, :, elements - reach :], ((0, 0), (1, 0), (0, 0)))[:, :-1]
        after = tf.pad(rows[:, :, :reach], ((0, 0), (0, 1), (0, 0)))[:, 1:]

        def backward(upstream: tf.Tensor) -> tf.Tensor:
            before, own, after = tf.split(upstream, (reach, elements, reach), axis=-1)
            before = tf.pad(before, ((0, 0), (0, 1), (elements - reach, 0)))[:, 1:]
            return own + before + tf.pad(after, ((0, 0), (1, 0), (0, elements - reach)))[:, :-1]

        return tf.concat((before, rows, after), axis=-1), backward

    return overlap(rows)


def sizes(tensor: tf.Tensor) -> list[Size]:
    """A tensor's shape."""
    unknown = tf.shape(tensor)
    return [unknown[axis] if size is None else size for axis, size in enumerate(tensor.shape)]
