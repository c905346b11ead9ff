"""A small real SavedModel with a signature for each thing that the protocol tells apart."""

from pathlib import Path

import tensorflow as tf


class ExampleModel(tf.Module):
    """Not a language model: arithmetic and string operations of many types."""

    def __init__(self, offset: float = 2.0) -> None:
        super().__init__()
        self.offset = tf.Variable(offset)

    @tf.function
    def half_plus_offset(self, x):
        return {"y": x * 0.5 + self.offset}

    @tf.function
    def three(self, a, i, s):
        return {"doubled": a * 2, "next": i + 1, "upper": tf.strings.upper(s)}

    @tf.function
    def raw(self, s):
        return {"raw_bytes": s}

    @tf.function
    def text(self, s):
        return {"text": s}

    @tf.function
    def deeper(self, s):
        return {"s": tf.expand_dims(s, 0)}

    @tf.function
    def scores(self, ids):
        return {"scores": tf.one_hot(ids, 100)}

    @tf.function
    def scalar(self, x):
        return {"scalar": tf.reduce_sum(x)}

    @tf.function
    def uneven(self, x):
        return {"a": tf.concat([x, x], 0), "b": x}

    @tf.function
    def matmul(self, x):
        return {"y": tf.matmul(x, tf.ones((3, 1)))}

    @tf.function
    def to_half(self, x):
        return {"y": tf.cast(x, tf.float16)}

    @tf.function
    def from_half(self, x):
        return {"y": tf.cast(x, tf.float32)}

    @tf.function
    def slow(self, x):
        steps = tf.while_loop(lambda n, _: n < x[0], lambda n, v: (n + 1, tf.sin(v)), (0.0, tf.ones((1000, 1000))))
        return {"y": tf.reshape(tf.reduce_sum(steps[1]), (1,))}

    @tf.function
    def noin(self):
        return {"y": tf.constant([1.0])}

    def identity(self, dtype):
        return tf.function(lambda x: {"y": x}).get_concrete_function(tf.TensorSpec([None], dtype, name="x"))


INTEGERS = (tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint32, tf.uint64)


def save(directory: Path, offset: float = 2.0) -> Path:
    """Writes the model with all its signatures."""
    model = ExampleModel(offset)
    floats = tf.TensorSpec([None], tf.float32, name="x")
    strings = tf.TensorSpec([None], tf.string, name="s")
    signatures = {
        "serving_default": model.half_plus_offset.get_concrete_function(floats),
        "three": model.three.get_concrete_function(
            tf.TensorSpec([None], tf.float32, name="a"), tf.TensorSpec([None], tf.int64, name="i"), strings
        ),
        "raw": model.raw.get_concrete_function(strings),
        "deeper": model.deeper.get_concrete_function(strings),
        "scores": model.scores.get_concrete_function(tf.TensorSpec([None, None], tf.int32, name="ids")),
        "text": model.text.get_concrete_function(strings),
        "scalar": model.scalar.get_concrete_function(floats),
        "uneven": model.uneven.get_concrete_function(floats),
        "matmul": model.matmul.get_concrete_function(tf.TensorSpec(None, tf.float32, name="x")),
        "to_half": model.to_half.get_concrete_function(floats),
        "from_half": model.from_half.get_concrete_function(tf.TensorSpec([None], tf.float16, name="x")),
        "slow": model.slow.get_concrete_function(floats),
        "noin": model.noin.get_concrete_function(),
        "bool": model.identity(tf.bool),
        "double": model.identity(tf.float64),
        **{dtype.name: model.identity(dtype) for dtype in INTEGERS},
    }
    tf.saved_model.save(model, str(directory), signatures=signatures)
    return directory


@tf.function
def classes(inputs):
    parsed = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})
    scores = tf.stack([parsed["x"], 1 - parsed["x"]], axis=1)
    return tf.broadcast_to(tf.constant([["yes", "no"]]), tf.shape(scores)), scores


def save_classifier(directory: Path) -> Path:
    """Writes a model with a classify and a regress signature, as Estimators did."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        examples = tf.compat.v1.placeholder(tf.string, [None], name="examples")
        labels, scores = classes(examples)
        signature_def = tf.compat.v1.saved_model.signature_def_utils
        builder = tf.compat.v1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "serving_default": signature_def.classification_signature_def(examples, labels, scores),
                "regress": signature_def.regression_signature_def(examples, scores[:, 0]),
            },
        )
        builder.save()
    return directory


def write_warm_up(directory: Path, signature: str, count: int, value: float | str = 1.0) -> None:
    """Writes warm-up requests into a version's directory, each with one value for the input `x`."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([value]))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    write_warm_up_records(directory, [log.SerializeToString()] * count)


def write_warm_up_records(directory: Path, records: list[bytes]) -> None:
    """Writes serialized `PredictionLog` messages into a version's directory."""
    (directory / "assets.extra").mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(directory / "assets.extra/tf_serving_warmup_requests")) as writer:
        for record in records:
            writer.write(record)
