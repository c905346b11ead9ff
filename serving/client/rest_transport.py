"""Carries predict requests to any TensorFlow Serving over REST, and turns its errors into `ServingError`s."""

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from foundation.errors import ConfigError, ServingError
from serving.client import certificates, transport_errors, waiting
from serving.client.attempts import Attempts

OVERLOADED = {429, 503}
CANCELED = 499
"""The server gave the request up. One that this client gives up has no answer at all."""
MAX_CONNECTIONS = 20
"""Requests of an asynchronous client that are under way at once: as many as httpx keeps connections open. httpx takes
longer to find a free connection the more there are: a thousand requests at once would run into their timeout."""


class HttpConnection(Protocol):
    """Connections to one server, kept open."""

    async def send(self, method: str, url: str, content: bytes | None, attempts: Attempts) -> httpx.Response:
        """Sends a request, as the next of its attempts."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""

    async def close(self) -> None:
        """Closes the connections."""


class BlockingHttp:
    """Blocks until the answer has come; threads may share it."""

    def __init__(self, trust_env: bool, verify: ssl.SSLContext | bool = True) -> None:
        self._http = httpx.Client(trust_env=trust_env, verify=verify)

    async def send(self, method: str, url: str, content: bytes | None, attempts: Attempts) -> httpx.Response:
        """Sends a request. Each part of the answer is a look at the clock, since httpx limits only each single wait."""
        seconds = attempts.begin()
        end = time.monotonic() + seconds
        parts = []
        with self._http.stream(method, url, content=content, timeout=seconds) as response:
            for part in response.iter_raw():
                parts.append(part)
                if time.monotonic() > end:
                    raise TimeoutError
        return httpx.Response(response.status_code, headers=response.headers, content=b"".join(parts))

    sleep = staticmethod(waiting.sleep_blocking)

    async def close(self) -> None:
        """Closes the connections."""
        self._http.close()


class AsyncHttp:
    """Lets other tasks work while it waits; belongs to one event loop."""

    def __init__(self, trust_env: bool, verify: ssl.SSLContext | bool = True) -> None:
        self._http = httpx.AsyncClient(trust_env=trust_env, verify=verify)
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)

    async def send(self, method: str, url: str, content: bytes | None, attempts: Attempts) -> httpx.Response:
        """Sends a request when its turn has come; the timeout counts from then on."""
        async with self._turns:
            seconds = attempts.begin()
            async with asyncio.timeout(seconds):
                return await self._http.request(method, url, content=content, timeout=seconds)

    sleep = staticmethod(waiting.sleep_async)

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()


class RestTransport:
    """Speaks REST with one server.

    Args:
        url: The server's, such as `http://127.0.0.1:8501`.
        model: The model's name there.
        timeout_seconds: How long one request may take, connecting included. A blocking connection checks the clock
            only when something arrives, so a request may take up to twice as long.
        retries: How often a request is repeated, after growing pauses, when the server is overloaded (429, 503)
            or drops the connection, each time with the whole timeout, or when the server cancels it (499), with what is
            left of the timeout. A pause that the server asks for (`Retry-After`) is kept, up to 10 seconds.
        is_async: Whether its coroutines need an event loop.
        authorities: The certificates that an https server's must be signed by, in PEM; None for the system's.

    Raises:
        ConfigError: If the URL is malformed.
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
        scheme = url.partition("://")[0].lower()
        try:
            httpx.URL(url).host  # noqa: B018  (it refuses host names that cannot be looked up)
        except (httpx.InvalidURL, ValueError):
            host = ""
        if scheme not in ("http", "https") or not host:
            raise ConfigError(
                "a server's URL must start with http://, https://, grpc:// or grpcs:// and have a host",
                received=repr(url),
                remedy="give for example --url http://127.0.0.1:8501",
            )
        self.url = url.rstrip("/")
        self.model = model
        self.timeout_seconds = timeout_seconds
        self.retries = retries
        self._host = host
        self._port = port or (443 if scheme == "https" else 80)
        # The environment's proxy must not stand between two processes of one machine.
        trust_env = self._host not in transport_errors.LOOPBACK
        verify = certificates.context(authorities) if scheme == "https" else True
        self._http: HttpConnection = (AsyncHttp if is_async else BlockingHttp)(trust_env, verify)

    async def predict(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Calls a signature with several outputs, in the column format.

        Args:
            signature: Its name.
            inputs: Nested lists by input name, with at least one row: an empty batch hangs a server that batches.

        Returns:
            Nested lists by output name.

        Raises:
            ServingError: If the server is out of reach or answers with an error.
        """
        answer = await self.request("POST", ":predict", {"signature_name": signature, "inputs": inputs})
        outputs = answer.get("outputs")
        if not isinstance(outputs, dict):
            raise transport_errors.another_program(self.url, f"an answer without outputs by name: {str(answer)[:200]}")
        return outputs

    async def signature_names(self) -> set[str]:
        """The names of the model's signatures.

        Raises:
            ServingError: If the server is out of reach or answers with an error.
        """
        try:
            answer = await self.request("GET", "/metadata")
            return set(answer["metadata"]["signature_def"]["signature_def"])
        except (KeyError, TypeError) as error:
            raise transport_errors.another_program(self.url, "metadata without signatures") from error

    async def request(self, method: str, action: str, body: Any = None) -> dict[str, Any]:
        """One request about the model, repeated while that may help; its answer as JSON.

        Raises:
            ServingError: If the server is out of reach or answers with an error.
        """
        target = f"{self.url}/v1/models/{quote(self.model, safe='')}{action}"
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        attempts = Attempts(self.timeout_seconds, self.retries)
        while True:
            response = await self.send(method, target, content, attempts)
            if response is not None and not is_worth_another_try(response):
                return self.read(response)
            wanted = "" if response is None else response.headers.get("Retry-After", "")
            is_canceled = response is not None and response.status_code == CANCELED
            pause = attempts.pause(is_canceled, transport_errors.retry_after(wanted))
            if pause is not None:
                await self._http.sleep(pause)
            elif response is None:
                raise self.out_of_reach("the connection broke")
            else:
                return self.read(response)

    async def send(self, method: str, target: str, content: bytes | None, attempts: Attempts) -> httpx.Response | None:
        """Sends a request once; None if the connection broke, as an idle one does when its server restarts.

        Raises:
            ServingError: If there is no server, or it takes too long.
        """
        try:
            return await self._http.send(method, target, content, attempts)
        except (httpx.TimeoutException, TimeoutError) as error:
            raise transport_errors.too_slow(self.url, self.timeout_seconds) from error
        except httpx.ConnectError as error:
            raise self.out_of_reach(str(error)) from error
        except httpx.TransportError:
            return None

    def read(self, response: httpx.Response) -> dict[str, Any]:
        """A response's JSON.

        Raises:
            ServingError: If it is an error, or no JSON object.
        """
        try:
            answer = json.loads(response.content.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            answer = None
        if response.status_code != 200:
            raise self.refused(response, answer)
        if not isinstance(answer, dict):
            raise transport_errors.another_program(self.url, response.text[:200])
        return answer

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()

    def out_of_reach(self, problem: str) -> ServingError:
        """The error of a server that doesn't answer."""
        return transport_errors.out_of_reach(self.url, self._host, self._port, problem)

    def refused(self, response: httpx.Response, answer: Any) -> ServingError:
        """The error of a response with another status than 200, with the server's message."""
        message = answer.get("error") if isinstance(answer, dict) else None
        said = f"{response.status_code} from {self.url}: {message or response.text[:200] or response.reason_phrase}"
        # An operation that the server lacks has the same code as a model that it lacks.
        if response.status_code == 404 and "Op type not registered" not in said:
            return transport_errors.unknown_model(self.model, said)
        if response.status_code in OVERLOADED:
            return transport_errors.overloaded(said, self.retries + 1)
        if response.status_code == CANCELED:
            return transport_errors.canceled(said)
        return transport_errors.refused(said)


def is_worth_another_try(response: httpx.Response) -> bool:
    """Whether the same request may succeed later.

    The server was overloaded, or canceled it with another of its batch, or it was batched with unlike requests.
    """
    is_clash = response.status_code == 400 and transport_errors.CLASH in response.text
    return is_clash or response.status_code in {*OVERLOADED, CANCELED}
