"""A real S3 server for all tests of a session, and a bucket of its own for each."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from runners.remote.address import STAGING
from runners.remote.leases import SECONDS
from runners.remote.root import RemoteRoot, open_root
from tests.s3_server import S3Server, environment
from tests.spoiling_proxy import SpoilingProxy

Machine = Callable[..., AbstractContextManager[RemoteRoot]]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Calls slow what needs the server: to make its environment takes a minute."""
    for item in items:
        if "s3" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def address(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A root in a new bucket, at the server itself."""
    bucket = f"bucket-{secrets.token_hex(4)}"
    s3.make_bucket(bucket)
    for name, value in environment(s3.url).items():
        monkeypatch.setenv(name, value)
    return f"s3://{bucket}/some/prefix"


@pytest.fixture
def proxy(s3: S3Server, address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpoilingProxy]:
    """A proxy in front of the server, which the environment names."""
    with SpoilingProxy(s3.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.fixture
def machine(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Opens the root as a machine with a name does: each has a staging directory of its own."""

    @contextmanager
    def opened(name: str, seconds: float | None = None, **options) -> Iterator[RemoteRoot]:
        monkeypatch.setenv(STAGING, str(tmp_path / name))
        if seconds is not None:
            monkeypatch.setenv(SECONDS, str(seconds))
        with open_root(address, **{"show": lambda line: None, **options}) as root:
            yield root

    return opened
