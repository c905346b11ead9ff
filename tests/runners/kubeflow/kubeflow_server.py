"""A server on loopback that speaks what `--runner kubeflow` uses of Kubeflow Pipelines' REST API, v2beta1.

Its answers have the fields that Kubeflow's own have: https://github.com/kubeflow/pipelines, backend/api/v2beta1.
"""

import email
import email.policy
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml


class KubeflowServer(ThreadingHTTPServer):
    """Pipelines, versions, experiments and runs, in memory.

    Args:
        token: What requests must carry; None for nothing.
        answers: Statuses and bodies that are given instead, in the requests' order.
    """

    def __init__(self, token: str | None = None, answers: list[tuple[int, str]] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.token = token
        self.answers = answers or []
        self.pipelines: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, kind: str) -> tuple[int, Any]:
        """What a request is answered: the status, and what JSON holds."""
        match method, path.removeprefix("/apis/v2beta1/").split("/"):
            case "POST", ["pipelines", "upload"]:
                return self.upload(query, uploaded(body, kind))
            case "POST", ["pipelines", "upload_version"]:
                return 200, self.add_version(query["pipelineid"], query["name"], uploaded(body, kind))
            case "GET", ["pipelines", identity, "versions"]:
                found = [version for version in self.versions if version["pipeline_id"] == identity]
                found = found[:: -1 if query.get("sort_by") == "created_at desc" else 1]
                return 200, {"pipeline_versions": found[: int(query["page_size"])]}
            case "GET", ["pipelines" | "experiments" as kinds]:
                return 200, self.listed(kinds, query)
            case "POST", ["experiments"]:
                self.experiments.append({**json.loads(body), "experiment_id": f"e{len(self.experiments)}"})
                return 200, self.experiments[-1]
            case "POST", ["runs"]:
                return self.start(json.loads(body))
        return 404, {"code": 5, "message": "Not Found", "details": []}

    def upload(self, query: dict[str, str], text: str) -> tuple[int, Any]:
        """A new pipeline, with its first version."""
        if any(pipeline["display_name"] == query["name"] for pipeline in self.pipelines):
            return 409, {"error_message": f"The name {query['name']} already exist"}
        identity = f"p{len(self.pipelines)}"
        self.pipelines.append({"pipeline_id": identity, "display_name": query["name"], **keep(query, "namespace")})
        self.add_version(identity, query["name"], text)
        return 200, self.pipelines[-1]

    def add_version(self, pipeline_id: str, name: str, text: str) -> dict[str, Any]:
        documents = list(yaml.safe_load_all(text))
        identity = f"v{len(self.versions)}"
        content = {"pipeline_id": pipeline_id, "pipeline_version_id": identity, "display_name": name}
        self.versions.append({**content, "pipeline_spec": documents})
        return content

    def listed(self, kinds: str, query: dict[str, str]) -> dict[str, Any]:
        """What has a name; Kubeflow leaves an empty list out."""
        (predicate,) = json.loads(query["filter"])["predicates"]
        assert (predicate["operation"], predicate["key"]) == ("EQUALS", "display_name")
        found = [
            each
            for each in getattr(self, kinds)
            if each["display_name"] == predicate["stringValue"] and each.get("namespace") == query.get("namespace")
        ]
        return {kinds: found, "total_size": len(found)} if found else {}

    def start(self, body: dict[str, Any]) -> tuple[int, Any]:
        reference = body["pipeline_version_reference"]
        known = [(version["pipeline_id"], version["pipeline_version_id"]) for version in self.versions]
        if (reference["pipeline_id"], reference["pipeline_version_id"]) not in known:
            return 404, {"message": "no such version"}
        self.runs.append({**body, "run_id": f"run-{len(self.runs)}"})
        return 200, self.runs[-1]


class Handler(BaseHTTPRequestHandler):
    server: KubeflowServer

    def do_GET(self) -> None:
        self.respond()

    def do_POST(self) -> None:
        self.respond()

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        address = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(address.query))
        if self.server.answers:
            status, text = self.server.answers.pop(0)
        elif self.server.token is not None and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            given = self.headers.get("Authorization")
            status, text = 401, json.dumps({"message": f"not allowed with {given}"})
        else:
            kind = self.headers.get("Content-Type", "")
            status, content = self.server.answer(self.command, address.path, query, body, kind)
            text = json.dumps(content)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/dex/auth?state=1")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


def uploaded(body: bytes, kind: str) -> str:
    """The file of a form."""
    message = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\n\n" + body, policy=email.policy.HTTP)
    (part,) = message.iter_parts()
    assert part.get_param("name", header="content-disposition") == "uploadfile"
    return part.get_payload(decode=True).decode()


def keep(query: dict[str, str], *names: str) -> dict[str, str]:
    return {name: query[name] for name in names if name in query}


@contextmanager
def serving(**options: Any) -> Iterator[KubeflowServer]:
    """A server that answers while the context lasts."""
    with KubeflowServer(**options) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
