"""What a SavedModel takes and gives, by name: the part of its signatures that the protocol needs."""

import dataclasses
from collections.abc import Mapping

DEFAULT_SIGNATURE = "serving_default"
INIT_OP_SIGNATURE = "__saved_model_init_op"
PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        dtype: TensorFlow Serving's name for it: `float`, `double`, `half`, `int32`, `string`, `bool`, …
        tensor: The tensor's name in the graph.
        shape: Sizes, -1 for free ones; None for an unknown rank. Never checked, as TensorFlow Serving never does.
    """

    dtype: str
    tensor: str
    shape: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Signature:
    """One way to call a model.

    Attributes:
        inputs: By name, sorted.
        outputs: By name, sorted.
        method: The method name, which tells predict from classify and regress.
    """

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method: str = PREDICT_METHOD


def written(shape: tuple[int, ...]) -> str:
    """A shape as TensorFlow Serving's errors write it."""
    return f"[{','.join(map(str, shape))}]"
