"""The embedded server: TensorFlow Serving's REST protocol over HTTP, for laptops, tests and CI."""

import asyncio
import contextlib
import dataclasses
import functools
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from aiohttp import ClientError, web

from serving.server import metrics
from serving.server.answer_size import USUAL_LIMIT
from serving.server.calls import SMALL_BYTES, Call
from serving.server.listener import bind, port_taken
from serving.server.models.model_versions import ModelVersions
from serving.server.models.served_models import ServedModels
from serving.server.playground import HEADERS, Playground
from serving.server.rest.service import Answer, RestService
from serving.server.status import Code, StatusError, error_body
from serving.server.workers import Workers

if TYPE_CHECKING:
    from serving.server.grpc.server import GrpcServer

REQUESTS_AT_ONCE, ANSWERS_AT_ONCE = 4, 2
"""How many of the largest size are worked on at once: more of them would only make each other late."""
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one client may cost the others.

    Attributes:
        body_bytes: The largest request body, as it comes over the wire; larger ones get 413.
        response_bytes: The largest answer; what would get a larger one is refused before the graph runs, where the
            shapes tell it.
        call_seconds: How long a call may take, from its head to the end of writing its answer; then it gets 504.
            Sending a large answer may take as long again.
        pending_requests: How many may be worked on or wait at once; further ones get 503.
        threads: How many large messages, and calls that are not batched, are worked on at once.
        shutdown_seconds: How long requests under way may take to end once the server is told to stop.
    """

    body_bytes: int = 64 * 1024 * 1024
    response_bytes: int = USUAL_LIMIT
    call_seconds: float = 30.0
    pending_requests: int = 256
    threads: int = max(4, 2 * (os.cpu_count() or 1))
    shutdown_seconds: float = 30.0


class HttpServer:
    """Carries requests to a service and its answers back.

    TensorFlow, and what takes long to read or write, run in threads, so that the event loop stays free to take
    requests, refuse what is too much and answer at once that it is alive.

    Args:
        service: What answers.
        workers: Bounds how many requests there are.
        limits: What is refused.
        playground: The page at `/`.
        metrics_path: Where the metrics page is; None for nowhere.
    """

    def __init__(
        self,
        service: RestService,
        workers: Workers,
        limits: Limits = Limits(),
        playground: Playground | None = None,
        metrics_path: str | None = metrics.PATH,
    ) -> None:
        self.service = service
        self.playground = playground
        self.limits = limits
        self.metrics_path = metrics_path
        self._workers = workers
        self._runner: web.AppRunner | None = None

    async def start(self, listener: socket.socket) -> None:
        """Takes requests from a bound socket from now on."""
        application = web.Application(client_max_size=self.limits.body_bytes)
        if self.metrics_path is not None:
            application.router.add_get(self.metrics_path, self.show_metrics)
        application.router.add_route("*", "/{target:.*}", self.handle)
        # The service unpacks bodies itself: what doesn't unpack has an answer of its own in the protocol.
        self._runner = web.AppRunner(
            application,
            access_log=None,
            auto_decompress=False,
            handle_signals=False,
            shutdown_timeout=self.limits.shutdown_seconds,
        )
        await self._runner.setup()
        try:
            await web.SockSite(self._runner, listener, backlog=1024).start()
        except OSError as error:  # another process took the same port since it was bound here
            raise port_taken(f"port {listener.getsockname()[1]}", error) from error

    async def stop(self) -> None:
        """Takes no more requests and waits for those under way."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def handle(self, request: web.Request) -> web.Response:
        """Answers one request."""
        if self.playground and (page := self.playground.answer(request.method, request.raw_path)):
            return to_response(page, HEADERS)
        call = self._workers.begin(self.limits.call_seconds)
        try:
            answer = await self.answer(request, call)
            response = to_response(answer)
            if len(answer.body) > SMALL_BYTES:
                await self.send(request, response)
            return response
        finally:
            call.end()

    async def answer(self, request: web.Request, call: Call) -> Answer:
        """What to answer, in time."""
        try:
            async with asyncio.timeout_at(call.deadline):
                self._workers.refuse_if_full()
                body = await request.read()
                answer = functools.partial(self.service.answer, request.method, request.raw_path, request.headers, body)
                return await self._workers.do(answer, call)
        except TimeoutError:
            return Answer(Code.DEADLINE_EXCEEDED.http, error_body(call.late().message))
        except StatusError as error:
            return Answer(error.code.http, error_body(error.message))
        except web.HTTPRequestEntityTooLarge:
            message = f"The request's body is over the limit of {self.limits.body_bytes} bytes"
            return Answer(413, error_body(message))
        except (ConnectionError, ClientError) as error:  # the client left, or sent no HTTP, in the middle of the body
            return Answer(Code.CANCELLED.http, error_body(str(error)))
        except Exception as error:  # a fault of this server, which must not end it
            logger.exception("%s %s", request.method, request.raw_path)
            return Answer(Code.INTERNAL.http, error_body(f"{type(error).__name__}: {error}"))

    async def send(self, request: web.Request, response: web.Response) -> None:
        """Sends a large answer while its call still holds the room; who doesn't take it in time is cut off."""
        try:
            async with asyncio.timeout(self.limits.call_seconds):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except (ConnectionError, ClientError):  # the client left
            pass

    async def show_metrics(self, request: web.Request) -> web.Response:
        """Answers the metrics page at once, above all while there is too much to do."""
        return to_response(Answer(200, self.service.meter.page().encode(), metrics.CONTENT_TYPE))


def to_response(answer: Answer, headers: Mapping[str, str] = MappingProxyType({})) -> web.Response:
    """An answer for the transport."""
    return web.Response(
        status=answer.status, body=answer.body, headers={**headers, "Content-Type": answer.content_type}
    )


class EmbeddedServer:
    """Models behind REST and, if asked for, gRPC, in the running event loop.

    Args:
        models: What to serve.
        limits: What is refused.
        meter: What the metrics page shows.
        metrics_path: Where the metrics page is; None for nowhere.
        allow_reload_config: Whether a client may have other models served.
    """

    def __init__(
        self,
        models: ServedModels,
        limits: Limits = Limits(),
        meter: metrics.Metrics | None = None,
        metrics_path: str | None = metrics.PATH,
        allow_reload_config: bool = False,
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
        self._http = HttpServer(service, self._workers, limits, Playground(models), metrics_path)
        self._grpc: GrpcServer | None = None

    async def start(self, listener: socket.socket, grpc_port: int | None = None) -> int | None:
        """Takes requests from now on.

        Args:
            listener: Bound where REST is to be answered.
            grpc_port: The port on the same host for gRPC, 0 for a free one, None for none.

        Returns:
            The gRPC port.

        Raises:
            ServingError: If a port is taken.
        """
        self._workers.start()
        if grpc_port is not None:
            from serving.server.grpc.server import GrpcServer
            from serving.server.grpc.service import GrpcService

            service = GrpcService(
                self._models, self._meter, self._limits.response_bytes, allow_reload_config=self._allow_reload_config
            )
            self._grpc = GrpcServer(service, self._workers, self._limits.body_bytes, self._limits.call_seconds)
            grpc_port = await self._grpc.start(listener.getsockname()[0], grpc_port)
        await self._http.start(listener)
        return grpc_port

    async def stop(self) -> None:
        """Takes no more requests and waits for those under way."""
        stopping = [self._http.stop()]
        if self._grpc is not None:
            stopping.append(self._grpc.stop(self._limits.shutdown_seconds))
        await asyncio.gather(*stopping)
        await self._workers.stop()


@dataclasses.dataclass(frozen=True)
class Addresses:
    """Where an embedded server answers.

    Attributes:
        rest: A URL, such as `http://127.0.0.1:43210`.
        grpc: A gRPC target, such as `127.0.0.1:43211`.
    """

    rest: str
    grpc: str


@contextlib.contextmanager
def running(
    models: Sequence[ModelVersions],
    limits: Limits = Limits(),
    host: str = "127.0.0.1",
    meter: metrics.Metrics | None = None,
    allow_reload_config: bool = False,
) -> Iterator[Addresses]:
    """Serves models from a thread of this process, on free ports, while the context lasts."""
    listener = bind(host, 0)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="embedded server", daemon=True)
    thread.start()
    try:
        served = ServedModels(models)
        server = EmbeddedServer(served, limits, meter, allow_reload_config=allow_reload_config)
        grpc_port = asyncio.run_coroutine_threadsafe(server.start(listener, 0), loop).result()
        try:
            yield Addresses(f"http://{host}:{listener.getsockname()[1]}", f"{host}:{grpc_port}")
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        listener.close()
