"""The model of the recorded answers: identities of every type, and what else the protocol tells apart."""

import shutil
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

TYPES = (
    *(tf.float32, tf.float64, tf.float16, tf.bfloat16),
    *(tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64),
    *(tf.bool, tf.string),
)
PAIRS = tf.TensorSpec([None, 2], tf.float32)
FLOATS = tf.TensorSpec([None], tf.float32)
EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")


class RecordedModel(tf.Module):
    """Signatures by what they try: every type, several outputs, no shape, bytes, infinities, errors, examples."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable([[1.0], [2.0]])

    def classify(self, examples):
        features = {
            "a": tf.io.FixedLenFeature([2], tf.float32),
            "n": tf.io.FixedLenFeature([1], tf.int64, default_value=[0]),
            "s": tf.io.FixedLenFeature([1], tf.string, default_value=[b"x"]),
        }
        parsed = tf.io.parse_example(examples, features)
        scores = tf.concat([parsed["a"], tf.cast(parsed["n"], tf.float32)], axis=1)
        labels = tf.tile([[b"c0", b"c1"]], [tf.shape(scores)[0], 1])
        return {"scores": scores, "classes": tf.concat([labels, parsed["s"]], axis=1)}

    def regress(self, examples):
        parsed = tf.io.parse_example(examples, {"a": tf.io.FixedLenFeature([2], tf.float32)})
        return {"outputs": tf.matmul(parsed["a"], self.weights)}


def function(python_function, **specs):
    """A concrete function with the inputs' names."""
    named = [tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in specs.items()]
    return tf.function(python_function, input_signature=named).get_concrete_function()


def check_positive(x):
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x > 0), ["negative", x])]):
        return {"y": tf.identity(x)}


def save(directory: Path) -> Path:
    """Writes versions 1 and 2, which are equal, into a directory."""
    model = RecordedModel()
    signatures = {}
    for dtype in TYPES:
        for kind, shape in (("id", [None]), ("any", None)):
            signatures[f"{kind}_{dtype.name}"] = function(
                lambda x: {"y": tf.identity(x)}, x=tf.TensorSpec(shape, dtype)
            )
    two = function(lambda a, b: {"s": a + b, "d": a - b}, a=PAIRS, b=PAIRS)
    signatures |= {
        "serving_default": two,
        "two2": two,
        "two": function(lambda a, b: {"s": a + b, "d": a - b, "c": tf.constant(7)}, a=PAIRS, b=PAIRS),
        "scalar": function(lambda a: {"y": a * 2}, a=tf.TensorSpec([], tf.float32)),
        "bytes": function(
            lambda in_bytes: {"out_bytes": in_bytes, "n": tf.strings.length(in_bytes)},
            in_bytes=tf.TensorSpec([None], tf.string),
        ),
        "special": function(lambda x: {"y": x / 0.0}, x=FLOATS),
        "slow": function(slow, x=FLOATS),
        "err": function(check_positive, x=FLOATS),
        "classify": tf.function(model.classify, input_signature=[EXAMPLES]).get_concrete_function(),
        "regress": tf.function(model.regress, input_signature=[EXAMPLES]).get_concrete_function(),
    }
    first = directory / "1"
    tf.saved_model.save(model, str(first), signatures=signatures)
    name_methods(first / "saved_model.pb")
    shutil.copytree(first, directory / "2")
    return directory


def slow(x):
    return {"y": tf.while_loop(lambda n, y: n < 200_000_000, lambda n, y: (n + 1, y + 1.0), [tf.constant(0), x])[1]}


def name_methods(path: Path) -> None:
    """Makes signatures for classify and regress of those of the same names, which Keras can't write any more."""
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for name in ("classify", "regress"):
        signature = saved.meta_graphs[0].signature_def[name]
        signature.method_name = f"tensorflow/serving/{name}"
        signature.inputs["inputs"].CopyFrom(signature.inputs["examples"])
        del signature.inputs["examples"]
    path.write_bytes(saved.SerializeToString())
