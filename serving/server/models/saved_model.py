"""One version of a model in memory: its signatures, run by name."""

import functools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# tensorflow_text registers the operations of a tokenizer in the graph.
import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401
from google.protobuf import json_format
from tensorflow.core.framework import graph_pb2, types_pb2
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.server.limits import calls
from serving.server.limits.answer_size import AnswerSizes, Part
from serving.server.limits.tensor_size import LARGEST_STRING_RANK
from serving.server.limits.threads import in_thread
from serving.server.models import large_requests
from serving.server.models.loading import DEFAULT_LOADING, Loading
from serving.server.models.model_directory import read_longest, read_mask_token, read_truncation
from serving.server.signature import Signature, TensorSpec
from serving.server.status import Code, StatusError

CALLING_THREAD = -1
"""Of TensorFlow's `RunOptions`: no pool of threads, the operations of a call run in the thread that calls."""


class SavedModel:
    """A SavedModel, loaded as TensorFlow Serving loads it: a graph in a session, fed and fetched by tensor name.

    `tf.saved_model.load` would hold requests to the signatures' shapes and trace functions anew; a session does
    as the production server does, down to the errors of operations, and a call costs it microseconds.

    Args:
        directory: Holds `saved_model.pb`.
        timeout_seconds: How long a call may take.
        loading: Which of its graphs is loaded, and with how many threads it runs.

    Raises:
        StatusError: If it doesn't load.
    """

    def __init__(self, directory: Path, timeout_seconds: float = 30.0, loading: Loading = DEFAULT_LOADING) -> None:
        self.directory = directory
        self._timeout_milliseconds = max(1, int(timeout_seconds * 1000))
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=session_config(loading))
        try:
            with graph.as_default(), quiet():
                load = tf.compat.v1.saved_model.loader.load
                meta_graph = load(self._session, list(loading.tags), os.fspath(directory))
        except tf.errors.OpError as error:
            self._session.close()
            raise to_status(error) from error
        except Exception as error:  # a damaged file fails in many ways, all of them the model's fault
            self._session.close()
            raise StatusError(Code.INVALID_ARGUMENT, f"Could not load SavedModel {directory}: {error}") from error
        self._definitions = dict(meta_graph.signature_def)
        self._batches_itself = batches_itself(meta_graph.graph_def)
        self.signatures: dict[str, Signature] = {
            name: Signature(to_specs(one.inputs), to_specs(one.outputs), one.method_name)
            for name, one in self._definitions.items()
        }
        self.sizes = AnswerSizes(
            self.signatures, read_mask_token(directory), read_longest(directory), read_truncation(directory)
        )
        with graph.as_default():
            self._bounded = {
                spec.tensor: bounded(graph, spec) for one in self.signatures.values() for spec in one.outputs.values()
            }
        self._callables: dict[tuple[str, tuple[str, ...], bool], Any] = {}

    def run(
        self, signature_name: str, tensors: Mapping[str, np.ndarray], output_names: tuple[str, ...] | None = None
    ) -> dict[str, np.ndarray]:
        """Calls a signature, with some rows at a time if it's a language model's. Safe from many threads at once.

        Args:
            signature_name: One of `signatures`.
            tensors: A value for every input, of its type; strings as object arrays of bytes.
            output_names: The outputs to compute; all if None.

        Returns:
            Tensors by output name.

        Raises:
            StatusError: As the graph says.
        """
        rank = self.sizes.rank(signature_name)
        if rank is None or not large_requests.is_large(tensors):
            return self._run(signature_name, tensors, output_names)
        end = time.monotonic() + self._timeout_milliseconds / 1000
        answers = []
        for piece in large_requests.cut(tensors, rank):
            calls.check()
            if time.monotonic() > end:
                raise StatusError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
            answers.append(self._run(signature_name, piece, output_names))
        return large_requests.join(answers)

    def _run(
        self, signature_name: str, tensors: Mapping[str, np.ndarray], output_names: tuple[str, ...] | None = None
    ) -> dict[str, np.ndarray]:
        """Calls a signature with all rows."""
        signature = self.signatures[signature_name]
        wanted = tuple(signature.outputs) if output_names is None else output_names
        # Inputs of the declared ranks give outputs of the declared ranks, whose check can be saved.
        is_declared = all(
            spec.shape is not None and tensors[name].ndim == len(spec.shape) for name, spec in signature.inputs.items()
        )
        call = self._callables.get((signature_name, wanted, is_declared))
        if call is None:
            options = config_pb2.CallableOptions()
            options.feed.extend(spec.tensor for spec in signature.inputs.values())
            options.fetch.extend(self._fetched(signature.outputs[name], is_declared) for name in wanted)
            options.run_options.timeout_in_ms = self._timeout_milliseconds
            if self._batches_itself:
                # What is asked of a batch runs in the batch's thread, and the little around it in this one: to hand
                # thousands of tiny operations from thread to thread takes longer than some of them do.
                options.run_options.inter_op_thread_pool = CALLING_THREAD
        try:
            # The public Session.run compares shapes with the graph's placeholders, which the protocol doesn't.
            call = call or self._session._make_callable_from_options(options)
            self._callables[signature_name, wanted, is_declared] = call
            values, failure = call(*(tensors[name] for name in signature.inputs)), None
        except tf.errors.OpError as error:
            failure = to_status(error)
        if failure is not None:
            # Raised outside of the `except`: TensorFlow's error would keep the request's tensors alive in its frames.
            raise failure
        outputs = dict(zip(wanted, map(np.asarray, values), strict=True))
        self.sizes.note(signature_name, outputs)
        return outputs

    def _fetched(self, spec: TensorSpec, is_declared: bool) -> str:
        """The tensor to fetch for an output."""
        is_small = is_declared and spec.shape is not None and len(spec.shape) <= LARGEST_STRING_RANK
        return spec.tensor if is_small else self._bounded[spec.tensor]

    async def call(
        self,
        signature_name: str,
        tensors: Mapping[str, np.ndarray],
        output_names: tuple[str, ...] | None = None,
        expected: list[Part] | None = None,
    ) -> dict[str, np.ndarray]:
        """What `run` does, in a thread, while the event loop goes on, however large the answer is expected to be."""

        def run() -> dict[str, np.ndarray]:
            calls.check()  # it may have waited for the thread
            return self.run(signature_name, tensors, output_names)

        return await in_thread(run)

    def signature_definition_map(self) -> get_model_metadata_pb2.SignatureDefMap:
        """The signatures as the metadata request's message."""
        message = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in self._definitions.items():
            message.signature_def[name].CopyFrom(definition)
        return message

    def signature_definitions(self) -> dict[str, Any]:
        """The signatures as protobuf writes that message in JSON."""
        return self._definitions_in_json

    @functools.cached_property
    def _definitions_in_json(self) -> dict[str, Any]:
        return json_format.MessageToDict(
            self.signature_definition_map(), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )

    def close(self) -> None:
        """Frees the session. Nothing may run any more."""
        self._callables.clear()
        self._session.close()


def bounded(graph: tf.Graph, spec: TensorSpec) -> str:
    """The name of the tensor to fetch for an output.

    For strings it's one that fails on too many dimensions, with which NumPy's copy would end the process.
    """
    if spec.dtype != "string":
        return spec.tensor
    tensor = graph.get_tensor_by_name(spec.tensor)
    with tf.device("/CPU:0"):
        # Its rank is what it is at the call, not what was declared, which requests aren't held to.
        fits = tf.rank(tf.compat.v1.placeholder_with_default(tensor, None)) <= LARGEST_STRING_RANK
        rule = f"An output of strings must have at most {LARGEST_STRING_RANK} dimensions"
        with tf.control_dependencies([tf.raw_ops.Assert(condition=fits, data=[rule])]):
            return str(tf.identity(tensor).name)


def batches_itself(graph_def: graph_pb2.GraphDef) -> bool:
    """Whether operations of a graph batch requests, and then have threads of their own, in which a call can end.

    Without them, a call in the calling thread would go on after its time is over.
    """
    return any(node.op == "BatchFunction" for function in graph_def.library.function for node in function.node_def)


def session_config(loading: Loading) -> config_pb2.ConfigProto:
    """A session whose idle threads sleep: by default they spin, on cores that the server's other threads need.

    Its graphs are optimized once and not twice, which is most of what the first call of a signature takes.
    """
    config = config_pb2.ConfigProto(
        intra_op_parallelism_threads=loading.intra_op_threads, inter_op_parallelism_threads=loading.inter_op_threads
    )
    config.experimental.disable_thread_spinning = True
    config.graph_options.rewrite_options.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    return config


def to_specs(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    """`TensorInfo` messages by name, sorted."""
    specs = {}
    for name, info in sorted(infos.items()):
        shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
        specs[name] = TensorSpec(types_pb2.DataType.Name(info.dtype).removeprefix("DT_").lower(), info.name, shape)
    return specs


def to_status(error: tf.errors.OpError) -> StatusError:
    """A TensorFlow error as the protocol reports it, without Python's stack of the graph's construction."""
    message = error.message.split("\n\nOriginal stack trace")[0].split("\n\nErrors may have originated")[0]
    code = Code(error.error_code) if error.error_code in Code._value2member_map_ else Code.UNKNOWN
    return StatusError(code, message)


class quiet:
    """Silences TensorFlow's notes on its version 1 names, which are what a session is made of."""

    def __enter__(self) -> None:
        """Raises the log level."""
        self._level = tf.compat.v1.logging.get_verbosity()
        tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)

    def __exit__(self, *exception: object) -> None:
        """Puts the level back."""
        tf.compat.v1.logging.set_verbosity(self._level)
