"""Connections over HTTP: what their clients may send at all, and for how long; what is no HTTP costs a line in the log.

aiohttp's own connections write a traceback for each malformed request, and wait for the rest of a head for an hour.
"""

import asyncio
import logging
from typing import Any

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMethod

from serving.server.limits.settings import Limits
from serving.server.rare_lines import RareLines
from serving.server.rest.service import html_page

logger = logging.getLogger(__name__)
LONGEST_LINE_BYTES = 1 << 16
"""The longest URL or header. TensorFlow Serving has no limit."""
LONGEST_HEAD_BYTES = 1 << 17
"""The longest head that is still incomplete: so much memory may a connection take before it has asked anything."""
MOST_HEADERS = 256
LINGERING_SECONDS = 2.0
"""How long the rest of a body is read and dropped after an answer that came before it."""
UNKNOWN_VERSION = "unknown version"


class Connection(web.RequestHandler):
    """One client's connection.

    Args:
        manager: The server that it belongs to.
        head_seconds: How long the head of a request may take to come; then the connection is closed.
        options: Those of aiohttp's own class.
    """

    __slots__ = ("_body", "_head_bytes", "_head_seconds", "_head_timer", "_is_answering")

    def __init__(self, manager: "Connections", head_seconds: float, **options: Any) -> None:
        super().__init__(manager, **options)
        self._head_seconds = head_seconds
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._is_answering = False
        self._body: StreamReader | None = None  # the newest request's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins; if there are too many connections, in the place of one on which nothing is asked."""
        super().connection_made(transport)
        if isinstance(self._manager, Connections):
            self._manager.make_place_for(self)

    def data_received(self, data: bytes) -> None:
        """Takes bytes: with the first of a head its time begins."""
        requests = self._request_count
        # A malformed request must not take along the answer to the one before it, in the same bytes.
        head, mark, rest = data.partition(b"\r\n\r\n")
        self._feed(head + mark)
        if rest:
            self._feed(rest)
        if self._request_count > requests:
            self.begin()
        elif not self._is_answering:
            self._head_bytes += len(data)
            if self._head_bytes > LONGEST_HEAD_BYTES:
                self.force_close()
            elif self._head_timer is None:
                loop = asyncio.get_running_loop()
                self._head_timer = loop.call_later(self._head_seconds, self.force_close)

    def _feed(self, data: bytes) -> None:
        """Reads bytes. A body whose rest is no HTTP ends with an error: aiohttp would let the call wait for it."""
        super().data_received(data)
        if not self._messages:
            return
        newest, body = self._messages[-1]
        if isinstance(newest, RawRequestMessage):
            self._body = body
        elif self._body is not None and not self._body.is_eof():
            if isinstance(self._manager, Connections):
                self._manager.note(f"{self.peername}: {newest.message}")
            self._body.set_exception(newest.exc)
            self._body.feed_eof()

    @property
    def is_answering(self) -> bool:
        """Whether something has been asked that isn't answered yet."""
        return self._is_answering

    def begin(self) -> None:
        """Notes that a head has come, whose request is being answered from now on."""
        self._is_answering = True
        self._head_bytes = 0
        self._stop_timer()

    def end(self) -> None:
        """Notes that it is answered."""
        self._is_answering = False

    def connection_lost(self, exc: BaseException | None) -> None:
        """Ends with its client."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, as TensorFlow Serving's library has it, and then the connection's end."""
        manager = self._manager
        if status >= 500:
            logger.error("a fault of this server", exc_info=exc)
        elif isinstance(manager, Connections):
            manager.note(f"{self.peername}: {message or exc}")
        page = html_page(501 if isinstance(exc, BadHttpMethod) else status)
        response = web.Response(status=page.status, body=page.body, headers={"Content-Type": page.content_type})
        response.force_close()
        return response


class Connections(web.Server):
    """All connections of a port.

    Args:
        handler: Answers a request.
        limits: What is refused.
    """

    def __init__(self, handler: Any, limits: Limits) -> None:
        # A request whose client is gone is answered no further: it would keep its place from others.
        super().__init__(handler, request_factory=self._begin_request, handler_cancellation=True)
        self._limits = limits
        self._noted = RareLines(logger)

    def __call__(self) -> Connection:
        """A connection, for each client that comes."""
        return Connection(
            self,
            self._limits.head_seconds,
            loop=self._loop,
            access_log=None,
            # The service unpacks bodies itself: what doesn't unpack has an answer of its own in the protocol.
            auto_decompress=False,
            keepalive_timeout=self._limits.idle_seconds,
            max_line_size=LONGEST_LINE_BYTES,
            max_field_size=LONGEST_LINE_BYTES,
            max_headers=MOST_HEADERS,
            lingering_time=LINGERING_SECONDS,
        )

    def make_place_for(self, newest: Connection) -> None:
        """Cuts a connection off if there are too many: the one on which nothing has been asked for longest.

        So clients that connect and ask nothing, or send heads by half, keep out nobody else.
        """
        if len(self._connections) > self._limits.connections:
            idle = (one for one in self._connections if isinstance(one, Connection) and not one.is_answering)
            next(idle, newest).force_close()

    def note(self, problem: str) -> None:
        """Writes a malformed request into the log, unless there are many."""
        self._noted.write(f"no HTTP request: {' '.join(problem.split())[:200]}")

    def _begin_request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        protocol.begin()
        known = message.version <= HttpVersion11
        return web.BaseRequest(
            message if known else message._replace(version=HttpVersion11),
            payload,
            protocol,
            writer,
            task,
            self._loop,
            client_max_size=self._limits.body_bytes,
            state={UNKNOWN_VERSION: not known},
        )
