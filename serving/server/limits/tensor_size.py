"""How large a request's tensors may be, checked before anything of their shape is allocated.

A message of a few bytes can claim any shape: values that are left out repeat the last one, and a dimension of size 0
makes the others free. So the shape is checked, and every dimension counts as at least 1, because operations make
tensors of some of the dimensions without the others.
"""

import math
from collections.abc import Sequence

from serving.server.status import invalid

LARGEST_RANK = 64
"""NumPy's largest rank; TensorFlow's is 254, and no known op works on so many dimensions."""
LARGEST_STRING_RANK = 32
"""TensorFlow ends the process on an array of Python objects with more dimensions."""
LARGEST_TENSOR_BYTES = 1 << 28
STRING_BYTES = 32
"""An element of a string tensor without its characters: 24 bytes in TensorFlow, 8 in NumPy."""


def check(sizes: Sequence[int], item_bytes: int, is_string: bool = False) -> None:
    """Refuses a shape of too many dimensions or elements.

    Args:
        sizes: The shape, without negative sizes.
        item_bytes: The memory of an element.
        is_string: Whether its elements are strings.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    most = LARGEST_STRING_RANK if is_string else LARGEST_RANK
    if len(sizes) > most:
        kind = "a tensor of strings" if is_string else "a tensor"
        raise invalid(f"{kind} must have at most {most} dimensions, and this one has {len(sizes)}")
    if math.prod(max(size, 1) for size in sizes) * item_bytes > LARGEST_TENSOR_BYTES:
        raise invalid(
            f"a tensor must take at most {LARGEST_TENSOR_BYTES} bytes, and one of the shape {list(sizes)} takes more; "
            "send fewer rows in a request"
        )


def bounded_bytes(sizes: Sequence[int], strings: Sequence[bytes]) -> int:
    """An estimate of the memory of a message's tensor, capped at the largest that is allowed.

    Args:
        sizes: The shape.
        strings: Its values, if they are strings.
    """
    item_bytes = STRING_BYTES + len(strings[-1]) if strings else 8
    return min(math.prod(max(size, 1) for size in sizes) * item_bytes, LARGEST_TENSOR_BYTES)


def check_strings(sizes: Sequence[int], values: Sequence[bytes]) -> None:
    """Refuses a shape of too many dimensions or strings, whose last value is that of all that are left out.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    # The last one stands for all that are left out.
    repeated = len(values[-1]) if values and len(values) < math.prod(sizes) else 0
    check(sizes, STRING_BYTES + repeated, is_string=True)


def check_repeated(context_bytes: int, examples: int) -> None:
    """Refuses a context that would take too much memory when it is written into every example.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    if context_bytes * examples > LARGEST_TENSOR_BYTES:
        raise invalid(
            f"A context must take at most {LARGEST_TENSOR_BYTES} bytes in all examples together, and this one has "
            f"{context_bytes} bytes and goes into {examples} examples; send fewer examples in a request"
        )
