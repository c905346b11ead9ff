"""The asynchronous client is the same client: the same answers and errors, and many calls that wait at once."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.modeling.library.adapter import LibraryMaskedLM
from foundation.errors import ConfigError, ServingError
from serving.client import transport_errors
from serving.client.fill_mask_client import AsyncFillMaskClient, FillMaskClient
from serving.client.rest_transport import MAX_CONNECTIONS
from serving.client.waiting import run_at_once, sleep_async

ANSWER = {
    **{"score": [[[0.5]]], "token": [[[7]]], "token_str": [[["a"]]], "sequence": [[["a b"]]]},
    **{"status": ["ok"], "num_masks": [1], "num_tokens": [4]},
}
TEXTS = ["The <mask> of a list.", "A <mask> is a <mask> of words, <mask>.", "<mask>"]


@pytest.fixture(scope="module")
def addresses(byte_level_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:

    from components.modeling.checkpoint import build_masked_lm
    from serving.graph.signatures import TextSignatures
    from serving.graph.tokenizers.build import build_in_graph_tokenizer
    from serving.server.models.served_models import load
    from serving.server.server import running

    path: Path = tmp_path_factory.mktemp("models") / "fill_mask"
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = build_masked_lm("roberta", {**sizes, "initializer_range": 0.5}, byte_level_tokenizer, seed=0)
    in_graph = build_in_graph_tokenizer(byte_level_tokenizer, model.config.vocab_size)
    text = TextSignatures(LibraryMaskedLM(model), in_graph, top_k=5, max_top_k=50, max_sequence_length=64)
    text.save(path / "1")
    loaded = load(path)
    with running([loaded]) as at:
        yield at
    loaded.close()


@pytest.fixture(params=["REST", "gRPC"])
def url(request: pytest.FixtureRequest, addresses: Any) -> str:
    return addresses.rest if request.param == "REST" else f"grpc://{addresses.grpc}"


def test_both_give_the_same(url: str) -> None:
    with FillMaskClient(url) as client:
        expected = [client.fill_mask(TEXTS), client.fill_mask(TEXTS[0], top_k=2), client.fill_mask([])]

    async def ask() -> list[Any]:
        async with AsyncFillMaskClient(url) as client:
            return list(
                await asyncio.gather(client.fill_mask(TEXTS), client.fill_mask(TEXTS[0], top_k=2), client.fill_mask([]))
            )

    assert asyncio.run(ask()) == expected


def message(error: type[Exception], url: str, model: str, text: str, **arguments: Any) -> tuple[str, str]:
    with FillMaskClient(url, model) as client, pytest.raises(error) as blocking:
        client.fill_mask(text, **arguments)

    async def ask() -> None:
        async with AsyncFillMaskClient(url, model) as client:
            await client.fill_mask(text, **arguments)

    with pytest.raises(error) as waiting:
        asyncio.run(ask())
    assert type(blocking.value) is type(waiting.value)
    return str(blocking.value), str(waiting.value)


@pytest.mark.parametrize(
    ("error", "model", "text", "arguments"),
    [
        (ServingError, "fill_mask", "no mask", {}),
        (ServingError, "fill_mask", "<mask>", {"top_k": 51}),
        (transport_errors.UnknownModelError, "nope", "<mask>", {}),
        (ConfigError, "fill_mask", "<mask>", {"top_k": 0}),
    ],
)
def test_both_tell_the_same_errors(
    url: str, error: type[Exception], model: str, text: str, arguments: dict[str, Any]
) -> None:
    one, other = message(error, url, model, text, **arguments)
    assert one == other


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_no_server(scheme: str) -> None:
    one, other = message(transport_errors.OutOfReachError, f"{scheme}://127.0.0.1:9", "m", "<mask>")
    assert "python -m serving" in one
    assert "python -m serving" in other


@contextmanager
def overloaded(until: threading.Event) -> Iterator[tuple[str, list[int]]]:
    """A real HTTP server that waits for an event and then says that it has no room."""
    asked: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked.append(1)
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            until.wait(60)
            body = b'{"error": "no room"}'
            self.send_response(503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_waiting_leaves_the_loop_free_and_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_errors, "FIRST_DELAY_SECONDS", 0.05)
    until = threading.Event()

    async def let_the_server_answer(asked: list[int]) -> None:
        while not asked:
            await asyncio.sleep(0.005)
        until.set()

    async def ask(url: str, asked: list[int]) -> None:
        async with AsyncFillMaskClient(url, retries=1, timeout_seconds=30) as client:
            # The server answers only if this gets its turn while the client waits.
            letting = asyncio.create_task(let_the_server_answer(asked))
            with pytest.raises(transport_errors.OverloadedError, match=r"no room \(2 times\)"):
                await client.fill_mask("<mask>")
            await letting

    with overloaded(until) as (url, asked):
        asyncio.run(ask(url, asked))
        assert len(asked) >= 2


def test_of_many_calls_over_rest_some_wait_for_their_turn() -> None:
    calls = 3 * MAX_CONNECTIONS
    under_way: list[int] = [0]
    body = json.dumps({"outputs": ANSWER}).encode()

    async def ask() -> list[Any]:
        are_many = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))
            under_way.append(under_way[-1] + 1)
            if under_way[-1] >= MAX_CONNECTIONS:
                are_many.set()
            await are_many.wait()
            await asyncio.sleep(0.01)  # time for too many to come
            under_way.append(under_way[-1] - 1)
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=calls)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, AsyncFillMaskClient(url) as client:
            return await asyncio.gather(*[client.fill_mask("<mask>") for _ in range(calls)])

    assert len(asyncio.run(ask())) == calls
    assert max(under_way) == MAX_CONNECTIONS


def test_a_coroutine_that_would_wait_is_no_blocking_one() -> None:
    with pytest.raises(RuntimeError, match="never hands over"):
        run_at_once(sleep_async(0))
