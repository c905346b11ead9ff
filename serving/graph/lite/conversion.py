"""Converts the model for TensorFlow Lite, its weights to eight-bit integers."""

import re
import tempfile
from pathlib import Path

import tensorflow as tf

from foundation.errors import ModelError
from foundation.quiet_tensorflow import filtered_stderr
from serving.graph.lite.functions import LiteFunctions
from serving.lite.serving_metadata import with_serving_signatures

CHATTER = re.compile(rb"WARNING: All log|[IWE]\d{4} |loc\(|<unknown>|error:|Some ops|TF Select|Details:|\s*tf\.|\s*$")
"""What the converter prints to the process' standard error, errors among it, which come as exceptions too."""
SIGNATURE = "tokens"
ALIASES = ("serving_default",)


def convert(functions: LiteFunctions, scratch: Path | None = None) -> bytes:
    """The file that TensorFlow Serving loads as `model.tflite`.

    Weights are stored as eight-bit integers with a scale for each output. Activations are rounded to eight bits just
    before each product, with a scale for each token that is taken from its own values ("dynamic range"), so that there
    are no ranges to calibrate.

    Args:
        functions: What to convert; the first of its signatures is the one that servers answer with.
        scratch: Where the model is for a moment, in float32; None for the system's directory for such files.

    Raises:
        ModelError: If the model needs an operation that TensorFlow Lite doesn't have built in.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        used = tf.Module()
        used.weights = functions.weights
        signatures = {name: function.get_concrete_function() for name, function in functions.signatures().items()}
        tf.saved_model.save(used, directory, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=list(signatures))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            with filtered_stderr(CHATTER):
                content = converter.convert()
        except Exception as error:
            raise refused(error) from error
    return with_serving_signatures(content, SIGNATURE, ALIASES)


def refused(error: Exception) -> ModelError:
    """The error of a model that can't be converted, which names the operations that are missing."""
    missing = sorted(set(re.findall(r'"tf\.(\w+)"\(', str(error))))
    return ModelError(
        "a model for TensorFlow Lite must consist of its built-in operations",
        received=", ".join(missing) or " ".join(str(error).split())[:300],
        remedy="leave out --export.quantize: the SavedModel needs no conversion",
    )
