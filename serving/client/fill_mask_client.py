"""Asks a served masked language model: text in, what transformers' fill-mask pipeline returns out.

On the command line: `python -m serving.client "The answer is <mask>." --top-k 3`.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from serving.client.asking import Answer, Asker
from serving.client.waiting import now

URL = "http://127.0.0.1:8501"
MODEL = "fill_mask"


class FillMaskClient:
    """A served model, asked like transformers' fill-mask pipeline. Connections stay open; safe from many threads.

    Args:
        url: The server's, embedded or TensorFlow Serving: `http://HOST:PORT`, or `grpc://HOST:PORT` for gRPC.
        model: The model's name there.
        options: `timeout_seconds`, `retries`, `texts_per_request` and `tokenizer`: see `serving.client.asking.Asker`.

    Raises:
        ConfigError: If a value can't be meant.
    """

    def __init__(self, url: str = URL, model: str = MODEL, **options: Any) -> None:
        self._asker = Asker(url, model, **options)

    def fill_mask(
        self, texts: str | Sequence[str], *, top_k: int | None = None, targets: Sequence[str] | None = None
    ) -> Answer | list[Answer]:
        """The best candidates for every mask of every text: see `serving.client.asking.Asker.fill_mask`."""
        return now(self._asker.fill_mask(texts, top_k=top_k, targets=targets))

    def close(self) -> None:
        """Closes the connections."""
        now(self._asker.close())

    def __enter__(self) -> "FillMaskClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncFillMaskClient:
    """The same for programs with an event loop, to which it belongs: many calls may wait at once.

    Args:
        url: The server's, embedded or TensorFlow Serving: `http://HOST:PORT`, or `grpc://HOST:PORT` for gRPC.
        model: The model's name there.
        options: `timeout_seconds`, `retries`, `texts_per_request` and `tokenizer`: see `serving.client.asking.Asker`.

    Raises:
        ConfigError: If a value can't be meant.
    """

    def __init__(self, url: str = URL, model: str = MODEL, **options: Any) -> None:
        self._asker = Asker(url, model, is_async=True, **options)

    async def fill_mask(
        self, texts: str | Sequence[str], *, top_k: int | None = None, targets: Sequence[str] | None = None
    ) -> Answer | list[Answer]:
        """The best candidates for every mask of every text: see `serving.client.asking.Asker.fill_mask`."""
        return await self._asker.fill_mask(texts, top_k=top_k, targets=targets)

    async def close(self) -> None:
        """Closes the connections."""
        await self._asker.close()

    async def __aenter__(self) -> "AsyncFillMaskClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
