"""Carries gRPC requests to the services and their answers back."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError, Message

from serving.server.limits.bodies import Bodies
from serving.server.limits.calls import Call
from serving.server.limits.workers import Workers
from serving.server.listener import port_taken
from serving.server.messages import cut
from serving.server.status import StatusError
from serving.server.tls import Tls

logger = logging.getLogger(__name__)
UNTIMED = {"HandleReloadConfigRequest"}
"""Methods without a time limit: loading models may take long."""
STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
Method = Callable[[Any], Coroutine[Any, Any, Message]]
"""Answers a request message."""
Methods = Mapping[str, tuple[type[Message], Method]]
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
        call_seconds: How long a call may take once its message has come; calls that load models may take longer.
        bodies: The memory for the messages of requests, which REST shares; None for no limit.
    """

    def __init__(
        self,
        services: Sequence[GrpcService],
        workers: Workers,
        body_bytes: int,
        call_seconds: float | None = None,
        bodies: Bodies | None = None,
    ) -> None:
        self._bodies = bodies
        self._services = services
        self._workers = workers
        self._body_bytes = body_bytes
        self._call_seconds = call_seconds
        self._untimed: set[Call] = set()
        self._server: grpc.aio.Server | None = None

    async def start(self, host: str, port: int, tls: Tls | None = None, socket_path: str | None = None) -> int:
        """Takes requests from now on.

        Args:
            host: The address to listen on.
            port: The port there, 0 for a free one.
            tls: A certificate, with which connections are encrypted; None for plain ones.
            socket_path: A Unix socket to listen on too, on which nothing is encrypted.

        Returns:
            The port, which is a free one if 0 was asked for.

        Raises:
            ServingError: If the port is taken.
        """
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", self._body_bytes),
                ("grpc.max_send_message_length", -1),
                # Two servers that share a port would answer in turns.
                ("grpc.so_reuseport", 0),
            ]
        )
        for service in self._services:
            handlers = {
                name: grpc.unary_unary_rpc_method_handler(partial(self.answer, name, kind, method))
                for name, (kind, method) in service.methods().items()
            }
            self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service.name, handlers)])
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, tls.credentials())
        except RuntimeError as error:
            raise port_taken(f"{address} (gRPC)", OSError(str(error)), option="--grpc-port") from error
        if socket_path is not None:
            try:
                self._server.add_insecure_port(f"unix:{socket_path}")
            except RuntimeError as error:
                raise port_taken(f"{socket_path} (gRPC)", OSError(str(error)), option="--grpc-socket-path") from error
        await self._server.start()
        return int(bound)

    async def stop(self, seconds: float) -> None:
        """Takes no more requests and gives those under way some time, but none to those that load models."""
        for call in self._untimed:
            if call.task is not None:
                call.task.cancel()
        if self._server is not None:
            await self._server.stop(seconds)

    async def answer(self, name: str, kind: type[Message], method: Method, data: bytes, context: Any) -> bytes:
        """Answers one request.

        Args:
            name: The method's name.
            kind: The class of its request.
            method: What answers.
            data: The serialized request. It isn't decoded by gRPC, which would log damaged ones.
            context: gRPC's.
        """
        call = self._workers.begin(None if name in UNTIMED else self._call_seconds)
        answer: bytes | tuple[grpc.StatusCode, str]
        if name in UNTIMED:
            self._untimed.add(call)
        held: list[int] = []
        try:
            if self._bodies is not None:
                self._bodies.hold(len(data), held)
            answer = await self._answer(name, kind, method, data, call)
        except StatusError as error:
            answer = STATUS_CODES[int(error.code)], error.message
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
        del data
        await context.abort(*answer)
        raise AssertionError("abort raises")

    async def _answer(
        self, name: str, kind: type[Message], method: Method, data: bytes, call: Call
    ) -> bytes | tuple[grpc.StatusCode, str]:
        """The response as it goes out, or the error's code and message."""
        try:
            async with asyncio.timeout_at(call.deadline):
                response = await self._workers.do(partial(method, kind.FromString(data)), call)
                return bytes(response.SerializeToString())
        except TimeoutError:
            return grpc.StatusCode.DEADLINE_EXCEEDED, call.late().message
        except asyncio.CancelledError:
            if call not in self._untimed:
                raise
            return grpc.StatusCode.UNAVAILABLE, "the server is stopping"
        except DecodeError:
            return grpc.StatusCode.INTERNAL, f"{name}: the request is no {kind.DESCRIPTOR.full_name}"
        except StatusError as error:
            return STATUS_CODES[int(error.code)], cut(error.message)
        except Exception as error:  # a fault of this server, which must not end it
            logger.exception("gRPC %s", name)
            return grpc.StatusCode.INTERNAL, cut(f"{type(error).__name__}: {error}")
