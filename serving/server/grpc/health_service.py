"""gRPC's own health check (grpc.health.v1), which probes of Kubernetes and of load balancers ask."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from foundation.declared_messages import Field, declare
from serving.server.grpc.server import Methods, Streamed
from serving.server.status import Code, StatusError

MESSAGES: dict[str, list[Field]] = {
    "HealthCheckRequest": [("service", 1, "string", False)],
    "HealthCheckResponse": [("status", 1, "int32", False)],  # an enumeration, which is the same on the wire
}
CLASSES = declare("grpc_health", MESSAGES)
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
LOOK_SECONDS = 0.2
"""How often it is looked whether the state has changed for those who watch it."""


class HealthService:
    """Says whether the server answers: yes, when every model has a version that serves.

    Args:
        models: The models that are served, by name.
        stopping: Set when the server stops.
    """

    name = "grpc.health.v1.Health"

    def __init__(self, models: Mapping[str, Any], stopping: asyncio.Event) -> None:
        self.models = models
        self._stopping = stopping

    def methods(self) -> Methods:
        """Request classes and methods, by the methods' names."""
        kind = CLASSES["HealthCheckRequest"]
        return {"Check": (kind, self.check), "Watch": (kind, Streamed(self.watch))}

    async def check(self, request: Any) -> Any:
        """The state of the whole server, which has the empty name.

        Raises:
            StatusError: NOT_FOUND for any other service.
        """
        status = self.status(request.service)
        if status == SERVICE_UNKNOWN:
            raise StatusError(Code.NOT_FOUND, f"unknown service: {request.service}")
        return CLASSES["HealthCheckResponse"](status=status)

    async def watch(self, request: Any) -> AsyncIterator[Any]:
        """The state now, then each that it changes to, until the server stops, which then no longer serves.

        An unknown service is no error here: its state is SERVICE_UNKNOWN.
        """
        sent = None
        while True:
            if (status := self.status(request.service)) != sent:
                yield CLASSES["HealthCheckResponse"](status=status)
                sent = status
            if self._stopping.is_set():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), LOOK_SECONDS)

    def status(self, service: str) -> int:
        """The state of a service."""
        if service:
            return SERVICE_UNKNOWN
        serves = all(model.serving_versions or model.config.policy.specific == () for model in self.models.values())
        return SERVING if serves and not self._stopping.is_set() else NOT_SERVING
