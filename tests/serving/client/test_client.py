"""The client gives what transformers' fill-mask pipeline gives, and tells what went wrong."""

import asyncio
import datetime
import email.utils
import json
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.modeling.library.adapter import LibraryMaskedLM
from foundation.errors import ConfigError, ServingError
from serving.client import target_words, transport_errors
from serving.client.__main__ import main, to_json
from serving.client.fill_mask_client import AsyncFillMaskClient, FillMaskClient
from serving.client.fill_mask_requests import TruncationWarning
from serving.client.target_words import TargetWarning

TEXTS = ["The <mask> of a list.", "A <mask> is a <mask> of words, <mask>.", "<mask>", "Straße 😀 <mask>!"]


@pytest.fixture(scope="module")
def models(byte_level_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base path with text signatures, one with signatures for ids only, and their model and tokenizer."""

    from components.modeling.checkpoint import build_masked_lm, save_masked_lm
    from serving.graph.signatures import TextSignatures, TokenSignatures
    from serving.graph.tokenizers.build import build_in_graph_tokenizer

    root = tmp_path_factory.mktemp("models")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = build_masked_lm("roberta", {**sizes, "initializer_range": 0.5}, byte_level_tokenizer, seed=0)
    save_masked_lm(model, byte_level_tokenizer, root / "checkpoint")
    in_graph = build_in_graph_tokenizer(byte_level_tokenizer, model.config.vocab_size)
    text = TextSignatures(LibraryMaskedLM(model), in_graph, top_k=5, max_top_k=50, max_sequence_length=64)
    tokens = TokenSignatures(
        LibraryMaskedLM(model), byte_level_tokenizer.mask_token_id, top_k=5, max_sequence_length=64
    )
    text.save(root / "fill_mask/1")
    tokens.save(root / "ids/1")
    return root


@pytest.fixture(scope="module")
def addresses(models: Path) -> Iterator[Any]:
    from serving.server.models.served_models import load
    from serving.server.server import running

    loaded = [load(models / "fill_mask"), load(models / "ids")]
    with running(loaded) as at:
        yield at
    for model in loaded:
        model.close()


@pytest.fixture(scope="module")
def wordpiece(wordpiece_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server with a model whose tokenizer is a WordPiece."""

    from components.modeling.checkpoint import build_masked_lm
    from serving.graph.signatures import TextSignatures
    from serving.graph.tokenizers.build import build_in_graph_tokenizer
    from serving.server.models.served_models import load
    from serving.server.server import running

    base_path = tmp_path_factory.mktemp("wordpiece") / "fill_mask"
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = build_masked_lm("bert", sizes, wordpiece_tokenizer, seed=0)
    in_graph = build_in_graph_tokenizer(wordpiece_tokenizer, model.config.vocab_size)
    text = TextSignatures(LibraryMaskedLM(model), in_graph, top_k=5, max_top_k=50, max_sequence_length=64)
    text.save(base_path / "1")
    loaded = load(base_path)
    with running([loaded]) as at:
        yield at.rest
    loaded.close()


@pytest.fixture(scope="module")
def url(addresses: Any) -> str:
    return addresses.rest


@pytest.fixture(scope="module", params=["REST", "gRPC"])
def any_url(request: pytest.FixtureRequest, addresses: Any) -> str:
    return addresses.rest if request.param == "REST" else f"grpc://{addresses.grpc}"


@pytest.fixture(scope="module")
def pipeline(models: Path) -> Callable[..., Any]:
    """Transformers' own, over the same model."""
    from transformers import AutoTokenizer, TFAutoModelForMaskedLM
    from transformers.pipelines import FillMaskPipeline

    # Its class, since the function `pipeline` of 4.57 fails where PyTorch is not installed.
    model = TFAutoModelForMaskedLM.from_pretrained(models / "checkpoint")
    tokenizer = AutoTokenizer.from_pretrained(models / "checkpoint")
    return FillMaskPipeline(model=model, tokenizer=tokenizer, framework="tf")


@pytest.fixture
def client(any_url: str) -> Iterator[FillMaskClient]:
    with FillMaskClient(any_url) as opened:
        yield opened


@pytest.fixture(params=["tokenizer in the graph", "tokenizer at the client"])
def either(request: pytest.FixtureRequest, any_url: str, models: Path) -> Iterator[FillMaskClient]:
    in_graph = request.param == "tokenizer in the graph"
    options = {} if in_graph else {"model": "ids", "tokenizer": models / "checkpoint"}
    with FillMaskClient(any_url, **options) as opened:
        yield opened


def assert_same(answer: Any, expected: Any) -> None:
    """Compares nested answers, scores within what float32 sums may differ by."""
    assert type(answer) is type(expected)
    if isinstance(answer, list):
        assert len(answer) == len(expected)
        for one, other in zip(answer, expected, strict=True):
            assert_same(one, other)
        return
    assert list(answer) == list(expected)
    assert answer["score"] == pytest.approx(expected["score"], rel=1e-4)
    assert {**answer, "score": 0} == {**expected, "score": 0}


@pytest.mark.parametrize("texts", [*TEXTS, TEXTS[:1], TEXTS])
def test_answers_are_the_pipeline_s(
    either: FillMaskClient, pipeline: Callable[..., Any], texts: str | list[str]
) -> None:
    assert_same(either.fill_mask(texts), pipeline(texts))


@pytest.mark.parametrize("top_k", [1, 3])
def test_top_k(either: FillMaskClient, pipeline: Callable[..., Any], top_k: int) -> None:
    assert_same(either.fill_mask(TEXTS, top_k=top_k), pipeline(TEXTS, top_k=top_k))


def test_targets(client: FillMaskClient, pipeline: Callable[..., Any]) -> None:
    words = [" list", " of", "the"]
    assert_same(client.fill_mask(TEXTS[0], targets=words), pipeline(TEXTS[0], targets=words))


@pytest.fixture(scope="module")
def targets(byte_level_tokenizer: Any) -> dict[str, str]:
    """Words by what they are to the tokenizer: `split`, several tokens but one after a space, and others."""
    names = byte_level_tokenizer.get_vocab()
    found = (name[1:] for name in names if name.startswith("Ġ") and name[1:].isalpha() and len(name) > 4)
    split = next(word for word in found if word not in names and word.islower())
    [first, *_] = byte_level_tokenizer(split, add_special_tokens=False)["input_ids"]
    return {"split": split, "first": byte_level_tokenizer.decode([first])}


def test_a_target_that_is_no_single_token_is_warned_of_as_by_the_pipeline(
    client: FillMaskClient, pipeline: Callable[..., Any], targets: dict[str, str]
) -> None:
    word, first = targets["split"], targets["first"]
    with pytest.warns(TargetWarning) as noted:
        answer = client.fill_mask(TEXTS[0], targets=[word, " of"])
    [warning] = noted
    assert str(warning.message) == (
        f"`{word}` isn't one token: did you mean ` {word}`? Its first token, `{first}`, stands for it"
    )
    assert_same(answer, pipeline(TEXTS[0], targets=[word, " of"]))
    # Once is enough.
    assert_same(client.fill_mask(TEXTS[2], targets=[word]), pipeline(TEXTS[2], targets=[word]))


def test_other_targets_are_warned_of_by_what_they_are(client: FillMaskClient, targets: dict[str, str]) -> None:
    words = ["Ġof", " the", "zqxj🍕", f" {targets['split'].upper()}", "", f"{targets['split']} of"]
    with pytest.warns(TargetWarning) as noted:
        client.fill_mask(["no matter <mask>", "<mask> <mask>"], targets=words)
    assert [str(warning.message).partition(":")[0] for warning in noted] == [
        "`zqxj🍕` isn't one token",
        f"`{words[3]}` isn't one token",
        "`` has no token in the model's vocabulary",
        f"`{words[5]}` isn't one token",
    ]
    assert f"did you mean ` {targets['split']}`?" in str(noted[1].message)
    assert "did you mean" not in str(noted[0].message)


def test_a_long_list_of_targets_is_looked_at_in_part(url: str) -> None:
    words = [f"zq{number}" for number in range(1000)]
    with FillMaskClient(url) as client:
        for _ in range(2):
            with pytest.warns(TargetWarning) as noted:
                client.fill_mask("<mask>", targets=words)
            assert len(noted) == 100


def test_more_targets_than_a_request_takes(any_url: str, targets: dict[str, str]) -> None:
    with FillMaskClient(any_url, texts_per_request=2) as client, pytest.warns(TargetWarning) as noted:
        client.fill_mask("<mask>", targets=[" of", " the", " a", targets["split"], " in"])
    assert [targets["split"] in str(warning.message) for warning in noted] == [True]


@pytest.mark.parametrize(
    ("word", "stand_in", "tokens", "said"),
    [
        ("##ing", "##ing", 3, None),
        ("ĠcafÃ©", " café", 5, None),
        ("LIST", "list", 1, None),
        ("[UNK]", "[UNK]", 1, None),
        ("🍕", "[UNK]", 1, "its `[UNK]`, which means any such word, stands for it"),
        ("pizza", "p", 2, "isn't one token: its first, `p`, stands for it"),
        (" ", None, 0, "has no token"),
    ],
)
def test_what_is_said_of_a_target(word: str, stand_in: str | None, tokens: int, said: str | None) -> None:
    remark = target_words.remark(word, stand_in, tokens, None)
    assert remark is None if said is None else f"`{word}`" in remark and said in remark


@pytest.mark.slow
def test_wordpiece_s_targets(wordpiece: str) -> None:
    """Names of tokens and other casing of what is one token are as meant; what is unknown isn't."""
    with FillMaskClient(wordpiece) as client:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            client.fill_mask("a [MASK].", targets=["list", " list", "##s", "LIST"])
        with pytest.warns(TargetWarning) as noted:
            client.fill_mask("a [MASK].", targets=["𝄞𝄞", "listlist", "list\u200b"])
    assert [str(warning.message) for warning in noted] == [
        "`𝄞𝄞` isn't in the model's vocabulary: its `[UNK]`, which means any such word, stands for it",
        "`listlist` isn't one token: its first, `list`, stands for it",
    ]


def test_long_lists_go_in_several_requests(url: str) -> None:
    with FillMaskClient(url, texts_per_request=3) as client:
        assert_same(client.fill_mask(TEXTS * 3), [client.fill_mask(text) for text in TEXTS * 3])


def test_nothing_is_asked_for_no_text() -> None:
    with FillMaskClient("http://127.0.0.1:9") as client:  # where nobody listens
        assert client.fill_mask([]) == []


def test_a_text_without_a_mask_is_told_the_mask_token(either: FillMaskClient) -> None:
    with pytest.raises(ServingError, match=r"mask token \(<mask>\).*text 2: no mask here.*put <mask> into it"):
        either.fill_mask(["a <mask>", "no mask here"])


def test_too_many_tokens(either: FillMaskClient) -> None:
    with pytest.raises(ServingError, match=r"tokens.*[0-9]+ tokens in text 1: .*…"):
        either.fill_mask("<mask> words " * 40)


@pytest.mark.parametrize("top_k", [0, -1, True, 1.5, 2**31])
def test_a_top_k_that_cannot_be_meant(client: FillMaskClient, top_k: Any) -> None:
    with pytest.raises(ConfigError, match="top_k"):
        client.fill_mask("<mask>", top_k=top_k)


def test_a_top_k_beyond_the_export(either: FillMaskClient) -> None:
    with pytest.raises(ServingError, match=r"top_k must be at most|top_k must be at least 1 and at most"):
        either.fill_mask("<mask>", top_k=51)


@pytest.mark.parametrize("targets", [[], [""], "word", 5, ["two\nlines"]])
def test_targets_that_cannot_be_meant(client: FillMaskClient, targets: Any) -> None:
    with pytest.raises(ConfigError, match="targets"):
        client.fill_mask("<mask>", targets=targets)


def test_a_model_for_ids_asks_for_the_tokenizer(any_url: str) -> None:
    with FillMaskClient(any_url, "ids") as client:
        for top_k in (None, 3):
            with pytest.raises(ServingError, match="--tokenizer"):
                client.fill_mask("<mask>", top_k=top_k)


def test_an_unknown_model_is_named(any_url: str) -> None:
    with (
        FillMaskClient(any_url, "nope") as client,
        pytest.raises(ServingError, match=r"model named nope.*Latest\(nope\).*--model"),
    ):
        client.fill_mask("<mask>")


@pytest.mark.parametrize(("scheme", "option"), [("http", "--port"), ("grpc", "--grpc-port")])
def test_no_server_names_the_command(scheme: str, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        FillMaskClient(f"{scheme}://127.0.0.1:{port}") as client,
        pytest.raises(ServingError, match=rf"python -m serving --model-dir DIR {option} {port}"),
    ):
        client.fill_mask("<mask>")


@pytest.mark.parametrize(
    "wrong",
    [
        *["127.0.0.1:8501", "ftp://a", "http://", "", "http://a:99999", "http://a:85o1", "http://[::1", "http://a..b"],
        *["http://\0", "http://☃ß", "http://xn--"],
        *["grpc://a", "grpc://a:x", "grpc://a:99999", "grpc://[::1", "grpc://a..b:8500"],
    ],
)
def test_what_is_no_url(wrong: str) -> None:
    with pytest.raises(ConfigError, match="URL"):
        FillMaskClient(wrong)


@pytest.mark.parametrize("seconds", [float("inf"), 1e10])
def test_a_timeout_longer_than_timers_run(seconds: float) -> None:
    with pytest.raises(ConfigError, match="timeout_seconds must be at most"):
        FillMaskClient(timeout_seconds=seconds)


def test_grpc_needs_no_tensorflow_either() -> None:
    code = (
        "import sys\nfrom serving.client import FillMaskClient\nFillMaskClient('grpc://127.0.0.1:1').close()\n"
        "print('grpc' in sys.modules, sorted({'tensorflow', 'tensorflow_serving', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout == "True []\n"


def test_a_directory_without_a_tokenizer(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="--tokenizer"):
            FillMaskClient(tokenizer=path)


ANSWER = {
    "score": [[[0.5]]],
    "token": [[[7]]],
    "token_str": [[["a"]]],
    "sequence": [[["a b"]]],
    "status": ["ok"],
    "num_masks": [1],
    "num_tokens": [4],
}


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A real HTTP server's URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def scripted(*answers: Any) -> Iterator[tuple[str, list[int]]]:
    """A real HTTP server that gives one answer after the other: status (None drops the connection), body, headers."""
    left = list(answers)
    ports: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            ports.append(self.client_address[1])
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body, *headers = left.pop(0)
            if status is None:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or [{}])[0].items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            ports.append(self.client_address[1])
            self.send_error(501)

        def log_message(self, *_: Any) -> None:
            pass

    with http_server(Handler) as url:
        yield url, ports


OK = (200, json.dumps({"outputs": ANSWER}).encode())
BUSY = (503, b'{"error": "no room"}')


def test_an_overloaded_server_is_asked_again_over_one_connection() -> None:
    with scripted(BUSY, (429, b""), OK) as (url, ports), FillMaskClient(url) as client:
        assert client.fill_mask("<mask> b") == [{"score": 0.5, "token": 7, "token_str": "a", "sequence": "a b"}]
    assert len(ports) == 3
    assert len(set(ports)) == 1


CANCELED = (499, b'{"error": "nobody waits for the answer any more"}')


def test_what_the_server_canceled_is_asked_again_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_errors, "FIRST_DELAY_SECONDS", 0.001)
    with scripted(CANCELED, BUSY, CANCELED, OK) as (url, ports), FillMaskClient(url) as client:
        assert client.fill_mask("<mask> b")
    assert len(ports) == 4
    with scripted(*[CANCELED] * 9) as (url, ports):
        with (
            FillMaskClient(url, retries=2) as client,
            pytest.raises(transport_errors.CanceledError, match=r"499 from .*: nobody"),
        ):
            client.fill_mask("<mask>")
        assert len(ports) == 3
        # The next pause would be longer than the time that is left.
        monkeypatch.setattr(transport_errors, "FIRST_DELAY_SECONDS", 1.0)
        with FillMaskClient(url, timeout_seconds=0.4) as client, pytest.raises(transport_errors.CanceledError):
            client.fill_mask("<mask>")
        assert len(ports) == 4


def test_a_server_that_says_when_to_come_back_is_asked_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_errors, "FIRST_DELAY_SECONDS", 0.001)
    began = time.monotonic()
    with scripted((503, b"{}", {"Retry-After": "1"}), OK) as (url, _), FillMaskClient(url) as client:
        assert client.fill_mask("<mask> b")
    assert 1 <= time.monotonic() - began < 5


def test_how_long_a_server_may_have_a_client_wait() -> None:
    soon = email.utils.format_datetime(datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=5))
    assert 3 < transport_errors.retry_after(soon) <= 5
    for header, seconds in (("2", 2), ("86400", 10), ("inf", 10), ("-3", 0), ("nan", 0), ("", 0), ("soon", 0)):
        assert transport_errors.retry_after(header) == seconds
    assert transport_errors.retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_a_batch_of_several_lengths_is_asked_again() -> None:
    clash = (
        400,
        b'{"error": "Tensors with name \'x:0\' from different tasks have different shapes"}',
    )
    with scripted(clash, OK) as (url, ports), FillMaskClient(url) as client:
        assert client.fill_mask("<mask> b")
    assert len(ports) == 2


def test_an_answer_that_reads_like_a_refused_batch_is_no_refusal() -> None:
    answer = {**ANSWER, "sequence": [[[transport_errors.CLASH]]]}
    with scripted((200, json.dumps({"outputs": answer}).encode())) as (url, ports), FillMaskClient(url) as client:
        assert client.fill_mask("<mask>")[0]["sequence"] == transport_errors.CLASH
    assert len(ports) == 1


def test_a_dropped_connection_is_asked_again() -> None:
    with scripted((None, b""), OK) as (url, _), FillMaskClient(url) as client:
        assert client.fill_mask("<mask> b")


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_errors, "FIRST_DELAY_SECONDS", 0.001)
    with scripted(*[BUSY] * 3) as (url, ports), FillMaskClient(url, retries=2) as client:
        with pytest.raises(ServingError, match=r"503 from .*: no room \(3 times\)"):
            client.fill_mask("<mask>")
        assert len(ports) == 3
    with (
        scripted(*[(None, b"")] * 2) as (url, _),
        FillMaskClient(url, retries=1) as client,
        pytest.raises(ServingError, match="broke"),
    ):
        client.fill_mask("<mask>")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((500, b'{"error": "XLA compilation disabled"}'), "500 from .*: XLA compilation disabled"),
        ((500, b"<html>"), "500 from .*: <html>"),
        ((200, b"<html>"), "another program"),
        ((200, b'{"outputs": 1}'), "another program"),
        ((200, b"[1]"), "another program"),
    ],
)
def test_strange_answers_are_told(answer: tuple[int, bytes], message: str) -> None:
    with (
        scripted(answer) as (url, _),
        FillMaskClient(url) as client,
        pytest.raises(ServingError, match=message),
    ):
        client.fill_mask("<mask>")


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_never_answers(scheme: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        FillMaskClient(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=0.5) as client,
        pytest.raises(ServingError, match=r"within 0.5 seconds"),
    ):
        client.fill_mask("<mask>")


@contextmanager
def trickling() -> Iterator[tuple[str, list[str]]]:
    """A real HTTP server whose answer comes in small parts and takes 20 seconds, unless the client leaves."""
    asked: list[str] = []
    is_over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "400")
            self.end_headers()
            with suppress(ConnectionError):
                for _ in range(400):
                    self.wfile.write(b" ")
                    is_over.wait(0.05)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    with http_server(Handler) as url:
        try:
            yield url, asked
        finally:
            is_over.set()


@pytest.mark.parametrize("is_async", [False, True])
def test_an_answer_in_small_parts_has_no_longer_than_one_at_once(is_async: bool) -> None:
    async def ask_aside(url: str) -> None:
        async with AsyncFillMaskClient(url, timeout_seconds=0.5) as client:
            await client.fill_mask("<mask>")

    def ask(url: str) -> None:
        with FillMaskClient(url, timeout_seconds=0.5) as client:
            client.fill_mask("<mask>")

    with trickling() as (url, asked), pytest.raises(transport_errors.TooSlowError, match=r"within 0.5 seconds"):
        asyncio.run(ask_aside(url)) if is_async else ask(url)
    assert len(asked) <= 1  # nor is the model asked for its signatures then


@contextmanager
def scripted_grpc(*codes: Any) -> Iterator[tuple[str, list[Any]]]:
    """A real gRPC server that answers one status after the other; None for a call that it leaves open."""
    import grpc

    left = list(codes)
    stopped = threading.Event()

    def answer(request: bytes, context: Any) -> bytes:
        code = left.pop(0)
        if code is None:
            stopped.wait(30)
        context.abort(code or grpc.StatusCode.UNKNOWN, "no room")
        return b""

    handlers = {"Predict": grpc.unary_unary_rpc_method_handler(answer)}
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", handlers)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}", left
    finally:
        stopped.set()
        server.stop(None).wait()


def test_an_overloaded_grpc_server_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from grpc import StatusCode

    monkeypatch.setattr(transport_errors, "FIRST_DELAY_SECONDS", 0.001)
    codes = [StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.UNAVAILABLE]
    with scripted_grpc(*codes) as (url, left), FillMaskClient(url, retries=2) as client:
        with pytest.raises(ServingError, match=r"UNAVAILABLE from .*: no room \(3 times\)"):
            client.fill_mask("<mask>")
        assert left == []


def test_what_a_grpc_server_canceled_is_asked_again_but_not_what_the_client_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from grpc import StatusCode

    monkeypatch.setattr(transport_errors, "FIRST_DELAY_SECONDS", 0.001)
    with scripted_grpc(*[StatusCode.CANCELLED] * 3) as (url, left), FillMaskClient(url, retries=2) as client:
        with pytest.raises(transport_errors.CanceledError, match=r"CANCELLED from .*: no room"):
            client.fill_mask("<mask>")
        assert left == []
    with scripted_grpc(None, StatusCode.CANCELLED) as (url, left), ThreadPoolExecutor(1) as pool:
        client = FillMaskClient(url)
        asked = pool.submit(client.fill_mask, "<mask>")
        while len(left) == 2:
            time.sleep(0.01)
        client.close()
        with pytest.raises(transport_errors.CanceledError):
            asked.result(10)
        assert left == [StatusCode.CANCELLED]


def test_a_grpc_server_that_was_down_for_long_is_soon_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import grpc

    given: dict[str, Any] = {}
    open_channel = grpc.insecure_channel

    def note(target: str, options: Any) -> Any:
        given.update(options)
        return open_channel(target, options=options)

    monkeypatch.setattr(grpc, "insecure_channel", note)
    FillMaskClient("grpc://127.0.0.1:1").close()
    # To see the wait itself grow would take minutes.
    assert given["grpc.max_reconnect_backoff_ms"] <= 1000


def test_the_command_prints_what_the_pipeline_prints(
    url: str, pipeline: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([TEXTS[0], "--top-k", "3", "--url", url]) == 0
    printed = capsys.readouterr().out
    assert_same(json.loads(printed), pipeline(TEXTS[0], top_k=3))
    assert len(printed.splitlines()) == 5


def test_the_command_warns_in_a_line(url: str, targets: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    word = targets["split"]
    assert main([TEXTS[0], "--target", word, "--target", " of", "--url", url]) == 0
    said = capsys.readouterr()
    assert said.err.startswith(f"warning: `{word}` isn't one token: did you mean ` {word}`?")
    assert said.err.count("\n") == 1
    assert len(json.loads(said.out)) == 2


def test_the_command_tells_errors_in_a_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no mask", "--url", url]) == 1
    assert main(["<mask>", "--top-k", "0"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in errors] == ["error", "error"]


def test_json_is_laid_out_a_candidate_a_line() -> None:
    value = [[{"score": 0.5}, {"score": 0.25}], []]
    assert to_json(value) == '[\n  [\n    {"score": 0.5},\n    {"score": 0.25}\n  ],\n  []\n]'
    assert json.loads(to_json(value)) == value


def test_json_for_a_terminal_that_lacks_characters_is_the_same_json() -> None:
    value = [[{"token_str": " café \U0001f30d"}]]
    text = to_json(value, ascii_only=True)
    assert text.isascii()
    assert json.loads(text) == value


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "grpc://127.0.0.1:1"])
def test_the_client_needs_no_tensorflow(url: str) -> None:
    script = f"import sys, serving.client as c; c.FillMaskClient({url!r}).close(); print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


@pytest.fixture(scope="module")
def truncating(models: Path, byte_level_tokenizer: Any) -> Iterator[str]:
    """The URL of a server whose model cuts long texts."""

    from components.modeling.checkpoint import load_masked_lm
    from serving.graph.signatures import TextSignatures
    from serving.graph.tokenizers.build import build_in_graph_tokenizer
    from serving.server.models.served_models import load
    from serving.server.server import running

    model = load_masked_lm(models / "checkpoint")
    in_graph = build_in_graph_tokenizer(byte_level_tokenizer, model.config.vocab_size)
    text = TextSignatures(
        LibraryMaskedLM(model), in_graph, top_k=5, max_top_k=50, max_sequence_length=16, truncation=True
    )
    text.save(models / "truncating/1")
    loaded = load(models / "truncating", "fill_mask")
    with running([loaded]) as at:
        yield at.rest
    loaded.close()


def test_a_text_that_the_model_cut_gets_a_warning_and_one_that_lost_its_masks_an_error(
    truncating: str, capsys: pytest.CaptureFixture[str]
) -> None:
    long, lost = "<mask> words " * 9, "words " * 40 + "<mask>"
    with FillMaskClient(truncating) as client:
        with pytest.warns(TruncationWarning, match=r"text 2 was cut to 16 of its \d\d tokens: <mask> words"):
            short_answer, long_answer = client.fill_mask(["<mask>", long])
        assert len(short_answer) == 5
        assert 1 < len(long_answer) < 9
        with pytest.raises(ServingError, match=r"within the 16 tokens.*\d\d tokens, all masks among those cut off"):
            client.fill_mask(lost)
    assert main([long, "--url", truncating]) == 0
    assert "warning: text 1 was cut to 16 of its" in capsys.readouterr().err
