"""Hub revisions and local digests, without network: a closed loopback port and a real HTTP server stand for the Hub."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.hub.reading import resolve_revision, source_digests
from foundation.errors import HubError

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def ask(code, endpoint, cache):
    """Runs code in a process of its own, because the Hub's client reads its settings when it is imported."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    lines = f"from components.hub.reading import *\nfrom foundation.errors import *\n{code}"
    return subprocess.run(
        [sys.executable, "-c", lines],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def tell(call):
    return f"try:\n    print({call})\nexcept HubError as error:\n    print('REFUSED', error)"


class Hub(BaseHTTPRequestHandler):
    """Answers as the Hub's API does for one model, one gated model and nothing else."""

    def do_GET(self):
        status, body, headers = 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
        if self.path.startswith("/api/models/tiny/model"):
            known = self.path.endswith("/tiny/model") or self.path.endswith("/revision/main")
            if known:
                status, headers = 200, {}
                body = {"id": "tiny/model", "sha": COMMIT, "siblings": [{"rfilename": "config.json"}]}
            else:
                headers = {"X-Error-Code": "RevisionNotFound"}
        if self.path.startswith("/api/models/closed/model"):
            status, headers = 403, {"X-Error-Code": "GatedRepo"}
        if self.path.startswith("/api/models/broken/model"):
            status, headers = 500, {}
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_commit_needs_no_network():
    assert resolve_revision("any/thing", "model", COMMIT) == COMMIT


def test_the_hub_answers(hub, tmp_path):
    calls = [
        "resolve_revision('tiny/model')",
        "resolve_revision('tiny/model', 'model', 'nope')",
        "resolve_revision('no/such')",
        "resolve_revision('closed/model')",
        "resolve_revision('broken/model')",
    ]
    answers = ask("\n".join(map(tell, calls)), hub, tmp_path).stdout.splitlines()
    assert answers[0] == COMMIT
    assert "a revision must be a branch, tag or commit" in answers[1]
    assert "the Hub must have the model" in answers[2]
    assert "gated" in answers[3]
    assert "HTTP status 500" in answers[4]


def test_no_network_and_nothing_cached(tmp_path):
    done = ask(tell("resolve_revision('tiny/model')"), "http://127.0.0.1:9", tmp_path)
    assert done.stdout.startswith("REFUSED the Hugging Face Hub must be reachable")
    assert "Way out: connect" in done.stdout
    assert "--list" not in done.stdout
    # One word may be a run's name.
    said = ask(tell("resolve_revision('smal')"), "http://127.0.0.1:9", tmp_path).stdout
    assert "or write a run's name as --list shows it" in said


def test_no_network_but_a_cached_commit(tmp_path):
    reference = tmp_path / "hub" / "datasets--tiny--data" / "refs" / "refs" / "convert" / "parquet"
    reference.parent.mkdir(parents=True)
    reference.write_text(COMMIT)
    call = "resolve_revision('tiny/data', 'dataset', 'refs/convert/parquet')"
    assert ask(tell(call), "http://127.0.0.1:9", tmp_path).stdout.strip() == COMMIT


@pytest.mark.parametrize("name", ["a/b/c", "./nowhere", "with blank", ""])
def test_no_hub_id(name):
    with pytest.raises(HubError, match="named by a folder that exists or by a Hub id"):
        resolve_revision(name)


def test_digests_of_a_file_and_of_a_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    for name, content in {"a.txt": b"a", "sub/b.txt": b"b", ".git/head": b"c", "sub/.hidden": b"d"}.items():
        (tmp_path / name).write_bytes(content)
    expected = {"a.txt": hashlib.sha256(b"a").hexdigest(), "sub/b.txt": hashlib.sha256(b"b").hexdigest()}
    assert source_digests(tmp_path) == expected
    assert source_digests(tmp_path / "a.txt") == {"a.txt": expected["a.txt"]}
    with pytest.raises(HubError, match="must exist"):
        source_digests(tmp_path / "nothing")
