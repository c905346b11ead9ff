"""Carries predict requests to any TensorFlow Serving over gRPC, and turns its errors into `ServingError`s."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import grpc

from foundation.errors import ConfigError, ServingError
from serving.client import transport_errors, waiting
from serving.client.attempts import Attempts
from serving.client.predict_messages import CLASSES, from_tensor, to_tensor

SERVICE = "/tensorflow.serving.PredictionService"
OVERLOADED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
# gRPC says UNAVAILABLE of a busy server and of an absent one: these words tell the absent one.
NO_CONNECTION = ("failed to connect", "DNS resolution failed", "Name resolution")


class GrpcTransport:
    """A channel to one server, which threads may share.

    Args:
        url: The server's, such as `grpc://127.0.0.1:8500`, or `grpcs://…` for an encrypted connection.
        model: The model's name there.
        timeout_seconds: How long one request may take, connecting included.
        retries: How often a request is repeated, after growing pauses, when the server is overloaded, each time with
            the whole timeout, or when the server cancels it, with what is left of the timeout.
        is_async: Whether its coroutines need an event loop, and are all awaited in one.
        authorities: The certificates that a grpcs server's must be signed by, in PEM; None for the system's.

    Raises:
        ConfigError: If the URL has no port.
    """

    def __init__(
        self,
        url: str,
        model: str,
        timeout_seconds: float,
        retries: int,
        is_async: bool = False,
        authorities: bytes | None = None,
    ) -> None:
        host, port = transport_errors.host_and_port(url)
        if not host or port is None:
            raise ConfigError(
                "a gRPC URL must be grpc://HOST:PORT or grpcs://HOST:PORT",
                received=repr(url),
                remedy="give for example --url grpc://127.0.0.1:8500",
            )
        self.url = url.rstrip("/")
        self.model = model
        self.timeout_seconds = timeout_seconds
        self.retries = retries
        self._host, self._port = host, port
        # By default a channel waits up to two minutes before it looks again for a server that was down.
        options: list[tuple[str, int]] = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if self._host in transport_errors.LOOPBACK:
            options.append(("grpc.enable_http_proxy", 0))
        self._is_async = is_async
        self._is_closed = False
        self._sleep = waiting.sleep_async if is_async else waiting.sleep_blocking
        library, address = (grpc.aio if is_async else grpc), urlsplit(url).netloc
        if url.startswith("grpcs://"):
            credentials = grpc.ssl_channel_credentials(authorities)
            self._open = lambda: library.secure_channel(address, credentials, options=options)
        else:
            self._open = lambda: library.insecure_channel(address, options=options)
        # An asynchronous channel belongs to the event loop that it is opened in.
        self._channel = None if is_async else self._open()

    async def predict(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Calls a signature.

        Args:
            signature: Its name.
            inputs: Nested lists by input name, with at least one row: an empty batch hangs a server that batches.

        Returns:
            Nested lists by output name.

        Raises:
            ServingError: If the server is out of reach or answers with an error.
        """
        request = CLASSES["PredictRequest"](model_spec={"name": self.model, "signature_name": signature})
        for name, values in inputs.items():
            request.inputs.add(key=name, value=to_tensor(values))
        response = await self._call("Predict", "PredictResponse", request)
        try:
            return {entry.key: from_tensor(entry.value) for entry in response.outputs}
        except ValueError as error:
            raise transport_errors.another_program(self.url, str(error)) from error

    async def signature_names(self) -> set[str]:
        """The names of the model's signatures.

        Raises:
            ServingError: If the server is out of reach or answers with an error.
        """
        request = CLASSES["MetadataRequest"](model_spec={"name": self.model}, metadata_field=["signature_def"])
        names: set[str] = set()
        response = await self._call("GetModelMetadata", "MetadataResponse", request)
        for entry in response.metadata:
            names.update(one.key for one in CLASSES["SignatureMap"].FromString(entry.value.value).signature_def)
        return names

    async def close(self) -> None:
        """Closes the channel."""
        self._is_closed = True
        closing = self._channel and self._channel.close()
        if self._is_async and closing is not None:
            await closing

    def _method(self, name: str, response: str) -> Any:
        if self._channel is None:
            self._channel = self._open()
        return self._channel.unary_unary(
            f"{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=CLASSES[response].FromString,
        )

    async def _call(self, name: str, response: str, request: Any) -> Any:
        """One call, repeated while that may help."""
        method = self._method(name, response)
        attempts = Attempts(self.timeout_seconds, self.retries)
        while True:
            try:
                call = method(request, timeout=attempts.begin())
                return await call if self._is_async else call
            except grpc.RpcError as error:
                is_absent = any(words in error.details() for words in NO_CONNECTION)
                is_canceled = error.code() is grpc.StatusCode.CANCELLED
                may_help = is_canceled or error.code() in OVERLOADED or transport_errors.CLASH in error.details()
                # A call that ends because this client is closed isn't asked again.
                is_over = self._is_closed or is_absent or not may_help
                pause = None if is_over else attempts.pause(is_canceled)
                if pause is None:
                    raise self._to_serving_error(error, is_absent) from error
            await self._sleep(pause)

    def _to_serving_error(self, error: Any, is_absent: bool) -> ServingError:
        """The error that a failed call is for the user."""
        said = f"{error.code().name} from {self.url}: {error.details()}"
        if is_absent:
            return transport_errors.out_of_reach(self.url, self._host, self._port, error.details()[:400])
        # The same code means that this client waited too long, or that the server allows no more time: only the first
        # comes with these words.
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and error.details() == "Deadline Exceeded":
            return transport_errors.too_slow(self.url, self.timeout_seconds)
        if error.code() is grpc.StatusCode.NOT_FOUND and "Op type not registered" not in said:
            return transport_errors.unknown_model(self.model, said)
        if error.code() in OVERLOADED:
            return transport_errors.overloaded(said, self.retries + 1)
        if error.code() is grpc.StatusCode.CANCELLED:
            return transport_errors.canceled(said)
        return transport_errors.refused(said)
