"""Cuts large requests to a language model into pieces of some rows, and joins their outputs, to save memory.

A row of token ids takes its hidden states, and a text with targets the vocabulary; a request of a few bytes may have
millions of rows, since a single value stands for all. So rows go through the graph some at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from serving.server.status import StatusError, invalid

ROWS_AT_ONCE = 64
"""As many rows as TensorFlow Serving batches with the batching parameters of an export."""
TEXT_BYTES_AT_ONCE = 1 << 22
"""The most bytes of text in a piece: tokenizing takes 75 times as much memory."""

Tensors = Mapping[str, np.ndarray]


def cut(tensors: Tensors, rank: int) -> Iterator[Tensors]:
    """The inputs of a request some rows at a time; an input with a single row has it in every piece.

    Args:
        tensors: The request's, by input.
        rank: The dimensions that all of them have.

    Raises:
        StatusError: INVALID_ARGUMENT for inputs of other shapes, and for a text that is too long for any model.
    """
    rows = max((len(tensor) for tensor in tensors.values() if tensor.ndim), default=0)
    if any(tensor.ndim != rank or len(tensor) not in (1, rows) for tensor in tensors.values()):
        raise unlike(tensors, rank)
    costs = np.zeros(rows, np.int64)
    for name, tensor in tensors.items():
        if tensor.dtype == object:
            lengths = np.fromiter(map(len, tensor.ravel().tolist()), np.int64, tensor.size)
            if lengths.size and lengths.max() > TEXT_BYTES_AT_ONCE:
                raise invalid(
                    f"A string must have at most {TEXT_BYTES_AT_ONCE} bytes, and one of {name} has {lengths.max()}"
                )
            costs = costs + lengths
    start = 0
    while start < rows:
        end = start + 1
        total = int(costs[start])
        while end < min(rows, start + ROWS_AT_ONCE) and total + costs[end] <= TEXT_BYTES_AT_ONCE:
            total += int(costs[end])
            end += 1
        yield {name: tensor if len(tensor) == 1 else tensor[start:end] for name, tensor in tensors.items()}
        start = end


def is_large(tensors: Tensors) -> bool:
    """Whether a request is to be cut."""
    return any(
        (tensor.ndim and len(tensor) > ROWS_AT_ONCE)
        or (tensor.dtype == object and sum(map(len, tensor.ravel().tolist())) * ROWS_AT_ONCE > TEXT_BYTES_AT_ONCE)
        for tensor in tensors.values()
    )


def unlike(tensors: Tensors, rank: int) -> StatusError:
    """The error of inputs that have no rows in common."""
    shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    return invalid(f"The inputs must have {rank} dimensions each, and equally many rows, or one; they are {shapes}")


def join(pieces: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The outputs of all rows, padded as the graph pads them where pieces have fewer masks or candidates."""
    if len(pieces) == 1:
        return pieces[0]
    joined = {}
    for name in pieces[0]:
        tensors = [piece[name] for piece in pieces]
        inner = tuple(np.max([tensor.shape[1:] for tensor in tensors], axis=0))
        whole = np.full((sum(map(len, tensors)), *inner), padding(tensors[0].dtype), tensors[0].dtype)
        start = 0
        for tensor in tensors:
            whole[(slice(start, start + len(tensor)), *map(slice, tensor.shape[1:]))] = tensor
            start += len(tensor)
        joined[name] = whole
    return joined


def padding(dtype: np.dtype[Any]) -> Any:
    """What stands for nothing: a score of 0, the token or position -1, an empty string."""
    return {"f": 0.0, "i": -1}.get(dtype.kind, b"")
