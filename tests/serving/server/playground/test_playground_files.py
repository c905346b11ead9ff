"""The page's files: what answers at `/`, and that nothing else changed by it."""

import asyncio
import html
import json
import re
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest

from serving.server.playground import Playground


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server without models."""
    from serving.server.server import running

    with running([]) as at:
        yield at.rest


@pytest.mark.parametrize(
    ("path", "kind"), [("/", "text/html"), ("/style.css", "text/css"), ("/script.js", "text/javascript")]
)
def test_its_files_are_served(url: str, path: str, kind: str) -> None:
    response = httpx.get(url + path, trust_env=False)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == f"{kind}; charset=utf-8"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert httpx.head(url + path, trust_env=False).status_code == 200


@pytest.mark.parametrize("path", ["/index.html", "/?x=1", "/style.css/", "/playground", "/v1", "//"])
def test_other_paths_stay_unknown(url: str, path: str) -> None:
    response = httpx.get(url + path, trust_env=False)
    assert (response.status_code, response.headers["Content-Type"]) == (404, "text/html")


def test_it_is_only_read(url: str) -> None:
    assert httpx.post(f"{url}/", content=b"x", trust_env=False).status_code == 404


def test_the_page_knows_the_models_whatever_they_are_called() -> None:
    model = SimpleNamespace(example='The "<mask>"', config=SimpleNamespace(labels={"stable": 1}))
    answer = Playground({"a/b": model, '"><script>b': model}).answer("GET", "/")
    assert answer is not None
    [written] = re.findall(r'<meta name="models" content="([^"]*)">', answer.body.decode())
    assert not set(written) & set("<>")
    assert json.loads(html.unescape(written)) == [
        {"name": name, "example": 'The "<mask>"', "labels": {"stable": 1}} for name in ("a/b", '"><script>b')
    ]


def test_it_answers_while_the_server_is_full() -> None:
    """It must not wait in the queue of predictions."""
    from serving.server.http_server import HttpServer
    from serving.server.limits.settings import Limits
    from serving.server.limits.workers import Workers
    from serving.server.listener import bind
    from serving.server.rest.service import RestService

    async def ask(listener: socket.socket) -> list[int]:
        workers = Workers(1, 1)
        server = HttpServer(RestService({}), workers, Limits(), Playground({}))
        await server.start(listener)
        workers.refuse_if_full = refuse  # type: ignore[method-assign]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", trust_env=False) as http:
            codes = [(await http.post("/v1/models/m:predict", json={})).status_code, (await http.get("/")).status_code]
        await server.stop()
        await workers.stop()
        return codes

    def refuse() -> None:
        from serving.server.status import Code, StatusError

        raise StatusError(Code.UNAVAILABLE, "full")

    with bind("127.0.0.1", 0) as listener:
        assert asyncio.run(ask(listener)) == [503, 200]
