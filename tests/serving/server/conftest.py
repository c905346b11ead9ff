"""A server over the example model."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest


@pytest.fixture(scope="session")
def example_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example model as version 7 of a base path named `m`."""
    import example_model

    return example_model.save(tmp_path_factory.mktemp("models") / "m" / "7")


@pytest.fixture(scope="session")
def client(example_version: Path) -> Iterator[httpx.Client]:
    """An HTTP client of a running server with the example model, which allows a call 2 seconds."""
    from serving.served_models import load
    from serving.server import Limits, running

    model = load(example_version.parent, timeout_seconds=2.0)
    limits = Limits(body_bytes=1 << 20)
    with running([model], limits) as at, httpx.Client(base_url=at.rest, timeout=30, trust_env=False) as http:
        yield http
    model.close()
