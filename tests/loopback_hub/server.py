"""A Hugging Face Hub on loopback: the HTTP API and LFS, as `huggingface_hub` uses them.

A client reaches it by `HF_ENDPOINT` alone.
"""

import contextlib
import dataclasses
import re
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.loopback_hub.faults import Faults
from tests.loopback_hub.handler import Handler
from tests.loopback_hub.storage import Repository


@dataclasses.dataclass
class Account:
    """Who a token belongs to.

    Attributes:
        name: The user's name.
        role: What the token may do: `read`, `write` or `fineGrained`.
        organizations: Roles (`read`, `write`, `admin`) by organization.
        writable: Namespaces that a fine-grained token may write to.
    """

    name: str
    role: str = "write"
    organizations: dict[str, str] = dataclasses.field(default_factory=dict)
    writable: tuple[str, ...] = ()

    def may_write(self, namespace: str) -> bool:
        """Whether the token writes to a namespace."""
        if self.role == "fineGrained":
            return namespace in self.writable
        member = namespace == self.name or self.organizations.get(namespace) in ("write", "admin")
        return self.role == "write" and member

    def may_read(self, namespace: str) -> bool:
        """Whether the token sees a namespace's private repositories."""
        return namespace == self.name or namespace in self.organizations

    def whoami(self) -> dict[str, Any]:
        """The answer of `/api/whoami-v2`."""
        token: dict[str, Any] = {"displayName": "test", "role": self.role}
        if self.role == "fineGrained":
            token["fineGrained"] = {
                "canReadGatedRepos": False,
                "global": [],
                "scoped": [
                    {"entity": {"type": "user", "name": name}, "permissions": ["repo.content.read", "repo.write"]}
                    for name in self.writable
                ],
            }
        return {
            "type": "user",
            "name": self.name,
            "fullname": self.name.title(),
            "orgs": [{"type": "org", "name": n, "roleInOrg": role} for n, role in self.organizations.items()],
            "auth": {"type": "access_token", "accessToken": token},
        }


@dataclasses.dataclass
class Request:
    """A line of the hub's journal.

    Attributes:
        method: The HTTP method.
        path: The path with its query.
        status: What was answered; 0 if the connection was cut.
        received: Bytes of the body.
    """

    method: str
    path: str
    status: int
    received: int


class Hub:
    """The hub's state, which a test sets and looks at while the server runs.

    Args:
        directory: Where repositories and large files lie.

    Attributes:
        endpoint: The URL for `HF_ENDPOINT`.
        accounts: Accounts by token.
        repositories: Repositories by `namespace/name`.
        faults: What goes wrong.
        journal: Every request that was answered.
        multipart_bytes: Larger files are uploaded in parts of this size.
        page: Files in a page of a tree listing.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.large = directory / "large"
        self.large.mkdir(parents=True)
        self.endpoint = ""
        self.accounts: dict[str, Account] = {}
        self.repositories: dict[str, Repository] = {}
        self.faults = Faults()
        self.journal: list[Request] = []
        self.multipart_bytes = 5 * 1024 * 1024
        self.page = 10
        self.lock = threading.Lock()

    def create(self, repo_id: str, private: bool = False) -> Repository:
        """A new repository with the Hub's `.gitattributes` in it."""
        with self.lock:
            if repo_id in self.repositories:
                raise FileExistsError(repo_id)
            repository = Repository(self.directory / "git" / f"{repo_id}.git", self.large, private)
            self.repositories[repo_id] = repository
            return repository

    def sent(self, pattern: str = "") -> list[Request]:
        """Requests that changed something or tried to, whose path matches."""
        reading = re.compile(r"whoami|validate-yaml|/tree/|paths-info")
        writes = [request for request in self.journal if request.method in ("POST", "PUT", "DELETE")]
        return [r for r in writes if not reading.search(r.path) and re.search(pattern, r.path)]


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[Hub]:
    """Runs a hub in a thread, on a free port of 127.0.0.1."""
    hub = Hub(directory)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
