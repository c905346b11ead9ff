"""Carries gRPC requests to the services and their answers back."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError, Message

from serving.server.limits.bodies import Bodies
from serving.server.limits.calls import Call
from serving.server.limits.receptions import Receptions
from serving.server.limits.settings import Limits
from serving.server.limits.workers import Workers
from serving.server.listener import port_taken
from serving.server.messages import cut
from serving.server.rare_lines import NoUtf8Metadata
from serving.server.status import Code, StatusError
from serving.server.tls import Tls

logger = logging.getLogger(__name__)
UNTIMED = {"HandleReloadConfigRequest"}
"""Methods without a time limit: loading models may take long."""
PROBES = {"GetModelStatus", "GetModelMetadata", "Check", "Watch"}
"""Methods that ask for the server's state: they take no time, and are answered also while others are refused."""
STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
Method = Callable[[Any], Coroutine[Any, Any, Message]]
"""Answers a request message."""
Stream = Callable[[Any], AsyncIterator[Message]]
"""Answers a request message by several, one after the other."""
MOST_STREAMS = 1000
"""How many clients may listen to answers that don't end."""
MOST_CALLS_TO_COME = 20_000
"""How many calls may wait to be looked at at all: the rest of a client's burst, most of them canceled."""
IDLE_SECONDS = 300.0
"""After how long a connection without a call is closed; its client connects anew when it asks again."""
WINDOW_BYTES = 1 << 16
"""How much of a message is taken from the network before it is received."""


@dataclasses.dataclass(frozen=True)
class Streamed:
    """A method whose answer is several messages.

    Attributes:
        answer: The method.
    """

    answer: Stream


Methods = Mapping[str, tuple[type[Message], Method | Streamed]]
"""Request classes and methods, by the methods' names."""


class GrpcService(Protocol):
    """One of the services behind the port.

    Attributes:
        name: Its full name, such as `tensorflow.serving.PredictionService`.
    """

    name: str

    def methods(self) -> Methods:
        """Request classes and methods, by the methods' names."""


class GrpcServer:
    """The port on which TensorFlow Serving's gRPC services answer.

    Args:
        services: Those that answer.
        workers: Limits how many requests are answered at once.
        body_bytes: The largest request message.
        call_seconds: How long a call may take, from its head on; calls that load models may take longer.
        bodies: The memory for the messages of requests, which REST shares; None for no limit.
        receptions: The memory for messages that are being received; None for no limit.
        probe_receptions: That for messages that ask for the server's state, which wait for no others.
        stopping: Set when the server stops, for methods that answer for as long as a client listens.
        connections: How many clients may be connected at once; further ones are cut off.
    """

    def __init__(
        self,
        services: Sequence[GrpcService],
        workers: Workers,
        body_bytes: int,
        call_seconds: float | None = None,
        bodies: Bodies | None = None,
        receptions: Receptions | None = None,
        probe_receptions: Receptions | None = None,
        stopping: asyncio.Event | None = None,
        connections: int = Limits.grpc_connections,
    ) -> None:
        self._connections = connections
        self._bodies = bodies
        self._receptions = receptions
        self._probe_receptions = probe_receptions
        self._stopping = stopping
        self._services = services
        self._workers = workers
        self._body_bytes = body_bytes
        self._call_seconds = call_seconds
        self._untimed: set[Call] = set()
        self._streams = 0
        self._server: grpc.aio.Server | None = None
        self._quiet = NoUtf8Metadata(logger)

    async def start(
        self, host: str, port: int | None, tls: Tls | None = None, socket_path: str | None = None
    ) -> int | None:
        """Takes requests from now on.

        Args:
            host: The address to listen on.
            port: The port there, 0 for a free one, None for none.
            tls: A certificate, with which connections are encrypted; None for plain ones.
            socket_path: A Unix socket to listen on too, on which nothing is encrypted.

        Returns:
            The port, which is a free one if 0 was asked for; None if there is none.

        Raises:
            ServingError: If the port is taken.
        """
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", self._body_bytes),
                ("grpc.max_send_message_length", -1),
                # Of a message that isn't being received yet, no more than this is in memory. (Measuring how much the
                # network takes would raise it to megabytes.)
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
                # gRPC ends calls beyond these as CANCELLED, whosever they are, and canceled ones count until their turn
                # comes. By default they are a thousand and three.
                ("grpc.server.max_pending_requests", MOST_CALLS_TO_COME),
                ("grpc.server.max_pending_requests_hard_limit", 2 * MOST_CALLS_TO_COME),
                # The headers of a call are in memory before Python sees any, fifty times as large as they came.
                ("grpc.max_allowed_incoming_connections", self._connections),
                ("grpc.max_connection_idle_ms", int(1000 * IDLE_SECONDS)),
                # Two servers that share a port would answer in turns.
                ("grpc.so_reuseport", 0),
            ]
        )
        for service in self._services:
            # As if the requests were streams, because only then gRPC leaves it to us when a message is received.
            handlers = {
                name: grpc.stream_stream_rpc_method_handler(partial(self.send, name, kind, method.answer))
                if isinstance(method, Streamed)
                else grpc.stream_unary_rpc_method_handler(partial(self.answer, name, kind, method))
                for name, (kind, method) in service.methods().items()
            }
            self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service.name, handlers)])
        bound = None if port is None else self._listen(host, port, tls)
        if socket_path is not None:
            try:
                self._server.add_insecure_port(f"unix:{socket_path}")
            except RuntimeError as error:
                raise port_taken(f"{socket_path} (gRPC)", OSError(str(error)), option="--grpc-socket-path") from error
        await self._server.start()
        logging.getLogger(NoUtf8Metadata.LIBRARY).addFilter(self._quiet)
        return bound

    def _listen(self, host: str, port: int, tls: Tls | None) -> int:
        assert self._server is not None
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                return int(self._server.add_insecure_port(address))
            return int(self._server.add_secure_port(address, tls.credentials()))
        except RuntimeError as error:
            raise port_taken(f"{address} (gRPC)", OSError(str(error)), option="--grpc-port") from error

    async def stop(self, seconds: float) -> None:
        """Takes no more requests and gives those under way some time, but none to those that load models or listen."""
        if self._stopping is not None:
            self._stopping.set()
        for call in self._untimed:
            if call.task is not None:
                call.task.cancel()
        if self._server is not None:
            await self._server.stop(seconds)
        logging.getLogger(NoUtf8Metadata.LIBRARY).removeFilter(self._quiet)

    async def answer(self, name: str, kind: type[Message], method: Method, _: Any, context: Any) -> bytes:
        """Answers one request.

        Args:
            name: The method's name.
            kind: The class of its request.
            method: What answers.
            context: gRPC's. The request isn't decoded by gRPC, which would log damaged ones.
        """
        call = self._workers.begin(None if name in UNTIMED else self._call_seconds)
        if name in UNTIMED:
            self._untimed.add(call)
        held: list[int] = []
        try:
            answer = await self._answer(name, kind, method, context, call, held)
        finally:
            if self._bodies is not None:
                self._bodies.give_back(held)
            self._untimed.discard(call)
            # An answer keeps its room until its client has received it.
            if call.holds_room:
                context.add_done_callback(lambda _: call.end())
            else:
                call.end()
        if isinstance(answer, bytes):
            return answer
        # gRPC keeps this frame with the error until Python's garbage collection: nothing large may be in it.
        try:
            await context.abort(*answer)
        except grpc.aio.InternalError:  # its client has left
            raise asyncio.CancelledError from None
        raise AssertionError("abort raises")

    async def send(self, name: str, kind: type[Message], stream: Stream, _: Any, context: Any) -> None:
        """Answers one request by several messages, for as long as its client listens.

        Args:
            name: The method's name.
            kind: The class of its request.
            stream: What answers.
            context: gRPC's.
        """
        held: list[int] = []
        self._streams += 1
        try:
            if self._streams > MOST_STREAMS:
                raise StatusError(Code.RESOURCE_EXHAUSTED, f"{MOST_STREAMS} clients listen already, which is the limit")
            request = kind.FromString(await self._receive(name, kind, context, held))
            async for message in stream(request):
                await context.write(message.SerializeToString())
        except DecodeError:
            await context.abort(grpc.StatusCode.INTERNAL, no_request(name, kind))
        except StatusError as error:
            await context.abort(STATUS_CODES[int(error.code)], cut(error.message))
        finally:
            self._streams -= 1
            if self._bodies is not None:
                self._bodies.give_back(held)

    async def _receive(self, name: str, kind: type[Message], context: Any, held: list[int]) -> bytes:
        """The serialized request, within the time that a call may take.

        Raises:
            StatusError: If it doesn't come, comes too slowly, or finds no memory.
        """
        receptions = self._receptions
        if name in PROBES:
            receptions = self._probe_receptions
        else:
            self._workers.refuse_if_full()
        try:
            async with asyncio.timeout(self._call_seconds):
                data = await (context.read() if receptions is None else receptions.receive(context.read))
        except TimeoutError as error:
            raise StatusError(
                Code.DEADLINE_EXCEEDED, f"{name}: the request must come within {self._call_seconds:g} seconds"
            ) from error
        if not isinstance(data, bytes):  # the end of the stream
            raise StatusError(Code.INTERNAL, no_request(name, kind))
        if self._bodies is not None:
            self._bodies.hold(len(data), held)
        return data

    async def _answer(
        self, name: str, kind: type[Message], method: Method, context: Any, call: Call, held: list[int]
    ) -> bytes | tuple[grpc.StatusCode, str]:
        """The response as it goes out, or the error's code and message."""
        try:
            async with asyncio.timeout_at(call.deadline):
                answer = partial(method, kind.FromString(await self._receive(name, kind, context, held)))
                response = await self._workers.do(answer, call, is_limited=name not in PROBES)
                return bytes(response.SerializeToString())
        except TimeoutError:
            return grpc.StatusCode.DEADLINE_EXCEEDED, call.late().message
        except asyncio.CancelledError:
            if call not in self._untimed:
                raise
            return grpc.StatusCode.UNAVAILABLE, "the server is stopping"
        except DecodeError:
            return grpc.StatusCode.INTERNAL, no_request(name, kind)
        except StatusError as error:
            return STATUS_CODES[int(error.code)], cut(error.message)
        except Exception as error:  # a fault of this server, which must not end it
            logger.exception("gRPC %s", name)
            return grpc.StatusCode.INTERNAL, cut(f"{type(error).__name__}: {error}")


def no_request(name: str, kind: type[Message]) -> str:
    """The error of a message that is not of the class that it must be."""
    return f"{name}: the request is no {kind.DESCRIPTOR.full_name}"
