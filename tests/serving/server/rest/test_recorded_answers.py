"""What TensorFlow Serving 2.20 answered to hundreds of requests, put to the embedded server.

`recorded_answers.jsonl` has a request a line, with what came back: `request` and `body` are the bytes as Latin-1. They
were recorded over loopback, without batching, from versions 1 and 2 of the model that `recorded_model` writes, with the
labels `stable` and `canary`.
"""

import http.client
import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

RECORDED = Path(__file__).with_name("recorded_answers.jsonl")
NOT_ITS_OWN = {
    "GET /": "the playground stands there",
    "HEAD root": "the playground stands there",
}
OWN_WORDS = {
    r"JSON Parse error: ": "Python's parser names the mistake in other words",
    r"JSON Value: .* (to|expected) type: ": "numbers are quoted as they were sent, not as a double holds them",
    r"(instances|inputs) is a plain ": "names the inputs that are expected",
    r"Encountered list at unexpected ": "names the input",
    r"Conversion of JSON Value: ": "names the input",
    r"Missing named input: ": "names the first one that is missing; which one TensorFlow Serving names varies",
    r"Missing 'inputs' or ": "Python's parser doesn't read what is nested deeper than its stack",
    r"Expected (one|classification|regression) ": "says what the signature is instead",
    r"Feature: \w+ has ": "says the type that was sent",
    r"Failed to process element: 0 of .* JSON Value: \{\s*\"b64\"": "names the inputs that are expected",
}
"""TensorFlow Serving's messages, as patterns, in whose place this server's tell more, or as much."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    from serving.server.models.model_config import ModelConfig, VersionPolicy
    from serving.server.models.served_models import load_configured
    from serving.server.server import running
    from tests.serving.server.rest import recorded_model

    path = recorded_model.save(tmp_path_factory.mktemp("recorded") / "zoo")
    config = ModelConfig("zoo", path, VersionPolicy(latest=None), {"stable": 1, "canary": 2})
    model = load_configured(config)
    with running([model]) as at:
        yield int(at.rest.rpartition(":")[2])
    model.close()


def ask(port: int, request: bytes) -> tuple[int, str, bytes]:
    """Sends bytes, and reads the first answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection, method=request.partition(b" ")[0].decode("latin-1"))
        response.begin()
        return response.status, response.headers.get("Content-Type", ""), response.read()


def read(body: bytes) -> Any:
    """A body's values without the order of their keys, which isn't specified; numbers stay as they are written."""
    text = body.decode("utf-8", "surrogateescape")
    return json.loads(text, strict=False, parse_float=str, parse_int=str, parse_constant=str)


def difference(row: dict[str, Any], status: int, content_type: str, body: bytes) -> str | None:
    """In what an answer differs from the recorded one; None for nothing that counts."""
    wanted = row["body"].encode("latin-1")
    if status != row["status"]:
        return f"status {status}, not {row['status']}"
    if content_type != row["content_type"]:
        return f"type {content_type}, not {row['content_type']}"
    if body == wanted or row["request"].startswith("HEAD "):  # HTTP has no body for it
        return None
    if status == 200:
        return None if read(body) == read(wanted) else f"{body!r}, not {wanted!r}"
    said, recorded = (FUNCTION.sub(r"\1", read(one)["error"]) for one in (body, wanted))
    if said == recorded:
        return None
    return None if said and any(map(re.compile(recorded_in).match, [recorded])) else f"{said!r}, not {recorded!r}"


FUNCTION = re.compile(r"(__inference_\w+?)_\d+")  # numbered by what was traced before in the process
recorded_in = "|".join(f"(?s:{pattern})|(?s:.*Error: \\w+: {pattern})" for pattern in OWN_WORDS)


def test_it_answers_as_tensorflow_serving_does(port: int) -> None:
    rows = [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]
    assert len(rows) == 468
    differences = {}
    statuses: Counter[int] = Counter()
    for row in rows:
        if row["name"] in NOT_ITS_OWN:
            continue
        answer = ask(port, row["request"].encode("latin-1"))
        statuses[answer[0]] += 1
        if (found := difference(row, *answer)) is not None:
            differences[row["name"]] = found
    assert not differences, "\n".join(f"{name}: {found}" for name, found in differences.items())
    assert {200, 400, 404, 501} <= set(statuses)
