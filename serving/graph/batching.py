"""Batches the requests of many clients inside the exported graph, so that a server needs no batching of its own.

TensorFlow's BatchFunction joins the rows of calls that come while all its threads are busy, runs a function on all of
them, and hands each call its own rows back. A call whose rows are of another shape than the others' would fail all of
them, so everything about a request is checked before its rows get here, and rows have one fixed shape.
"""

import dataclasses
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.raw_ops import BatchFunction

MAX_ENQUEUED_BATCHES = 1000
"""Further calls are refused as UNAVAILABLE."""

RowFunction = Callable[..., tuple[tf.Tensor, ...]]
"""From tensors (rows, …) to others (rows, …)."""
AnswerFunction = Callable[..., Any]
"""From tensors (rows, …) to a structure of others."""


@dataclasses.dataclass(frozen=True)
class InGraphBatching:
    """How requests are batched, in TensorFlow Serving's terms.

    Attributes:
        max_batch_size: The most rows of a batch.
        num_batch_threads: Batches that run at once, of each signature. Each uses all cores by itself; a second one
            keeps a slow batch from holding up everybody.
        batch_timeout_micros: How long a batch waits for more requests while a thread is free, in µs.
    """

    max_batch_size: int = 64
    num_batch_threads: int = 2
    batch_timeout_micros: int = 0


class RowBatcher:
    """Runs a function on the rows of a request, some at a time, and each time with rows of other requests.

    A request of no rows calls nothing: BatchFunction would keep it waiting until another came.

    Args:
        name: Of what is run, such as the signature's. A batch never holds rows of two batchers.
        batching: How requests are batched.
    """

    def __init__(self, name: str, batching: InGraphBatching) -> None:
        self._batching = batching
        # Models that are loaded into one process share its batches by name.
        self._shared_name = f"{name}_{uuid.uuid4().hex}"

    def __call__(
        self,
        function: RowFunction,
        inputs: Sequence[tf.Tensor],
        answer: AnswerFunction,
        keep: AnswerFunction,
        nothing: Sequence[tf.Tensor],
        join: AnswerFunction,
    ) -> Any:
        """Runs the function.

        Args:
            function: Takes the inputs of some rows, at least one, and gives tensors (rows, …), which may be larger than
                a request's own rows need, because others need more.
            inputs: (rows, …) each, whose inner shapes are the same for all requests.
            answer: Takes what the function gives for all of this request's rows at once, and gives the request's
                answer. Most requests have no more rows than a batch and go this way, which is the shorter one.
            keep: Takes what the function gives for some of this request's rows, and gives what is kept of it, tensors
                (some, …) whose inner shapes are the same for all of its rows.
            nothing: What is kept of no rows, (0, …).
            join: Takes what is kept of all rows, one after the other, and gives the same as `answer`.

        Returns:
            The request's answer.
        """
        rows = tf.shape(inputs[0])[0]
        specs = [tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype) for tensor in inputs]
        graph = tf.function(function, autograph=False).get_concrete_function(*specs)

        def in_pieces() -> Any:
            return join(*self._in_pieces(graph, rows, inputs, keep, nothing))

        return tf.cond(
            (rows > 0) & (rows <= self._batching.max_batch_size),
            lambda: answer(*self._run(graph, inputs)),
            in_pieces,
        )

    def _in_pieces(
        self,
        graph: Any,
        rows: tf.Tensor,
        inputs: Sequence[tf.Tensor],
        keep: AnswerFunction,
        nothing: Sequence[tf.Tensor],
    ) -> tuple[tf.Tensor, ...]:
        """What is kept of any number of rows, none among them."""
        size = self._batching.max_batch_size

        def array(first: tf.Tensor) -> tf.TensorArray:
            # Strings are on the CPU: a GPU can't hold them.
            with tf.device("/CPU:0" if first.dtype == tf.string else None):
                # The first element has no rows, so that there is something to join for a request without any.
                return tf.TensorArray(first.dtype, size=1, dynamic_size=True, infer_shape=False).write(0, first)

        def body(start: tf.Tensor, arrays: tuple[tf.TensorArray, ...]) -> tuple[tf.Tensor, tuple[tf.TensorArray, ...]]:
            end = tf.minimum(start + size, rows)
            kept = keep(*self._run(graph, [tensor[start:end] for tensor in inputs]))
            return end, tuple(array.write(array.size(), part) for array, part in zip(arrays, kept, strict=True))

        arrays = tuple(array(first) for first in nothing)
        _, arrays = tf.while_loop(lambda start, _: start < rows, body, (tf.constant(0), arrays), parallel_iterations=1)
        # The arrays don't know the rank of what they hold.
        return tuple(
            tf.ensure_shape(array.concat(), [None] * first.shape.rank)
            for array, first in zip(arrays, nothing, strict=True)
        )

    def _run(self, graph: Any, inputs: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """The function's results for a few rows and whichever others come along."""
        results: list[tf.Tensor] = BatchFunction(
            in_tensors=inputs,
            captured_tensors=graph.captured_inputs,
            f=graph,
            num_batch_threads=self._batching.num_batch_threads,
            max_batch_size=self._batching.max_batch_size,
            batch_timeout_micros=self._batching.batch_timeout_micros,
            max_enqueued_batches=MAX_ENQUEUED_BATCHES,
            shared_name=self._shared_name,
            Tout=[result.dtype for result in graph.outputs],
        )
        return tuple(
            tf.ensure_shape(result, of_graph.shape) for result, of_graph in zip(results, graph.outputs, strict=True)
        )


def fit(rows: tf.Tensor, inner: tf.Tensor, nothing: Any) -> tf.Tensor:
    """Rows (rows, …) cut to an inner shape (dimensions,) int32, or padded to it."""
    dimensions = rows.shape.rank - 1
    rows = rows[(slice(None), *(slice(inner[axis]) for axis in range(dimensions)))]
    missing = inner - tf.shape(rows)[1:]
    paddings = tf.pad(tf.stack([tf.zeros_like(missing), missing], 1), [[1, 0], [0, 0]])
    return tf.pad(rows, paddings, constant_values=tf.constant(nothing, rows.dtype))
