"""Carries HTTP requests to the service and its answers back, and shows the playground and the metrics page."""

import asyncio
import functools
import logging
import socket
import ssl
import time
from collections.abc import Collection, Mapping
from types import MappingProxyType

from aiohttp import ClientError, HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from serving.server import metrics
from serving.server.hosts import is_allowed
from serving.server.http_connection import UNKNOWN_VERSION, Connection, Connections
from serving.server.limits.bodies import Bodies, TooLargeError
from serving.server.limits.calls import SMALL_BYTES, Call
from serving.server.limits.settings import DEFAULT_LIMITS, Limits
from serving.server.limits.workers import Workers
from serving.server.listener import port_taken
from serving.server.playground import HEADERS, Playground
from serving.server.rest.service import Answer, RestService, html_page
from serving.server.rest.urls import is_api
from serving.server.status import Code, StatusError, error_body

logger = logging.getLogger(__name__)
RETRY_SECONDS = 1
"""After how long a client may ask again that was refused for want of room."""
CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}
"""Those of TensorFlow Serving, which has them in the answers of its API alone: not on the metrics page."""


class HttpServer:
    """The port on which the REST protocol, the playground and the metrics page are answered.

    TensorFlow runs in threads, and so does the reading and writing of large messages. So the event loop stays free to
    take requests, to refuse those that are too many, and to answer questions about its health at once.

    Args:
        service: What answers.
        workers: Limits how many requests are answered at once.
        limits: What is refused.
        playground: The page at `/`.
        metrics_path: The URL path of the metrics page; None for no page.
        allowed_hosts: Names of this server beside addresses and names without a dot: see `serving.server.hosts`.
        cors: Whether pages of other sites may read the answers.
        bodies: The memory for request bodies, which gRPC may share.
    """

    def __init__(
        self,
        service: RestService,
        workers: Workers,
        limits: Limits = DEFAULT_LIMITS,
        playground: Playground | None = None,
        metrics_path: str | None = metrics.PATH,
        allowed_hosts: Collection[str] = (),
        cors: bool = False,
        bodies: Bodies | None = None,
    ) -> None:
        self.service = service
        self.playground = playground
        self.limits = limits
        self.metrics_path = metrics_path
        self.allowed_hosts = allowed_hosts
        self._api_headers = CORS_HEADERS if cors else {}
        self._workers = workers
        self._bodies = bodies or Bodies(limits.bodies_bytes, limits.body_bytes)
        self._is_draining = False
        self._connections: Connections | None = None
        self._site: web.SockSite | None = None
        self._runner: web.ServerRunner | None = None

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Takes requests from a bound socket from now on, encrypted with a certificate if there is one."""
        self._connections = Connections(self.handle, self.limits)
        self._runner = web.ServerRunner(self._connections, shutdown_timeout=self.limits.shutdown_seconds)
        await self._runner.setup()
        self._site = web.SockSite(self._runner, listener, backlog=1024, ssl_context=tls)
        try:
            await self._site.start()
        except OSError as error:  # another process took the same port since it was bound here
            raise port_taken(f"port {listener.getsockname()[1]}", error) from error

    async def stop(self) -> None:
        """Takes no more connections, tells the clients of those that are open, and waits for requests under way."""
        self._is_draining = True
        if self._site is not None and self._connections is not None:
            await self._site.stop()
            end = time.monotonic() + self.limits.drain_seconds
            while self._connections.connections and time.monotonic() < end:
                await asyncio.sleep(0.02)
        if self._runner is not None:
            await self._runner.cleanup()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        try:
            response = await self._respond(request)
            if self._is_draining:
                response.force_close()
            return response
        finally:
            if isinstance(request.protocol, Connection):
                request.protocol.end()

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        if request[UNKNOWN_VERSION]:
            return self.to_response(html_page(400))
        if not is_allowed(request.headers.get("Host", ""), self.allowed_hosts):
            name = request.headers["Host"].partition(":")[0]
            problem = (
                f"This server must be asked by a name that it was given; allow this one with --allowed-hosts {name}"
            )
            return self.to_response(Answer(Code.PERMISSION_DENIED.http, error_body(problem)))
        if request.raw_path == self.metrics_path:
            # At once, also while other requests are refused.
            return self.to_response(Answer(200, self.service.meter.page().encode(), metrics.CONTENT_TYPE))
        if self.playground and (page := self.playground.answer(request.method, request.raw_path)):
            return self.to_response(page, HEADERS)
        call = self._workers.begin(self.limits.call_seconds)
        held: list[int] = []
        try:
            answer = await self.answer(request, call, held)
            response = self.to_response(answer, self._api_headers if is_api(request.raw_path) else {})
            if request.content.exception() is not None:  # no further request can be read
                response.force_close()
            if len(answer.body) > SMALL_BYTES:
                if self._is_draining:
                    response.force_close()
                await self.send(request, response)
            return response
        finally:
            call.end()
            self._bodies.give_back(held)

    async def answer(self, request: web.BaseRequest, call: Call, held: list[int]) -> Answer:
        """The answer to a request, or the error that it took too long."""
        # GET asks for the state of a model, and nothing that takes long.
        is_limited = request.method != "GET"
        try:
            async with asyncio.timeout_at(call.deadline):
                if is_limited:
                    self._workers.refuse_if_full()
                if request.headers.get("Expect", "").lower() == "100-continue" and request.version == HttpVersion11:
                    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    request.writer.output_size = 0  # the answer hasn't begun by that
                body = await self._bodies.read(request.content.iter_any(), held)
                answer = functools.partial(self.service.answer, request.method, request.raw_path, request.headers, body)
                return await self._workers.do(answer, call, is_limited=is_limited)
        except TimeoutError:
            return Answer(Code.DEADLINE_EXCEEDED.http, error_body(call.late().message))
        except StatusError as error:
            return Answer(error.code.http, error_body(error.message))
        except TooLargeError:
            message = f"The request's body is over the limit of {self.limits.body_bytes} bytes"
            return Answer(413, error_body(message))
        except HttpProcessingError:  # the rest of the body is no HTTP
            return html_page(400)
        except (ConnectionError, ClientError) as error:  # the client left in the middle of the body
            return Answer(Code.CANCELLED.http, error_body(str(error)))
        except Exception as error:  # a fault of this server, which must not end it
            logger.exception("%s %s", request.method, request.raw_path)
            return Answer(Code.INTERNAL.http, error_body(f"{type(error).__name__}: {error}"))

    async def send(self, request: web.BaseRequest, response: web.Response) -> None:
        """Sends a large answer while its call still holds the room; a client that is too slow is cut off."""
        try:
            async with asyncio.timeout(self.limits.call_seconds):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except (ConnectionError, ClientError):  # the client left
            pass

    def to_response(self, answer: Answer, headers: Mapping[str, str] = MappingProxyType({})) -> web.Response:
        """An answer as aiohttp sends it."""
        if answer.status == Code.UNAVAILABLE.http:
            headers = {**headers, "Retry-After": str(RETRY_SECONDS)}
        headers = {**headers, "Content-Type": answer.content_type}
        return web.Response(status=answer.status, body=answer.body, headers=headers)
