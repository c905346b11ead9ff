"""Traces a traced function once more, operation by operation, so that some may be done otherwise.

So what a model computes with can be changed whatever its layers are and whoever wrote them: all of them end as the same
few TensorFlow operations.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
CONDITIONALS = ("If", "StatelessIf")
FORWARDED = ("Identity", "StopGradient", "Snapshot", "PreventGradient")
"""What gives its input."""
INLINED = "_XlaMustCompile"
"""The attribute of a call that isn't to be taken apart."""


class Handle(NamedTuple):
    """The handle of a variable, wherever a graph hands it on.

    Attributes:
        variable: The variable.
    """

    variable: tf.Variable


class Use(NamedTuple):
    """What reads a variable.

    Attributes:
        operation: What takes the numbers, past `Identity` and its like.
        port: Which of its inputs they are.
    """

    operation: tf.Operation
    port: int


def arguments_of(function: Any, variables: Sequence[tf.Variable], *inputs: Any) -> list[Any]:
    """What a graph's inputs stand for: those given, then what it captures, a `Handle` where that is a variable's.

    Args:
        function: A `ConcreteFunction`.
        variables: Those that it may read.
        inputs: A tensor for each of the inputs that it has itself.
    """
    known = {id(variable.handle): Handle(variable) for variable in variables}
    return [*inputs, *(known.get(id(outer), outer) for outer, _ in function.graph.captures)]


def bodies(operation: tf.Operation) -> list[Any]:
    """The graphs that an operation runs with its own inputs (a conditional's without the first)."""
    if operation.type in CONDITIONALS:
        names = [operation.get_attr(branch).name for branch in ("then_branch", "else_branch")]
    elif operation.type in CALLS and INLINED not in operation.node_def.attr:
        names = [operation.get_attr("f").name]
    else:
        return []
    return [operation.graph._get_function(name).graph for name in names]


def inner_inputs(operation: tf.Operation) -> list[tf.Tensor]:
    """The inputs of what an operation runs."""
    return list(operation.inputs)[1:] if operation.type in CONDITIONALS else list(operation.inputs)


def uses(graph: Any, arguments: Sequence[Any]) -> Iterator[tuple[tf.Variable, Use]]:
    """Every use of every variable that a graph reads, in the graphs within it too.

    Args:
        graph: A function's.
        arguments: What its inputs stand for.
    """
    handles = {id(tensor): value for tensor, value in zip(graph.inputs, arguments, strict=True)}
    for operation in graph.get_operations():
        given = [handles.get(id(tensor)) for tensor in operation.inputs]
        inside = bodies(operation)
        for body in inside:
            yield from uses(body, given[len(given) - len(inner_inputs(operation)) :])
        for port, value in enumerate(given):
            if isinstance(value, Handle) and not inside:
                if operation.type == "ReadVariableOp":
                    yield from ((value.variable, use) for use in followed(operation.outputs[0]))
                else:
                    yield value.variable, Use(operation, port)


def followed(tensor: tf.Tensor) -> Iterator[Use]:
    """What takes a tensor, past what forwards it."""
    for consumer in tensor.consumers():
        for port in (port for port, each in enumerate(consumer.inputs) if each is tensor):
            if consumer.type in FORWARDED:
                yield from followed(consumer.outputs[0])
            else:
                yield Use(consumer, port)


class Retracer:
    """Traces a graph again, in the one that is traced now. A subclass says what is done otherwise."""

    def __init__(self) -> None:
        self._values: dict[int, Any] = {}

    def run(self, graph: Any, arguments: Sequence[Any]) -> list[tf.Tensor]:
        """What a graph gives.

        Args:
            graph: A function's.
            arguments: A tensor or `Handle` for each of its inputs.
        """
        for tensor, value in zip(graph.inputs, arguments, strict=True):
            self._values[id(tensor)] = value
        emitted: dict[str, list[tf.Operation]] = collections.defaultdict(list)
        for operation in graph.get_operations():
            if operation.outputs and all(id(output) in self._values for output in operation.outputs):
                continue  # an input of the graph
            before = [each for control in operation.control_inputs for each in emitted[control.name]]
            with tf.control_dependencies(before):
                outputs = self.emit(operation)
            if outputs is None:
                with tf.control_dependencies(before):
                    copy = self._copy(operation)
                outputs = copy if isinstance(copy, list) else list(copy.outputs)
                emitted[operation.name] = [] if isinstance(copy, list) else [copy]
            for output, value in zip(operation.outputs, outputs, strict=True):
                self._values[id(output)] = value
        return [self.given(tensor) for tensor in graph.outputs]

    def emit(self, operation: tf.Operation) -> Sequence[Any] | None:
        """What takes the place of an operation's outputs; None where it stays as it is."""
        return None

    def value(self, tensor: tf.Tensor) -> Any:
        """What takes the place of a tensor: another, maybe of another dtype, or a `Handle`."""
        return self._values[id(tensor)]

    def given(self, tensor: tf.Tensor) -> Any:
        """The same, in the tensor's own dtype."""
        value = self.value(tensor)
        return value.variable.handle if isinstance(value, Handle) else value

    def _copy(self, operation: tf.Operation) -> Any:
        """An operation as it was, or a list of outputs: what it runs is traced again too."""
        inside = bodies(operation)
        if not inside:
            graph = tf.compat.v1.get_default_graph()
            for name in _functions_named(operation):
                graph._add_function_recursive(operation.graph._get_function(name))
            attributes = {name: value for name, value in operation.node_def.attr.items() if not name.startswith("_")}
            return graph.create_op(
                operation.type,
                [self.given(tensor) for tensor in operation.inputs],
                [output.dtype for output in operation.outputs],
                name=operation.name.rpartition("/")[2],
                attrs=attributes,
                op_def=operation.op_def,
            )
        arguments = [
            value if isinstance(value := self.value(tensor), Handle) else self.given(tensor)
            for tensor in inner_inputs(operation)
        ]
        if len(inside) == 1:
            return self.run(inside[0], arguments)
        then, otherwise = (_branch(self, body, arguments) for body in inside)
        # A conditional without outputs, such as an assertion's, gives one that nobody takes.
        return list(tf.cond(self.given(operation.inputs[0]), then, otherwise))[: len(operation.outputs)]


def _branch(tracer: Retracer, body: Any, arguments: list[Any]) -> Callable[[], list[tf.Tensor]]:
    return lambda: tracer.run(body, arguments) or [tf.constant(False)]


def _functions_named(operation: tf.Operation) -> list[str]:
    """The functions that an operation's attributes name."""
    attributes = operation.node_def.attr.values()
    named = [attribute.func.name for attribute in attributes if attribute.HasField("func")]
    return named + [each.name for attribute in attributes for each in attribute.list.func]
