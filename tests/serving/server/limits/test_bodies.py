"""The memory that request bodies share, over both protocols."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.server.limits.bodies import Bodies, TooLargeError
from serving.server.status import StatusError

SIZE, LARGEST = 100, 60


async def parts(sizes: list[int]) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b"x" * size


@given(st.lists(st.lists(st.integers(0, 50), max_size=5), max_size=8))
def test_never_more_than_there_is_and_all_comes_back(bodies: list[list[int]]) -> None:
    shared, held = Bodies(SIZE, LARGEST), [[] for _ in bodies]
    for sizes, mine in zip(bodies, held, strict=True):
        before = sum(map(sum, held))
        try:
            assert len(asyncio.run(shared.read(parts(sizes), mine))) == sum(sizes)
        except TooLargeError:
            assert sum(sizes) > LARGEST
        except StatusError:
            assert before + sum(sizes) > SIZE
        assert sum(map(sum, held)) <= SIZE
    for mine in held:
        shared.give_back(mine)
    shared.hold(SIZE, [])


@pytest.fixture
def stub(example_version: Path) -> Iterator[Any]:
    from serving.server.limits.settings import Limits
    from serving.server.models.served_models import load
    from serving.server.server import running

    model = load(example_version.parent)
    limits = Limits(body_bytes=100_000, bodies_bytes=100_000, call_seconds=10.0)
    with running([model], limits) as at, grpc.insecure_channel(at.grpc) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)
    model.close()


def test_messages_share_it_too(stub: Any) -> None:
    slow = predict_pb2.PredictRequest()
    slow.model_spec.name, slow.model_spec.signature_name = "m", "slow"
    steps = np.full(20_000, 200, np.float32)  # 80 kB; the first one counts
    slow.inputs["x"].CopyFrom(tf.make_tensor_proto(steps))
    calls = [stub.Predict.future(slow, timeout=60) for _ in range(4)]
    codes = [call.code() if call.exception() else grpc.StatusCode.OK for call in calls]
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert stub.Predict(slow, timeout=60)
