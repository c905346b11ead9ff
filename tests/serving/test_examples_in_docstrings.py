"""The usage examples in the docstrings of public classes run as they stand, but for paths, ports and the model."""

import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import tensorflow as tf

from components.modeling.checkpoint import build_masked_lm
from components.modeling.library.adapter import as_masked_lm
from serving.client import AsyncFillMaskClient, FillMaskClient, TargetWarning
from serving.graph.signatures import TextSignatures, TokenSignatures
from serving.graph.tokenizers.build import build_in_graph_tokenizer
from serving.server.listener import bind
from serving.server.models.served_models import ServedModels, load
from serving.server.server import EmbeddedServer, running
from tests.docstring_examples import run_example


@pytest.fixture(scope="module")
def names(byte_level_tokenizer: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return {
        "tf": tf,
        "Path": Path,
        "tokenizer": byte_level_tokenizer,
        "model": as_masked_lm(build_masked_lm("roberta", sizes, byte_level_tokenizer, seed=0)),
        "build_in_graph_tokenizer": build_in_graph_tokenizer,
        "TextSignatures": TextSignatures,
        "TokenSignatures": TokenSignatures,
        "AutoTokenizer": SimpleNamespace(from_pretrained=lambda _: byte_level_tokenizer),
    }


@pytest.fixture(scope="module")
def base_path(names: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the example of TextSignatures saves."""
    root = tmp_path_factory.mktemp("models")
    run_example(TextSignatures, dict(names), {"fill_mask/1": str(root / "fill_mask/1")})
    return root / "fill_mask"


@pytest.fixture(scope="module")
def url(base_path: Path) -> Iterator[str]:
    model = load(base_path)
    with running([model]) as addresses:
        yield addresses.rest
    model.close()


def test_a_tokenizer_in_the_graph(names: dict[str, Any]) -> None:
    run_example(build_in_graph_tokenizer, dict(names), {})


def test_token_signatures(names: dict[str, Any], tmp_path: Path) -> None:
    found = run_example(TokenSignatures, dict(names), {"fill_mask/1": str(tmp_path / "1")})
    assert found["best"].shape == (5,)
    assert (tmp_path / "1/saved_model.pb").exists()


def test_the_client(url: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TargetWarning)
        found = run_example(FillMaskClient, {"FillMaskClient": FillMaskClient}, {"http://127.0.0.1:8501": url})
    assert len(found["others"]) == 2
    assert [len(answer) for answer in found["answers"]] == [2, 2]


def test_the_asynchronous_client(url: str) -> None:
    names = {"AsyncFillMaskClient": AsyncFillMaskClient, "asyncio": asyncio}
    found = run_example(AsyncFillMaskClient, names, {"http://127.0.0.1:8501": url})
    assert [len(answer) for answer in found["answers"]] == [5, 5]


def test_the_embedded_server(base_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = {"pipeline_root/serving/fill_mask": str(base_path)}
    server = {"EmbeddedServer": EmbeddedServer, "ServedModels": ServedModels, "bind": bind, "asyncio": asyncio}
    names = {**server, "Path": Path, "load": load, "running": running, "httpx": httpx}
    found = run_example(EmbeddedServer, names, {**path, "8501": "0", "8500": "0"})

    async def start_and_stop() -> None:
        stop = asyncio.Event()
        stop.set()
        await found["serve"](stop)

    asyncio.run(start_and_stop())
    run_example(running, names, path)
    assert "AVAILABLE" in capsys.readouterr().out
