"""gRPC's own health check (grpc.health.v1), which probes of Kubernetes and of load balancers ask."""

from collections.abc import Mapping
from typing import Any

from foundation.declared_messages import Field, declare
from serving.server.grpc.server import Methods
from serving.server.status import Code, StatusError

MESSAGES: dict[str, list[Field]] = {
    "HealthCheckRequest": [("service", 1, "string", False)],
    "HealthCheckResponse": [("status", 1, "int32", False)],  # an enumeration, which is the same on the wire
}
CLASSES = declare("grpc_health", MESSAGES)
SERVING, NOT_SERVING = 1, 2


class HealthService:
    """Says whether the server answers: yes, when every model has a version that serves.

    Args:
        models: The models that are served, by name.
    """

    name = "grpc.health.v1.Health"

    def __init__(self, models: Mapping[str, Any]) -> None:
        self.models = models

    def methods(self) -> Methods:
        """Request classes and methods, by the methods' names."""
        return {"Check": (CLASSES["HealthCheckRequest"], self.check)}

    async def check(self, request: Any) -> Any:
        """The state of the whole server, which has the empty name.

        Raises:
            StatusError: NOT_FOUND for any other service.
        """
        if request.service:
            raise StatusError(Code.NOT_FOUND, f"unknown service: {request.service}")
        serves = all(model.serving_versions or model.config.policy.specific == () for model in self.models.values())
        return CLASSES["HealthCheckResponse"](status=SERVING if serves else NOT_SERVING)
