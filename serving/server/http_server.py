"""Carries HTTP requests to the service and its answers back, and shows the playground and the metrics page."""

import asyncio
import functools
import logging
import socket
from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import ClientError, web

from serving.server import metrics
from serving.server.limits.calls import SMALL_BYTES, Call
from serving.server.limits.settings import DEFAULT_LIMITS, Limits
from serving.server.limits.workers import Workers
from serving.server.listener import port_taken
from serving.server.playground import HEADERS, Playground
from serving.server.rest.service import Answer, RestService
from serving.server.status import Code, StatusError, error_body

logger = logging.getLogger(__name__)


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
    """

    def __init__(
        self,
        service: RestService,
        workers: Workers,
        limits: Limits = DEFAULT_LIMITS,
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
        """The answer to a request, or the error that it took too long."""
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

    async def show_metrics(self, request: web.Request) -> web.Response:
        """Answers the metrics page at once, also while other requests are refused."""
        return to_response(Answer(200, self.service.meter.page().encode(), metrics.CONTENT_TYPE))


def to_response(answer: Answer, headers: Mapping[str, str] = MappingProxyType({})) -> web.Response:
    """An answer as aiohttp sends it."""
    return web.Response(
        status=answer.status, body=answer.body, headers={**headers, "Content-Type": answer.content_type}
    )
