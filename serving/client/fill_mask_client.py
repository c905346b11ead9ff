"""Clients of a served masked language model: text in, what transformers' fill-mask pipeline returns out.

On the command line: `python -m serving.client "The answer is <mask>." --top-k 3`.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from serving.client.answers import Answer
from serving.client.fill_mask_requests import FillMaskRequests
from serving.client.waiting import run_at_once

URL = "http://127.0.0.1:8501"
MODEL = "fill_mask"


class FillMaskClient:
    """Asks a served model as one asks transformers' fill-mask pipeline.

    Its connections stay open, and many threads may use it at once.

    Args:
        url: The server's, embedded or TensorFlow Serving: `http://HOST:PORT`, or `grpc://HOST:PORT` for gRPC;
            encrypted as `https://` or `grpcs://`.
        model: The model's name there.
        options: Those of `serving.client.fill_mask_requests.FillMaskRequests`: `timeout_seconds`, `retries`,
            `texts_per_request`, `tokenizer` and `ca_file`.

    Raises:
        ConfigError: If the URL or an option is impossible.

    Example:
        with FillMaskClient("http://127.0.0.1:8501", "fill_mask", timeout_seconds=60.0) as client:
            best, *others = client.fill_mask("The Milky Way is a <mask> galaxy.", top_k=3)
            answers = client.fill_mask(["Blue is a <mask>.", "<mask> of <mask>"], targets=[" color", " kind"])
        print(best["token_str"], best["score"], best["sequence"])
    """

    def __init__(self, url: str = URL, model: str = MODEL, **options: Any) -> None:
        self._requests = FillMaskRequests(url, model, **options)

    def fill_mask(
        self, texts: str | Sequence[str], *, top_k: int | None = None, targets: Sequence[str] | None = None
    ) -> Answer | list[Answer]:
        """The best candidates for every mask of every text: see `FillMaskRequests.fill_mask`."""
        return run_at_once(self._requests.fill_mask(texts, top_k=top_k, targets=targets))

    def close(self) -> None:
        """Closes the connections."""
        run_at_once(self._requests.close())

    def __enter__(self) -> "FillMaskClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncFillMaskClient:
    """Does the same in a program with an event loop, where many calls may wait at once.

    A client belongs to the event loop in which it is first used.

    Args:
        url: The server's, embedded or TensorFlow Serving: `http://HOST:PORT`, or `grpc://HOST:PORT` for gRPC;
            encrypted as `https://` or `grpcs://`.
        model: The model's name there.
        options: Those of `serving.client.fill_mask_requests.FillMaskRequests`: `timeout_seconds`, `retries`,
            `texts_per_request`, `tokenizer` and `ca_file`.

    Raises:
        ConfigError: If the URL or an option is impossible.

    Example:
        async with AsyncFillMaskClient("http://127.0.0.1:8501", "fill_mask") as client:
            calls = (client.fill_mask(text) for text in ("Blue is a <mask>.", "Red is a <mask>."))
            answers = await asyncio.gather(*calls)
    """

    def __init__(self, url: str = URL, model: str = MODEL, **options: Any) -> None:
        self._requests = FillMaskRequests(url, model, is_async=True, **options)

    async def fill_mask(
        self, texts: str | Sequence[str], *, top_k: int | None = None, targets: Sequence[str] | None = None
    ) -> Answer | list[Answer]:
        """The best candidates for every mask of every text: see `FillMaskRequests.fill_mask`."""
        return await self._requests.fill_mask(texts, top_k=top_k, targets=targets)

    async def close(self) -> None:
        """Closes the connections."""
        await self._requests.close()

    async def __aenter__(self) -> "AsyncFillMaskClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
