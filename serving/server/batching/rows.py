"""The rows of several requests in one batch: joined along dimension 0, padded, and split again after the graph ran."""

from collections.abc import Mapping

import numpy as np

from serving.server.batching.parameters import BatchingParameters
from serving.server.signature import Signature
from serving.server.status import StatusError, invalid

Tensors = Mapping[str, np.ndarray]


def count_rows(tensors: Tensors, most: int) -> tuple[int | None, StatusError | None]:
    """The size of dimension 0 that all tensors share, and why they can't be batched.

    Returns:
        None for the rows if there is no such size; an error if there is none or it is 0 or over `most`.
    """
    if any(tensor.ndim == 0 for tensor in tensors.values()):
        return None, invalid("Batching Run() input tensors must have at least one dimension")
    sizes = {name: tensor.shape[0] for name, tensor in tensors.items()}
    if len(set(sizes.values())) > 1:
        return None, invalid(f"Batching Run() input tensors must have equal 0th-dimension size, but have {sizes}")
    rows = next(iter(sizes.values()), 0)
    return rows, None if 0 < rows <= most else invalid(f"{rows} rows are not 1 to {most}")


def magnitude(size: int, small: int) -> int:
    """A number that is equal for sizes up to `small`, and for sizes between the same two powers of two."""
    return max(size, small).bit_length()


def has_rows(signature: Signature) -> bool:
    """Whether dimension 0 of every output is declared to be of any size, so that it may well be the batch."""
    return all(spec.shape is None or spec.shape[:1] == (-1,) for spec in signature.outputs.values())


def merge(inputs: list[dict[str, np.ndarray]], signature: Signature, parameters: BatchingParameters) -> Tensors:
    """Joins the inputs of several requests along dimension 0, padded to an allowed size with copies of the first row.

    Raises:
        StatusError: INVALID_ARGUMENT if inner shapes differ.
    """
    merged = {}
    for name, spec in signature.inputs.items():
        tensors = [one[name] for one in inputs]
        if len({tensor.shape[1:] for tensor in tensors}) > 1:
            if not parameters.pad_variable_length_inputs or len({tensor.ndim for tensor in tensors}) > 1:
                raise invalid(
                    f"Tensors with name '{spec.tensor}' from different tasks have different shapes and padding is "
                    "turned off. Set pad_variable_length_inputs to true, or ensure that all tensors with the same "
                    "name have equal dimensions starting with the first dim. The shapes are "
                    f"{', '.join(str(list(tensor.shape)) for tensor in tensors)}"
                )
            largest = np.max([tensor.shape[1:] for tensor in tensors], axis=0)
            tensors = [pad(tensor, largest) for tensor in tensors]
        rows = sum(len(tensor) for tensor in tensors)
        copies = parameters.padded_size(rows) - rows
        merged[name] = np.concatenate([*tensors, *[tensors[0][:1]] * copies])
    return merged


def pad(tensor: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """A tensor with inner dimensions made larger, filled with its first element, as TensorFlow Serving does."""
    first = tensor.flat[0] if tensor.size else np.zeros([], tensor.dtype)[()]
    padded = np.full((len(tensor), *sizes), first, tensor.dtype)
    padded[tuple(slice(size) for size in tensor.shape)] = tensor
    return padded


def split_outputs(outputs: dict[str, np.ndarray], sizes: list[int], rows: int) -> list[dict[str, np.ndarray]]:
    """Gives every request its rows of a batch's outputs.

    Args:
        outputs: Of the batch.
        sizes: The rows of every request.
        rows: Of the batch, those that pad it among them.

    Raises:
        StatusError: INVALID_ARGUMENT if an output hasn't a row for every row of the batch.
    """
    for name, output in outputs.items():
        if output.ndim == 0:
            raise invalid(f"Batched output tensor has 0 dimensions (output: {name})")
        if output.shape[0] != rows:
            raise invalid(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                f"input tensors: {output.shape[0]} and {rows} (output: {name})"
            )
    ends = np.cumsum(sizes).tolist()
    return [
        {name: output[end - size : end] for name, output in outputs.items()}
        for size, end in zip(sizes, ends, strict=True)
    ]


def join_outputs(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The outputs of a request whose rows went in several batches.

    Raises:
        StatusError: INVALID_ARGUMENT if they don't fit together.
    """
    joined = {}
    for name in parts[0]:
        outputs = [part[name] for part in parts]
        if len({output.shape[1:] for output in outputs}) > 1:
            shapes = ", ".join(str(list(output.shape)) for output in outputs)
            raise invalid(f"The parts of a split request have outputs of different shapes: {shapes} (output: {name})")
        joined[name] = np.concatenate(outputs)
    return joined
