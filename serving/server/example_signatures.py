"""The signatures that take examples, classify and regress: what they must be, and what their outputs mean."""

import numpy as np

from serving.server.signature import CLASSIFY_METHOD, REGRESS_METHOD, Signature, written
from serving.server.status import StatusError, invalid

INPUT = "inputs"
LARGE_RECORDS = 1 << 8
"""More examples than these are written in a thread."""
EXAMPLE_METHODS = {CLASSIFY_METHOD: ("classification", "Classify"), REGRESS_METHOD: ("regression", "Regress")}
"""What TensorFlow Serving calls a method in errors, and in metrics."""


def read_classes(outputs: dict[str, np.ndarray], count: int) -> tuple[list[list[bytes]], np.ndarray]:
    """The labels, empty where a signature has none, and the scores (examples, classes) float32, 0 where it has none.

    Raises:
        StatusError: INVALID_ARGUMENT if they have another shape.
    """
    classes, scores = outputs.get("classes"), outputs.get("scores")
    shape = outputs["scores" if classes is None else "classes"].shape
    if len(shape) != 2 or shape[0] != count:
        raise invalid(f"Expected output of shape [{count},classes] but got: {written(shape)}")
    labels = [[b""] * shape[1]] * shape[0] if classes is None else classes.tolist()
    return labels, np.zeros(shape, np.float32) if scores is None else scores.astype(np.float32)


def read_values(outputs: dict[str, np.ndarray], count: int) -> np.ndarray:
    """The numbers (examples,) float32.

    Raises:
        StatusError: INVALID_ARGUMENT if there aren't as many.
    """
    values = outputs["outputs"]
    if values.size != count:
        raise invalid(f"Expected output of shape [{count}] but got: {written(values.shape)}")
    return values.ravel().astype(np.float32)


def no_signature(name: str) -> StatusError:
    """The error of a classify or regress request for a signature that there isn't."""
    return invalid(f"No signature was found with the name: {name}")


def require(signature: Signature, method: str, kind: str) -> None:
    """Refuses a signature of another method, or without the one input that holds examples."""
    outputs = {"classification": {"classes", "scores"}, "regression": {"outputs"}}[kind]
    if signature.method != method or set(signature.inputs) != {INPUT} or not outputs & set(signature.outputs):
        raise invalid(
            f"No {kind} inputs found in SignatureDef: method_name {signature.method!r}, "
            f"inputs {sorted(signature.inputs)}, outputs {sorted(signature.outputs)}"
        )
