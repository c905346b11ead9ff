"""How much a training step computes, and how much a device can."""

import functools
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from components.training.training_model import MaskedLMTraining

SECONDS = 0.3


def step_flops(
    training: "MaskedLMTraining",
    inputs: Mapping[str, tf.TensorSpec],
    blocks: int,
    block_size: int,
    predictions: int | None = None,
) -> int:
    """Floating-point operations of a training step: its products' and Fourier transforms', forward and backward.

    They are counted in the graph of the forward pass, with the head at the masked positions only, so that weights
    that several layers share, pooled sequences and convolutions count as often as they are used. The backward pass
    has two products for each one, but for frozen weights and what comes before any that is trained; none is counted
    that is computed again to save memory (Chowdhery et al. 2022, "PaLM", appendix B, where model FLOPs utilization is
    defined). A dense transformer's count is the usual
    6 x parameters x tokens + 12 x layers x tokens x block_size x hidden_size.

    Args:
        training: The model as it is trained.
        inputs: What the model takes, each (batch, ...).
        blocks: Blocks that a step learns from.
        block_size: Tokens a block.
        predictions: The most labels of a block; None for as many as any may have.
    """
    specs = {
        name: tf.TensorSpec((blocks, *(size or block_size for size in spec.shape[1:])), spec.dtype)
        for name, spec in inputs.items()
    }
    labels = tf.TensorSpec((blocks, block_size), tf.int32)
    forward = tf.function(functools.partial(training.total_loss, training=False, predictions=predictions))
    graph = forward.get_concrete_function((specs, labels)).graph
    return graph_flops(graph) + backward_flops(graph, training.trained_variables)


def graph_flops(graph: tf.Graph) -> int:
    """Floating-point operations of a graph's matrix products and convolutions of known shape.

    Those in branches aren't counted: Longformer's, for the global attention that a masked LM doesn't use.
    """
    return sum(operation_flops(operation) for operation in graph.get_operations())


def backward_flops(graph: tf.Graph, trained: Sequence[tf.Variable]) -> int:
    """Floating-point operations of the gradients of a graph's products: one product for each factor that has one.

    A factor has a gradient where it depends on a trained variable.
    """
    copies = [copy for variable in trained for copy in getattr(variable, "values", [variable])]
    handles = {id(copy.handle) for copy in copies}
    varying = {inside.op.name for outside, inside in graph.captures if id(outside) in handles}
    flops = 0
    for operation in graph.get_operations():  # each after those that it depends on
        factors = sum(tensor.op.name in varying for tensor in operation.inputs)
        if factors:
            varying.add(operation.name)
            flops += factors * operation_flops(operation)
    return flops


def operation_flops(operation: tf.Operation) -> int:
    """2 x multiplications of a product or convolution, 5 n log2(n) of a Fourier transform of n numbers, else 0."""
    if operation.type == "FFT2D":
        shape = operation.outputs[0].shape
        return round(5 * shape.num_elements() * math.log2(math.prod(shape[-2:]))) if shape.is_fully_defined() else 0
    if operation.type not in ("MatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "Conv2D", "DepthwiseConv2dNative"):
        return 0
    first, second = (tensor.shape.as_list() for tensor in operation.inputs)
    result = operation.outputs[0].shape.as_list()
    if None in (*first, *second, *result):
        return 0
    if operation.type == "Einsum":
        terms = operation.get_attr("equation").decode().split("->")[0].split(",")
        sizes = {
            letter: size
            for term, shape in zip(terms, (first, second), strict=True)
            for letter, size in zip(term, shape, strict=True)
        }
        return 2 * math.prod(sizes.values())
    if operation.type == "Conv2D":
        # Height, width, channels in (of a group), channels out.
        return 2 * math.prod(result) * math.prod(second[:3])
    if operation.type == "DepthwiseConv2dNative":
        return 2 * math.prod(result) * math.prod(second[:2])
    transposed = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
    return 2 * math.prod(result) * (first[-2] if transposed else first[-1])


def measured_peak_flops(dtype: tf.DType = tf.float32, devices: int = 1, seconds: float = SECONDS) -> float:
    """Floating-point operations a second of a large matrix product.

    The fastest of several rounds, in about `seconds`: what else the machine does in the meantime makes it less.

    Args:
        dtype: The type of the matrices' elements.
        devices: How many devices train. The rates of GPUs add up; the logical devices of a CPU share its cores.
        seconds: How long to measure.
    """
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    size, products = (8192, 8) if on_gpu else (1024, 1)
    matrix = tf.cast(tf.random.stateless_uniform((size, size), (0, 0)), dtype)
    tf.matmul(matrix, matrix)[0, 0].numpy()
    fastest = math.inf
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        for _ in range(products):
            product = tf.matmul(matrix, matrix)
        product[0, 0].numpy()  # waits for the device
        fastest = min(fastest, (time.perf_counter() - started) / products)
    return 2 * size**3 / fastest * (devices if on_gpu else 1)
