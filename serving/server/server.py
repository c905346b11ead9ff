"""The embedded server: TensorFlow Serving's REST and gRPC protocols, for laptops, tests and CI."""

import asyncio
import contextlib
import dataclasses
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from serving.server import metrics
from serving.server.http_server import HttpServer
from serving.server.limits.bodies import Bodies
from serving.server.limits.receptions import Receptions
from serving.server.limits.settings import DEFAULT_LIMITS, Limits
from serving.server.limits.workers import Workers
from serving.server.listener import bind
from serving.server.models.model_versions import ModelVersions
from serving.server.models.served_models import ServedModels
from serving.server.playground import Playground
from serving.server.rest.service import RestService
from serving.server.tls import Tls

if TYPE_CHECKING:
    from serving.server.grpc.server import GrpcServer, GrpcService

REQUESTS_AT_ONCE, ANSWERS_AT_ONCE = 4, 2
"""How many requests and answers of the largest size are in memory at once: more would only make each other late."""

PROBES_AT_ONCE = 2
"""How many messages that ask for the server's state are received at once."""


@dataclasses.dataclass(frozen=True)
class Access:
    """Who may ask a server, and how.

    Attributes:
        grpc_tls: The certificate of the gRPC port; None for plain connections.
        rest_tls: That of the REST port.
        grpc_socket_path: A Unix socket on which gRPC is answered too.
        grpc_health: Whether gRPC's health checks are answered.
        allowed_hosts: Names of this server beside addresses and names without a dot: see `serving.server.hosts`.
        cors: Whether pages of other sites may read the answers of REST.
    """

    grpc_tls: Tls | None = None
    rest_tls: Tls | None = None
    grpc_socket_path: str | None = None
    grpc_health: bool = False
    allowed_hosts: tuple[str, ...] = ()
    cors: bool = False


DEFAULT_ACCESS = Access()


class EmbeddedServer:
    """Models behind REST and, if asked for, gRPC, in the running event loop.

    Args:
        models: The models to serve.
        limits: What is refused.
        meter: The numbers of the metrics page.
        metrics_path: The URL path of the metrics page; None for no page.
        allow_reload_config: Whether a client may have other models served.
        access: Who may ask, and how.

    Example:
        async def serve(stop: asyncio.Event) -> None:
            server = EmbeddedServer(ServedModels([load(Path("pipeline_root/serving/fill_mask"))]))
            with bind("127.0.0.1", 8501) as listener:
                await server.start(listener, grpc_port=8500)
                await stop.wait()
                await server.stop()
    """

    def __init__(
        self,
        models: ServedModels,
        limits: Limits = DEFAULT_LIMITS,
        meter: metrics.Metrics | None = None,
        metrics_path: str | None = metrics.PATH,
        allow_reload_config: bool = False,
        access: Access = DEFAULT_ACCESS,
    ) -> None:
        self._models = models
        self._limits = limits
        self._meter = meter or metrics.Metrics()
        self._allow_reload_config = allow_reload_config
        self._workers = Workers(
            limits.threads,
            limits.pending_requests,
            REQUESTS_AT_ONCE * limits.body_bytes,
            ANSWERS_AT_ONCE * limits.response_bytes,
        )
        service = RestService(self._models, self._meter, limits.response_bytes)
        self._access = access
        self._bodies = Bodies(max(limits.bodies_bytes, limits.body_bytes), limits.body_bytes)
        self._stopping = asyncio.Event()
        self._http = HttpServer(
            service,
            self._workers,
            limits,
            Playground(models),
            metrics_path,
            access.allowed_hosts,
            access.cors,
            self._bodies,
        )
        self._grpc: GrpcServer | None = None

    async def start(
        self, listener: socket.socket | None, grpc_port: int | None = None, host: str = "127.0.0.1"
    ) -> int | None:
        """Takes requests from now on.

        Args:
            listener: Bound where REST is to be answered; None for no REST.
            grpc_port: The port on the same host for gRPC, 0 for a free one, None for none.
            host: The address for gRPC where there is no listener.

        Returns:
            The gRPC port.

        Raises:
            ServingError: If a port is taken.
        """
        self._workers.start()
        if grpc_port is not None or self._access.grpc_socket_path is not None:
            self._grpc = self._make_grpc()
            tls = self._access.grpc_tls
            host = host if listener is None else listener.getsockname()[0]
            grpc_port = await self._grpc.start(host, grpc_port, tls, self._access.grpc_socket_path)
        if listener is not None:
            rest_tls = self._access.rest_tls
            await self._http.start(listener, None if rest_tls is None else rest_tls.context())
        return grpc_port

    def _make_grpc(self) -> "GrpcServer":
        from serving.server.grpc.health_service import HealthService
        from serving.server.grpc.model_service import ModelService
        from serving.server.grpc.prediction_service import PredictionService
        from serving.server.grpc.server import GrpcServer

        limits = self._limits
        services: list[GrpcService] = [
            PredictionService(self._models, self._meter, limits.response_bytes),
            ModelService(self._models, allow_reload_config=self._allow_reload_config),
        ]
        if self._access.grpc_health:
            services.append(HealthService(self._models, self._stopping))
        # As many of the largest size as the memory for bodies holds, but two at least, so that one that comes slowly
        # doesn't stand alone in the way.
        receptions = Receptions(max(2, limits.bodies_bytes // limits.body_bytes), limits.pending_requests)
        return GrpcServer(
            services,
            self._workers,
            limits.body_bytes,
            limits.call_seconds,
            self._bodies,
            receptions,
            Receptions(PROBES_AT_ONCE, limits.connections),
            self._stopping,
            limits.grpc_connections,
        )

    async def stop(self) -> None:
        """Takes no more requests and waits for those under way."""
        stopping = [self._http.stop()]
        if self._grpc is not None:
            stopping.append(self._grpc.stop(self._limits.shutdown_seconds))
        await asyncio.gather(*stopping)
        await self._workers.stop()


@dataclasses.dataclass(frozen=True)
class Addresses:
    """The addresses at which an embedded server answers.

    Attributes:
        rest: A URL, such as `http://127.0.0.1:43210`.
        grpc: A gRPC target, such as `127.0.0.1:43211`.
    """

    rest: str
    grpc: str


@contextlib.contextmanager
def running(
    models: Sequence[ModelVersions],
    limits: Limits = DEFAULT_LIMITS,
    host: str = "127.0.0.1",
    meter: metrics.Metrics | None = None,
    allow_reload_config: bool = False,
    access: Access = DEFAULT_ACCESS,
) -> Iterator[Addresses]:
    """Serves models from a thread of this process, on free ports, while the context lasts.

    Example:
        with running([load(Path("pipeline_root/serving/fill_mask"))]) as addresses:
            print(httpx.get(f"{addresses.rest}/v1/models/fill_mask").json())
    """
    listener = bind(host, 0)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="embedded server", daemon=True)
    thread.start()
    try:
        served = ServedModels(models)
        server = EmbeddedServer(served, limits, meter, allow_reload_config=allow_reload_config, access=access)
        grpc_port = asyncio.run_coroutine_threadsafe(server.start(listener, 0), loop).result()
        try:
            scheme = "http" if access.rest_tls is None else "https"
            yield Addresses(f"{scheme}://{host}:{listener.getsockname()[1]}", f"{host}:{grpc_port}")
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        listener.close()
