"""What stands beside a SavedModel for its servers: warm-up requests, limits, batching parameters, a description."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from foundation.versions import EXAMPLE, LIMITS, WARM_UP_REQUESTS
from serving.graph import model_description

BATCHING_PARAMETERS = "batching_params.pbtxt"
LARGEST_BATCH = 64
"""`max_batch_size` of the batching parameters."""
MODEL_NAME = "fill_mask"


def write(directory: Path, facts: Mapping[str, Any], token_ids: Sequence[int]) -> None:
    """Writes them into the directory of a SavedModel.

    Args:
        directory: Holds `saved_model.pb`.
        facts: Of the export, as `components.export` reports them.
        token_ids: The example's, special tokens included.
    """
    (directory / WARM_UP_REQUESTS).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(directory / WARM_UP_REQUESTS)) as writer:
        for record in warmup_records(facts, token_ids):
            writer.write(record)
    (directory / EXAMPLE).write_bytes(facts["example"]["text"].encode())
    source = Path(__file__).with_name(BATCHING_PARAMETERS)
    (directory / BATCHING_PARAMETERS).write_bytes(source.read_bytes())
    limits = {name: facts[name] for name in ("max_sequence_length", "truncation")}
    (directory / LIMITS).write_text(json.dumps(limits), "utf-8")
    (directory / "MODEL.md").write_text(model_description.write(facts, token_ids), "utf-8")


def warmup_records(facts: Mapping[str, Any], token_ids: Sequence[int]) -> Iterator[bytes]:
    """Serialized `PredictionLog`s: every signature, with one text and with the largest batch.

    TensorFlow makes its kernels and fills its memory pools at the first call of each signature, so a server that
    replays these before it answers is as fast at the first request as later.
    """
    from tensorflow_serving.apis import prediction_log_pb2

    # TensorFlow Lite's form answers this one alone, and a server that can't answer a warm-up request doesn't serve.
    signatures = ["tokens"] if facts.get("quantize") else facts["signatures"]
    for signature in signatures:
        for rows in (1, LARGEST_BATCH):
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = MODEL_NAME
            request.model_spec.signature_name = signature
            for name, value in example_inputs(facts, signature, token_ids).items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(np.repeat(value, rows, 0)))
            yield log.SerializeToString()


def example_inputs(facts: Mapping[str, Any], signature: str, token_ids: Sequence[int]) -> dict[str, np.ndarray]:
    """A signature's inputs for the example: one row each."""
    values = {
        "text": np.array([facts["example"]["text"].encode()], object),
        "top_k": np.array([facts["top_k"]], np.int32),
        "targets": np.array([b""], object),
        "input_ids": np.array([token_ids], np.int32),
        "attention_mask": np.ones([1, len(token_ids)], np.int32),
        "language_ids": np.zeros(1, np.int32),
    }
    return {name: values[name] for name in facts["signatures"][signature]["inputs"]}
