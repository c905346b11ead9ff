"""The routes of the test hub."""

import base64
import binascii
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.loopback_hub.faults import Fault
from tests.loopback_hub.storage import MissingRevision, Repository, as_json, pointer_of

REPO = r"(?P<repo>[^/]+/[^/]+?)"
LICENSES = ("apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "gpl-3.0", "other", "unknown")


class Answer(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str, code: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.retry_after = status, message, code, retry_after


class Handler(BaseHTTPRequestHandler):
    """One connection to the hub."""

    hub: ClassVar[Any]
    protocol_version = "HTTP/1.1"
    routes: ClassVar[list[tuple[str, str, str]]] = [
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("POST", r"/api/repos/create", "create"),
        ("GET", rf"/api/models/{REPO}", "info"),
        ("GET", rf"/api/models/{REPO}/revision/(?P<revision>[^/]+)", "info"),
        ("GET", rf"/api/models/{REPO}/auth-check", "auth_check"),
        ("GET", rf"/api/models/{REPO}/tree/(?P<revision>[^/]+)", "tree"),
        ("POST", rf"/api/models/{REPO}/paths-info/(?P<revision>[^/]+)", "paths_info"),
        ("GET", rf"/api/models/{REPO}/commits/(?P<revision>[^/]+)", "commits"),
        ("POST", rf"/api/models/{REPO}/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", rf"/api/models/{REPO}/commit/(?P<revision>[^/]+)", "commit"),
        ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
        ("GET", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_get"),
        ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})/(?P<part>\d+)", "lfs_put_part"),
        ("POST", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_complete"),
        ("POST", r"/lfs/(?P<oid>[0-9a-f]{64})/verify", "lfs_verify"),
        ("GET", rf"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "download"),
        ("HEAD", rf"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "download"),
    ]

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing: the journal has it."""

    def do_GET(self) -> None:
        self.handle_request()

    do_HEAD = do_POST = do_PUT = do_GET

    def handle_request(self) -> None:
        """Answers a request, or lets the fault happen that is switched on for it."""
        self.body = b""
        fault = self.hub.faults.take(self.command, self.path)
        try:
            if fault is not None and fault.cut_after is not None:
                self.rfile.read(min(fault.cut_after, int(self.headers.get("Content-Length", 0))))
                self.note(0)
                self.close_connection = True
                return
            self.body = self.read_body()
            status, headers, body = self.answer(fault)
        except Answer as refusal:
            status, body = refusal.status, as_json({"error": refusal.message})
            headers = {"Content-Type": "application/json", "X-Error-Message": refusal.message}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            if refusal.retry_after is not None:
                headers["Retry-After"] = str(refusal.retry_after)
            if status == 401:
                headers["WWW-Authenticate"] = "Basic"
        self.note(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def note(self, status: int) -> None:
        from tests.loopback_hub.server import Request

        with self.hub.lock:
            self.hub.journal.append(Request(self.command, self.path, status, len(self.body)))

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, fault: Fault | None) -> tuple[int, dict[str, str], bytes]:
        if fault is not None and fault.until is not None:
            fault.until.wait(120)
        if fault is not None and fault.status is not None:
            raise Answer(fault.status, "a fault of the test hub", retry_after=fault.retry_after)
        self.url = urlsplit(self.path)
        for method, pattern, name in self.routes:
            if method == self.command and (match := re.fullmatch(pattern, self.url.path)):
                route: Callable[..., Any] = getattr(self, name)
                made = route(**{key: unquote(value) for key, value in match.groupdict().items()})
                if isinstance(made, tuple):
                    return made
                return 200, {"Content-Type": "application/json"}, as_json(made)
        raise Answer(404, f"no such page: {self.command} {self.url.path}")

    # Who asks, and what for.

    def account(self) -> Any:
        """The account of the request's token; None without one."""
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                value = base64.b64decode(value).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                value = ""
        if not value:
            return None
        if value not in self.hub.accounts:
            raise Answer(401, "Invalid credentials in Authorization header")
        return self.hub.accounts[value]

    def repository(self, repo: str, write: bool = False) -> Repository:
        account = self.account()
        found = self.hub.repositories.get(repo)
        namespace = repo.split("/")[0]
        hidden = found is not None and found.private and not (account and account.may_read(namespace))
        if found is None or hidden:
            raise Answer(404 if account else 401, "Repository not found", code="RepoNotFound")
        if write and account is None:
            raise Answer(401, "Invalid username or password.")
        if write and not account.may_write(namespace):
            raise Answer(403, "You don't have the rights to write to this repository")
        return found  # type: ignore[no-any-return]

    def json(self) -> Any:
        return json.loads(self.body)

    # The API.

    def whoami(self) -> Any:
        account = self.account()
        if account is None:
            raise Answer(401, "Invalid username or password.")
        return account.whoami()

    def validate_yaml(self) -> Any:
        content = self.json()["content"]
        match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        if match is None:
            return {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}
        card = yaml.safe_load(match[1])
        if card.get("license") not in LICENSES:
            message = '"license" must be one of ' + ", ".join(LICENSES)
            return (
                400,
                {"Content-Type": "application/json"},
                as_json({"errors": [{"message": message}], "warnings": []}),
            )
        return {"errors": [], "warnings": []}

    def create(self) -> Any:
        account, wanted = self.account(), self.json()
        if account is None:
            raise Answer(401, "Invalid username or password.")
        namespace = wanted.get("organization") or account.name
        if not account.may_write(namespace):
            raise Answer(403, f'You don\'t have the rights to create a model under the namespace "{namespace}"')
        repo = f"{namespace}/{wanted['name']}"
        try:
            self.hub.create(repo, private=bool(wanted.get("private")))
        except FileExistsError as error:
            raise Answer(409, "You already created this model repo") from error
        return {"url": f"{self.hub.endpoint}/{repo}", "name": repo}

    def commit_of(self, repository: Repository, revision: str) -> str:
        try:
            return repository.resolve(revision)
        except MissingRevision as error:
            raise Answer(404, f"Invalid rev id: {revision}", code="RevisionNotFound") from error

    def info(self, repo: str, revision: str = "main") -> Any:
        repository = self.repository(repo)
        commit = self.commit_of(repository, revision)
        siblings = [{"rfilename": path} for path in repository.files(commit)]
        return {
            "_id": hashlib.md5(repo.encode()).hexdigest()[:24],
            "id": repo,
            "modelId": repo,
            "author": repo.split("/")[0],
            "sha": commit,
            "private": repository.private,
            "disabled": False,
            "gated": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": siblings,
        }

    def auth_check(self, repo: str) -> Any:
        self.repository(repo)
        return {}

    def tree(self, repo: str, revision: str) -> Any:
        repository = self.repository(repo)
        query = parse_qs(self.url.query)
        items = list(repository.files(self.commit_of(repository, revision)).values())
        start = int(query.get("cursor", ["0"])[0])
        headers = {"Content-Type": "application/json"}
        if start + self.hub.page < len(items):
            following = f"{self.hub.endpoint}{self.url.path}?recursive=true&cursor={start + self.hub.page}"
            headers["Link"] = f'<{following}>; rel="next"'
        return 200, headers, as_json(items[start : start + self.hub.page])

    def paths_info(self, repo: str, revision: str) -> Any:
        repository = self.repository(repo)
        files = repository.files(self.commit_of(repository, revision))
        return [files[path] for path in parse_qs(self.body.decode()).get("paths", []) if path in files]

    def commits(self, repo: str, revision: str) -> Any:
        author = [{"user": "hub"}]
        date = "2026-01-01T00:00:00.000Z"
        return [
            {"id": commit, "title": subject, "message": "", "authors": author, "date": date}
            for commit, subject in self.repository(repo).log()
        ]

    def preupload(self, repo: str, revision: str) -> Any:
        repository = self.repository(repo, write=True)
        known = repository.files()
        files = []
        for file in self.json()["files"]:
            path = file["path"]
            large = repository.is_large(path, file["size"], base64.b64decode(file["sample"]))
            oid = known[path].get("lfs", known[path])["oid"] if path in known else None
            mode = "lfs" if large else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": files}

    def commit(self, repo: str, revision: str) -> Any:
        repository = self.repository(repo, write=True)
        header: dict[str, Any] = {}
        files: dict[str, bytes] = {}
        deleted: list[str] = []
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "header":
                    header = value
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    if not (self.hub.large / value["oid"]).is_file():
                        raise Answer(400, f"LFS pointer pointed to a file that does not exist: {value['path']}")
                    files[value["path"]] = pointer_of(value["oid"], value["size"])
                case "deletedFile":
                    deleted.append(value["path"])
        if header.get("parentCommit") not in (None, repository.resolve("main")):
            raise Answer(412, "A commit has happened since. Please refresh and try again.")
        commit = repository.commit(header["summary"], files, deleted)
        return {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.endpoint}/{repo}/commit/{commit}"}

    def download(self, repo: str, revision: str, path: str) -> Any:
        repository = self.repository(repo)
        commit = self.commit_of(repository, revision)
        item = repository.files(commit).get(path)
        if item is None:
            raise Answer(404, "Entry not found", code="EntryNotFound")
        content = repository.read(path, commit)
        etag = item.get("lfs", item)["oid"]
        headers = {"Content-Type": "application/octet-stream", "X-Repo-Commit": commit, "ETag": f'"{etag}"'}
        return 200, {**headers, "Content-Length": str(len(content))}, content

    # LFS, for the API's client.

    def lfs_batch(self, repo: str) -> Any:
        wanted = self.json()
        upload = wanted["operation"] == "upload"
        self.repository(repo, write=upload)
        authorization = {"Authorization": self.headers["Authorization"]} if "Authorization" in self.headers else {}
        objects = []
        for item in wanted["objects"]:
            oid, size = item["oid"], item["size"]
            url = f"{self.hub.endpoint}/lfs/{oid}"
            present = (self.hub.large / oid).is_file()
            answer: dict[str, Any] = {"oid": oid, "size": size, "authenticated": True}
            if upload and not present:
                header: dict[str, str] = {}
                if "multipart" in wanted.get("transfers", []) and size > self.hub.multipart_bytes:
                    parts = math.ceil(size / self.hub.multipart_bytes)
                    header = {str(part): f"{url}/{part}" for part in range(1, parts + 1)}
                    header["chunk_size"] = str(self.hub.multipart_bytes)
                answer["actions"] = {
                    "upload": {"href": url, "header": header},
                    "verify": {"href": f"{url}/verify", "header": authorization},
                }
            elif not upload:
                answer["actions"] = {"download": {"href": url}}
            objects.append(answer)
        return 200, {"Content-Type": "application/vnd.git-lfs+json"}, as_json({"transfer": "basic", "objects": objects})

    def store(self, oid: str, content: bytes) -> None:
        if hashlib.sha256(content).hexdigest() != oid:
            raise Answer(400, "the content has another digest")
        partial = self.hub.large / f"{oid}.{time.monotonic_ns()}"
        partial.write_bytes(content)
        os.replace(partial, self.hub.large / oid)

    def lfs_put(self, oid: str) -> Any:
        self.store(oid, self.body)
        return {}

    def lfs_put_part(self, oid: str, part: str) -> Any:
        (self.hub.large / f"{oid}.part{part}").write_bytes(self.body)
        etag = hashlib.md5(self.body).hexdigest()
        return 200, {"ETag": f'"{etag}"'}, b""

    def lfs_complete(self, oid: str) -> Any:
        parts = [self.hub.large / f"{oid}.part{item['partNumber']}" for item in self.json()["parts"]]
        self.store(oid, b"".join(part.read_bytes() for part in parts))
        return {}

    def lfs_verify(self, oid: str) -> Any:
        stored = self.hub.large / oid
        if not stored.is_file() or stored.stat().st_size != self.json()["size"]:
            raise Answer(404, "the object was not uploaded")
        return {}

    def lfs_get(self, oid: str) -> Any:
        return 200, {"Content-Type": "application/octet-stream"}, (self.hub.large / oid).read_bytes()
