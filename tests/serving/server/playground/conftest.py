"""A server over a small masked language model, and a browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.modeling.library.adapter import LibraryMaskedLM
from tests.serving.server.playground.browser import CHROMIUM, Page, chromium


@pytest.fixture(scope="session")
def base_path(byte_level_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights as version 1, and version 2 beside the base path, ready to be moved in."""

    from components.modeling.checkpoint import build_masked_lm
    from serving.graph.signatures import TextSignatures
    from serving.graph.tokenizers.build import build_in_graph_tokenizer

    root = tmp_path_factory.mktemp("models")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = build_masked_lm("roberta", {**sizes, "initializer_range": 0.5}, byte_level_tokenizer, seed=0)
    in_graph = build_in_graph_tokenizer(byte_level_tokenizer, model.config.vocab_size)
    module = TextSignatures(LibraryMaskedLM(model), in_graph, top_k=5, max_top_k=50, max_sequence_length=64)
    for name in ("fill_mask/1", "2"):
        module.save(root / name)
    return root / "fill_mask"


@pytest.fixture(scope="session")
def url(base_path: Path) -> Iterator[str]:
    """The URL of a running server."""
    from serving.server.models.served_models import load
    from serving.server.server import running

    model = load(base_path)
    model.watch(0.1)
    with running([model]) as at:
        yield at.rest
    model.close()


@pytest.fixture(scope="session")
def tab() -> Iterator[Page]:
    """A browser's tab."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (on Debian: apt-get install --no-install-recommends chromium)")
    with chromium() as page:
        yield page


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """The tab, in which nothing may have gone wrong by the end."""
    tab.messages.clear()
    yield tab
    assert tab.messages == []
