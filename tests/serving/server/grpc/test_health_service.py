"""gRPC's health check: the state of the server, asked once or watched."""

import asyncio
from types import SimpleNamespace

import pytest

from serving.server.grpc.health_service import CLASSES, NOT_SERVING, SERVICE_UNKNOWN, SERVING, HealthService
from serving.server.status import Code, StatusError

Request = CLASSES["HealthCheckRequest"]


def model(*serving_versions: int) -> SimpleNamespace:
    policy = SimpleNamespace(specific=None)
    return SimpleNamespace(serving_versions=list(serving_versions), config=SimpleNamespace(policy=policy))


def test_changes_are_pushed_until_the_server_stops() -> None:
    async def run() -> list[int]:
        models, stopping, seen = {"a": model(1), "b": model()}, asyncio.Event(), []
        watched = HealthService(models, stopping).watch(Request())
        seen.append((await anext(watched)).status)
        models["b"].serving_versions.append(3)
        seen.append((await anext(watched)).status)
        with pytest.raises(TimeoutError):  # nothing is sent while nothing changes
            await asyncio.wait_for(asyncio.shield(later := asyncio.ensure_future(anext(watched))), 0.5)
        stopping.set()
        seen.append((await later).status)
        with pytest.raises(StopAsyncIteration):
            await anext(watched)
        return seen

    assert asyncio.run(run()) == [NOT_SERVING, SERVING, NOT_SERVING]


def test_other_services_are_unknown() -> None:
    async def run() -> int:
        health = HealthService({"a": model(1)}, asyncio.Event())
        assert (await health.check(Request())).status == SERVING
        with pytest.raises(StatusError) as caught:
            await health.check(Request(service="x"))
        assert caught.value.code is Code.NOT_FOUND
        return int((await anext(health.watch(Request(service="x")))).status)

    assert asyncio.run(run()) == SERVICE_UNKNOWN
