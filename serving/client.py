"""Asks a served masked language model: text in, what transformers' fill-mask pipeline returns out.

On the command line: `python -m serving.client "The answer is <mask>." --top-k 3`.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from components.errors import PipelineError
from components.terminal import is_utf8
from serving.asking import Answer, Asker
from serving.target_words import TargetWarning
from serving.waiting import now

URL = "http://127.0.0.1:8501"
MODEL = "fill_mask"


class FillMaskClient:
    """A served model, asked like transformers' fill-mask pipeline. Connections stay open; safe from many threads.

    Args:
        url: The server's, embedded or TensorFlow Serving: `http://HOST:PORT`, or `grpc://HOST:PORT` for gRPC.
        model: The model's name there.
        options: `timeout_seconds`, `retries`, `texts_per_request` and `tokenizer`: see `serving.asking.Asker`.

    Raises:
        ConfigError: If a value can't be meant.
    """

    def __init__(self, url: str = URL, model: str = MODEL, **options: Any) -> None:
        self._asker = Asker(url, model, **options)

    def fill_mask(
        self, texts: str | Sequence[str], *, top_k: int | None = None, targets: Sequence[str] | None = None
    ) -> Answer | list[Answer]:
        """The best candidates for every mask of every text: see `serving.asking.Asker.fill_mask`."""
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
        options: `timeout_seconds`, `retries`, `texts_per_request` and `tokenizer`: see `serving.asking.Asker`.

    Raises:
        ConfigError: If a value can't be meant.
    """

    def __init__(self, url: str = URL, model: str = MODEL, **options: Any) -> None:
        self._asker = Asker(url, model, is_async=True, **options)

    async def fill_mask(
        self, texts: str | Sequence[str], *, top_k: int | None = None, targets: Sequence[str] | None = None
    ) -> Answer | list[Answer]:
        """The best candidates for every mask of every text: see `serving.asking.Asker.fill_mask`."""
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


def to_json(value: Any, indent: str = "", *, ascii_only: bool = False) -> str:
    """An answer as JSON, one candidate a line."""
    if not isinstance(value, list) or not value:
        return json.dumps(value, ensure_ascii=ascii_only)
    inner = f",\n{indent}  ".join(to_json(item, f"{indent}  ", ascii_only=ascii_only) for item in value)
    return f"[\n{indent}  {inner}\n{indent}]"


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.client", description="Asks a served model what stands where a text has its mask token."
    )
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="a text with the model's mask token, such as <mask>")
    parser.add_argument("--top-k", type=int, help="candidates a mask (default: as the model was exported)")
    parser.add_argument(
        "--target",
        action="append",
        metavar="WORD",
        help="choose among these words only (repeatable); a word within a sentence may need its space, as in ' blue'",
    )
    parser.add_argument(
        "--url", default="http://127.0.0.1:8501", help="the server; grpc://HOST:PORT for gRPC (default: %(default)s)"
    )
    parser.add_argument("--model", default="fill_mask", help="the model's name there (default: %(default)s)")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="tokenize here, for models that take token ids")
    parser.add_argument(
        "--timeout-seconds", type=float, default=30.0, help="how long one request may take (default: %(default)s)"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Prints the answer as JSON.

    Returns:
        The exit code: 0, 2 for bad usage, 1 if the server doesn't answer.
    """
    options = make_parser().parse_args(arguments)
    try:
        with (
            warnings.catch_warnings(record=True) as noted,
            FillMaskClient(
                options.url, options.model, timeout_seconds=options.timeout_seconds, tokenizer=options.tokenizer
            ) as client,
        ):
            warnings.simplefilter("always", TargetWarning)
            answer = client.fill_mask(options.texts, top_k=options.top_k, targets=options.target)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    for warning in noted:
        print(f"warning: {warning.message}", file=sys.stderr)
    print(to_json(answer, ascii_only=not is_utf8(sys.stdout)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
