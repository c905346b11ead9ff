"""A masked language model whose matrices are bfloat16, whatever its layers are.

The model is traced in float32, and then once more with other rules: a product with a matrix takes bfloat16 and gives
it, and what only moves numbers about leaves them so; all else (norms, softmax, sums, activations) is computed in
float32. Matrices are stored as bfloat16 variables, once, so that a server reads half the memory for an answer and casts
none of them. Products accumulate in float32 inside of the kernels.

A server's own `--mixed_precision` casts every variable at every request, which costs more than it gains.
"""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from serving.graph.language_model import IDS, LANGUAGE_IDS, Model, traced
from serving.graph.retrace import FORWARDED, Handle, Retracer, Use, arguments_of, uses

INPUTS = ("input_ids", "attention_mask", "language_ids")
PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "Einsum")
LOOKUPS = ("ResourceGather", "GatherV2", "Gather")
SMALLEST_TABLE = 1 << 16
"""A table of fewer numbers that is only looked up in is as quick in float32, such as that of relative positions."""
MOVES = {
    **dict.fromkeys(("Reshape", "Transpose", "ExpandDims", "Squeeze", "StridedSlice", "Slice", "SplitV", "Unpack"), 0),
    **{"GatherV2": 0, "Split": 1},
}
"""What only moves numbers about, with the input that holds them."""
OF_EACH = ("Mul", "RealDiv", "AddV2", "Neg", "Erf", "Erfc")
"""What the exact GELU is made of, which TensorFlow computes in a product's own kernel."""
DTYPE = {"GatherV2": "Tparams"}
"""What the dtype's attribute is called where that isn't `T`."""


class Bfloat16Model:
    """A model with its matrices in bfloat16, as `serving.graph.language_model.Model` says.

    Args:
        model: The model in float32, which it keeps nothing of but what isn't a matrix.

    Attributes:
        config: The model's configuration.
        languages: The model's.
        exact: The model in float32, for what rounding would hide.
        part: Which part of the numbers in the model's matrices and tables is bfloat16, from 0 to 1.
    """

    def __init__(self, model: Model) -> None:
        self.config, self.languages, self.exact = model.config, model.languages, model

        def hidden(ids: tf.Tensor, attention_mask: tf.Tensor, *language_ids: tf.Tensor) -> tf.Tensor:
            given = (ids, attention_mask, *language_ids)
            return tf.cast(model.hidden(dict(zip(INPUTS, given, strict=False))), tf.float32)

        of_ids = [(IDS, IDS), *([(IDS, IDS, LANGUAGE_IDS)] if self.languages else [])]
        functions = [traced(hidden, *specs).get_concrete_function() for specs in of_ids]
        width = functions[0].structured_outputs.shape[-1]
        states = tf.TensorSpec([None, None, width])
        functions.append(tf.function(model.head, input_signature=[states]).get_concrete_function())

        variables = list(model.weights)
        found = Matrices(functions, variables)
        self._hidden = {
            len(specs): _retraced(function, specs, variables, found)
            for specs, function in zip(of_ids, functions, strict=False)
        }
        self._head = _retraced(functions[-1], [states], variables, found)
        self._weights = found.weights
        sizes = dict.fromkeys((tf.bfloat16, tf.float32), 0)
        for weight in found.weights:
            if weight.shape.rank >= 2 and weight.dtype in sizes:
                sizes[weight.dtype] += weight.shape.num_elements()
        self.part = sizes[tf.bfloat16] / max(1, sum(sizes.values()))

    @property
    def weights(self) -> list[tf.Variable]:
        """Every variable: the matrices, and what else is read."""
        return list(self._weights)

    def hidden(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """What the head is given, (batch, sequence, hidden) float32: see `Model.hidden`."""
        given = [inputs[name] for name in INPUTS if name in inputs]
        return self._hidden[len(given)](*given)

    def head(self, hidden: tf.Tensor) -> tf.Tensor:
        """The scores of hidden states, (batch, positions, vocabulary) float32."""
        return tf.cast(self._head(hidden), tf.float32)

    def logits(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The scores at every position, (batch, sequence, vocabulary) float32."""
        return self.head(self.hidden(inputs))

    def logits_at(self, inputs: Mapping[str, tf.Tensor], positions: tf.Tensor) -> tf.Tensor:
        """The scores at positions (batch, predictions) int32: (batch, predictions, vocabulary) float32."""
        return self.head(tf.gather(self.hidden(inputs), positions, batch_dims=1))


class Matrix:
    """A variable of a model, as bfloat16.

    Attributes:
        variable: The bfloat16 one.
        transposed: Whether its two dimensions are the other way round, as a product with few rows is quickest with.
    """

    def __init__(self, original: tf.Variable, transposed: bool) -> None:
        self.transposed = transposed
        value = tf.cast(original, tf.bfloat16)
        name = original.name.partition(":")[0]
        self.variable = tf.Variable(tf.transpose(value) if transposed else value, trainable=False, name=name)


class Matrices:
    """The variables of functions that are stored as bfloat16.

    Args:
        functions: Concrete functions.
        variables: Those that they may read.

    Attributes:
        weights: What they read then: the matrices, and the variables that stay.
    """

    def __init__(self, functions: Sequence[Any], variables: Sequence[tf.Variable]) -> None:
        found: dict[int, list[Use]] = collections.defaultdict(list)
        for function in functions:
            own = list(function.graph.inputs)[: len(function.graph.inputs) - len(function.graph.captures)]
            for variable, use in uses(function.graph, arguments_of(function, variables, *own)):
                found[id(variable)].append(use)
        self._of: dict[int, Matrix] = {}
        self.weights: list[tf.Variable] = []
        with tf.init_scope():
            for variable in variables:
                its_uses = found.get(id(variable), [])
                if _is_matrix(variable, its_uses):
                    matrix = Matrix(variable, all(_is_plain_product(use) for use in its_uses))
                    self._of[id(variable)] = matrix
                    self.weights.append(matrix.variable)
                elif its_uses:
                    self.weights.append(variable)

    def of(self, variable: tf.Variable) -> Matrix | None:
        """The matrix that a variable is stored as; None for one that stays."""
        return self._of.get(id(variable))


def _is_matrix(variable: tf.Variable, its_uses: Sequence[Use]) -> bool:
    if variable.dtype != tf.float32 or variable.shape.rank < 2:
        return False
    if any(not _is_read(use) for use in its_uses):
        return False
    if any(_is_product(use) for use in its_uses):
        return True
    is_table = any(use.operation.type in LOOKUPS and use.port == 0 for use in its_uses)
    return is_table and variable.shape.num_elements() >= SMALLEST_TABLE


def _is_read(use: Use) -> bool:
    """Whether a use takes a variable's numbers, and no handle whose further way isn't known."""
    operation = use.operation
    return operation.inputs[use.port].dtype != tf.resource or operation.type == "ResourceGather"


def _is_product(use: Use) -> bool:
    """Whether a use multiplies with the matrix, maybe after it was moved."""
    if use.operation.type in PRODUCTS:
        return True
    if use.operation.type not in ("Reshape", "Transpose", "ExpandDims", "Squeeze") or use.port:
        return False
    return any(
        _is_product(Use(consumer, list(map(id, consumer.inputs)).index(id(use.operation.outputs[0]))))
        for consumer in use.operation.outputs[0].consumers()
    )


def _is_plain_product(use: Use) -> bool:
    """Whether a use is x W."""
    operation = use.operation
    return operation.type == "MatMul" and use.port == 1 and not operation.get_attr("transpose_b")


def _retraced(
    function: Any, specs: Sequence[tf.TensorSpec], variables: Sequence[tf.Variable], matrices: Matrices
) -> Any:
    def again(*inputs: tf.Tensor) -> tf.Tensor:
        [output] = InBfloat16(matrices).run(function.graph, arguments_of(function, variables, *inputs))
        return output

    return tf.function(again, input_signature=specs, autograph=False)


class InBfloat16(Retracer):
    """Traces a float32 graph again, with products in bfloat16.

    Args:
        matrices: The variables that are bfloat16.
    """

    def __init__(self, matrices: Matrices) -> None:
        super().__init__()
        self._matrices = matrices
        self._turned: set[int] = set()
        self._cast: dict[tuple[int, tf.DType, int], tf.Tensor] = {}
        # What is a product's rows in another shape, (rows, width), and that shape.
        self._rows: dict[int, tuple[tf.Tensor, tf.Tensor]] = {}

    def emit(self, operation: tf.Operation) -> Sequence[Any] | None:
        """See `Retracer.emit`."""
        kind = operation.type
        if kind in ("ReadVariableOp", "ResourceGather"):
            return self._read(operation)
        if kind in FORWARDED:
            return [self.value(operation.inputs[0])]
        if kind == "Transpose" and _stays(operation):
            return [self.value(operation.inputs[0])]
        if not any(self._is_narrow(tensor) for tensor in operation.inputs):
            return None
        if kind in OF_EACH and (shape := self._shape_of_rows(operation)) is not None:
            return [self._of_each(operation, shape)]
        if kind == "MatMul":
            return [self._matmul(operation)]
        if kind in PRODUCTS:
            return self._again(operation, operation.inputs)
        if kind == "BiasAdd":
            return [self._bias_add(operation)]
        if kind in MOVES and self._is_narrow(operation.inputs[MOVES[kind]]):
            [first, *others] = self._again(operation, [operation.inputs[MOVES[kind]]])
            if kind == "Reshape" and operation.inputs[0].shape.rank == 2:
                self._rows[id(operation.outputs[0])] = (
                    self._narrow(operation.inputs[0]),
                    self.given(operation.inputs[1]),
                )
            return [first, *others]
        return None

    def given(self, tensor: tf.Tensor) -> Any:
        """See `Retracer.given`."""
        value = super().given(tensor)
        return value if value.dtype == tensor.dtype or value.dtype != tf.bfloat16 else self._in(value, tensor.dtype)

    def _is_narrow(self, tensor: tf.Tensor) -> bool:
        value = self.value(tensor)
        return not isinstance(value, Handle) and value.dtype == tf.bfloat16 != tensor.dtype

    def _in(self, value: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """A value in a dtype, cast once in each graph."""
        if value.dtype == dtype:
            return value
        key = id(value), dtype, id(tf.compat.v1.get_default_graph())
        if key not in self._cast:
            self._cast[key] = tf.cast(value, dtype)
        return self._cast[key]

    def _narrow(self, tensor: tf.Tensor) -> tf.Tensor:
        return self._in(self.value(tensor), tf.bfloat16)

    def _read(self, operation: tf.Operation) -> Sequence[Any] | None:
        handle = self.value(operation.inputs[0])
        matrix = self._matrices.of(handle.variable) if isinstance(handle, Handle) else None
        if matrix is None:
            return None
        if operation.type == "ResourceGather":
            rows = tf.raw_ops.ResourceGather(
                resource=matrix.variable.handle,
                indices=self.given(operation.inputs[1]),
                dtype=tf.bfloat16,
                batch_dims=operation.get_attr("batch_dims"),
            )
            return [rows]
        value = tf.raw_ops.ReadVariableOp(resource=matrix.variable.handle, dtype=tf.bfloat16)
        if matrix.transposed:
            self._turned.add(id(value))
        return [value]

    def _matmul(self, operation: tf.Operation) -> tf.Tensor:
        rows, columns = operation.inputs
        value = self._narrow(columns)
        turned = id(value) in self._turned
        transpose_a, transpose_b = (operation.get_attr(f"transpose_{side}") for side in "ab")
        if rows.op.type == "Reshape" and not transpose_a:
            # The library computes the number of rows in seven operations.
            width = columns.shape[1 if transpose_b else 0]
            known = self._rows.get(id(rows.op.inputs[0]))
            if known is not None and known[0].shape[-1] == width:
                left = known[0]
            else:
                left = tf.reshape(self._narrow(rows.op.inputs[0]), [-1, width])
        else:
            left = self._narrow(rows)
        return tf.matmul(left, value, transpose_a=transpose_a, transpose_b=transpose_b or turned)

    def _bias_add(self, operation: tf.Operation) -> tf.Tensor:
        values, bias = operation.inputs
        before = values.op
        if before.type == "Reshape" and before.inputs[0].op.type == "MatMul":
            # Next to the product, TensorFlow adds it in the product's own kernel.
            sums, shape = (
                tf.nn.bias_add(self._narrow(before.inputs[0]), self._narrow(bias)),
                self.given(before.inputs[1]),
            )
            self._rows[id(operation.outputs[0])] = sums, shape
            return tf.reshape(sums, shape)
        return tf.nn.bias_add(self._narrow(values), self._narrow(bias))

    def _shape_of_rows(self, operation: tf.Operation) -> tf.Tensor | None:
        """The shape that an operation's inputs, numbers apart, are rows of; None where they are no rows of one."""
        found = [self._rows.get(id(tensor)) for tensor in operation.inputs if tensor.shape.rank != 0]
        shapes = {id(each[1]) if each else None for each in found}
        return found[0][1] if found and found[0] and len(shapes) == 1 else None

    def _of_each(self, operation: tf.Operation, shape: tf.Tensor) -> tf.Tensor:
        """An operation on each number, done on rows: next to the product it becomes a part of that one's kernel."""
        inputs = [
            self._rows[id(tensor)][0] if tensor.shape.rank != 0 else self._narrow(tensor) for tensor in operation.inputs
        ]
        graph = tf.compat.v1.get_default_graph()
        attributes = {"T": tf.compat.v1.AttrValue(type=tf.bfloat16.as_datatype_enum)}
        result = graph.create_op(
            operation.type, inputs, [tf.bfloat16], attrs=attributes, op_def=operation.op_def
        ).outputs[0]
        self._rows[id(operation.outputs[0])] = result, shape
        return tf.reshape(result, shape)

    def _again(self, operation: tf.Operation, narrowed: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """The same operation in bfloat16, with some of its inputs in it."""
        which = set(map(id, narrowed))
        inputs = [self._narrow(each) if id(each) in which else self.given(each) for each in operation.inputs]
        name = DTYPE.get(operation.type, "T")
        attributes = {key: value for key, value in operation.node_def.attr.items() if not key.startswith("_")}
        attributes[name] = tf.compat.v1.AttrValue(type=tf.bfloat16.as_datatype_enum)
        dtypes = [tf.bfloat16 if output.dtype == tf.float32 else output.dtype for output in operation.outputs]
        graph = tf.compat.v1.get_default_graph()
        return graph.create_op(operation.type, inputs, dtypes, attrs=attributes, op_def=operation.op_def).outputs


def _stays(operation: tf.Operation) -> bool:
    """Whether a transposition leaves everything where it is."""
    order = tf.get_static_value(operation.inputs[1])
    return order is not None and list(order) == list(range(len(order)))
