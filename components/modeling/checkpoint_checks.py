"""What is looked at before the weights of a checkpoint are taken for those of a model."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from components.modeling.architectures.records import architecture_of
from foundation.errors import ModelError

if TYPE_CHECKING:
    import tensorflow as tf
    from transformers import TFPreTrainedModel

FLOATS = (np.float16, np.float32, np.float64, ml_dtypes.bfloat16)


def in_pytorch(weight: "tf.Variable") -> tuple[str, tuple[int, ...]]:
    """The name and shape that a weight has in PyTorch, by the library's rules."""
    from transformers.modeling_tf_pytorch_utils import apply_transpose, convert_tf_weight_name_to_pt_weight_name

    name, transpose = convert_tf_weight_name_to_pt_weight_name(weight.name, tf_weight_shape=weight.shape)
    return name, apply_transpose(transpose, np.broadcast_to(0, weight.shape), pt_to_tf=False).shape


def without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without dimensions of size 1, which some architectures have in one framework alone."""
    return tuple(size for size in shape if size != 1)


def missing_weights(model: "TFPreTrainedModel", missing: Collection[str]) -> tuple[str, ...]:
    """PyTorch's names of the weights that a checkpoint lacks, but for those that no prediction depends on.

    Args:
        model: The model, loaded.
        missing: What the library calls them: names of weights, PyTorch's or TensorFlow's, or of whole layers.
    """
    record = architecture_of(model.config)
    own_prefix = f"{model.base_model_prefix}."
    parts = {f"/{name.removesuffix(':0')}/" for name in missing}
    names = []
    for weight in model.weights:
        name, _ = in_pytorch(weight)
        other_names = model.tf_to_pt_weight_rename(name) if hasattr(model, "tf_to_pt_weight_rename") else ()
        path = f"/{weight.name.removesuffix(':0')}/"
        # A base model's file has the names without the model's own.
        called = {name, name.removeprefix(own_prefix), *other_names}
        is_missing = called & set(missing) or any(part in path for part in parts)
        # Tables of sines are computed.
        if is_missing and weight.trainable and not name.startswith((*record.unused_weights, *record.optional_weights)):
            names.append(name)
    return tuple(names)


def require_body(model: "TFPreTrainedModel", missing: Sequence[str], source: str) -> None:
    """Refuses a checkpoint that lacks weights below the head: with random ones the model would be another.

    Args:
        model: The model.
        missing: PyTorch's names of what the checkpoint lacks.
        source: What messages call the checkpoint.

    Raises:
        ModelError: If so.
    """
    lacking = [name for name in missing if name.startswith(f"{model.base_model_prefix}.")]
    if lacking:
        raise ModelError(
            f"a checkpoint must hold the weights of its config.json's architecture, {model.config.model_type}",
            received=f"{source}, which lacks {len(lacking)} of {len(model.weights)} weights, such as {lacking[0]}",
            remedy="use the config.json that belongs to the weights, or copy or download the checkpoint again",
        )


def require_floats_of_the_shapes(tensors: Mapping[str, np.ndarray], model: "TFPreTrainedModel", source: str) -> None:
    """Refuses quantized weights, and those of another shape: the library casts and reshapes what it is given.

    Args:
        tensors: Arrays by PyTorch's names.
        model: The model, built.
        source: What messages call the checkpoint.

    Raises:
        ModelError: If one of the model's weights is there as anything else than floats of its shape.
    """
    for weight in model.weights:
        name, expected = in_pytorch(weight)
        # A base model's file has the names without the model's own.
        found = next(
            (tensors[n] for n in (name, name.removeprefix(f"{model.base_model_prefix}.")) if n in tensors), None
        )
        if found is not None:
            require_floats_of_shape(name, found, expected, source)


def require_floats_of_shape(name: str, found: np.ndarray, expected: tuple[int, ...], source: str) -> None:
    """Refuses quantized weights, and those of another shape.

    Args:
        name: PyTorch's name of the weight.
        found: What the checkpoint holds.
        expected: The shape that it is to have, but for dimensions of size 1.
        source: What messages call the checkpoint.

    Raises:
        ModelError: If so.
    """
    if found.dtype not in FLOATS:
        raise ModelError(
            "a checkpoint's weights must be floating-point numbers",
            received=f"{source}, whose {name} is of {found.dtype}: it is quantized",
            remedy="use the checkpoint that it was made from",
        )
    if without_ones(found.shape) != without_ones(expected):
        raise ModelError(
            "weights must have the shapes that config.json says",
            received=f"{source}, whose {name} is of {found.shape}, where {expected} is expected",
            remedy="use the config.json that belongs to the weights, or copy or download the checkpoint again",
        )


def require_numbers(model: "TFPreTrainedModel", source: str) -> None:
    """Refuses a model of which a weight is NaN or infinite: all that it answers would be, too.

    Raises:
        ModelError: If one is.
    """
    import tensorflow as tf

    for weight in model.weights:
        name, _ = in_pytorch(weight)
        if weight.dtype.is_floating and not tf.reduce_all(tf.math.is_finite(weight)):
            raise ModelError(
                "a checkpoint's weights must be finite numbers",
                received=f"{source}, whose {name} holds NaN or infinity",
                remedy="use another checkpoint, such as an earlier one of the same training",
            )


def require_readable_hdf5(files: Collection[Path]) -> None:
    """Refuses a damaged `.h5` file of weights, of which the library says that it might be another kind of file.

    Raises:
        ModelError: If one can't be opened.
    """
    import h5py

    for path in files:
        try:
            h5py.File(path, "r").close()
        except OSError as error:
            raise ModelError(
                "an .h5 file of weights must be complete and undamaged",
                received=f"{path}: {error}",
                remedy="copy or download it again",
            ) from error
