"""A Hub on loopback: the endpoints that `datasets.load_dataset` asks for, over repositories held in memory."""

import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator

Repositories = dict[str, dict[str, dict[str, bytes]]]
"""Content by repository, revision and file name."""


def commit_of(repository: str, revision: str) -> str:
    """The commit that a revision of a repository stands for."""
    return hashlib.sha1(f"{repository}@{revision}".encode()).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for `server.repositories`, and notes every request in `server.requests`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Keeps quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET(body)

    def do_GET(self, body: bytes = b"") -> None:
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path).strip("/")
        self.server.requests.append(f"{self.command} {path}")
        for repository, revisions in self.server.repositories.items():
            for revision, files in revisions.items():
                commit = commit_of(repository, revision)
                for name in (revision, commit):
                    if self.answer(repository, revision, name, commit, files, path, body):
                        return
            if path.startswith((f"api/datasets/{repository}/", f"datasets/{repository}/")):
                return self.send(404, b'{"error": "Revision"}', {"X-Error-Code": "RevisionNotFound"})
        return self.send(404, b'{"error": "Repository"}', {"X-Error-Code": "RepoNotFound"})

    def answer(
        self, repository: str, revision: str, name: str, commit: str, files: dict[str, bytes], path: str, body: bytes
    ) -> bool:
        api, resolve = f"api/datasets/{repository}", f"datasets/{repository}/resolve/{name}/"
        if path == f"{api}/revision/{name}" or (path == api and revision == "main"):
            siblings = [{"rfilename": file} for file in files]
            self.send_json({"_id": "0", "id": repository, "sha": commit, "siblings": siblings})
        elif path.startswith(resolve):
            self.send_file(path.removeprefix(resolve), commit, files)
        elif path == f"{api}/paths-info/{name}":
            wanted = urllib.parse.parse_qs(body.decode())["paths"] if b"{" not in body else json.loads(body)["paths"]
            self.send_json([entry for entry in self.tree(files, "", deep=True) if entry["path"] in wanted])
        elif path == f"{api}/tree/{name}" or path.startswith(f"{api}/tree/{name}/"):
            folder = path.removeprefix(f"{api}/tree/{name}").strip("/")
            entries = self.tree(files, folder, deep="recursive=true" in self.path.lower())
            if folder and not entries:
                self.send(404, b'{"error": "Entry"}', {"X-Error-Code": "EntryNotFound"})
            else:
                self.send_json(entries)
        else:
            return False
        return True

    def tree(self, files: dict[str, bytes], folder: str, *, deep: bool) -> list[dict]:
        """Files and folders below a folder, as the Hub lists them."""
        prefix = f"{folder}/" if folder else ""
        entries: dict[str, dict] = {}
        for name, content in files.items():
            if not name.startswith(prefix):
                continue
            parts = name.removeprefix(prefix).split("/")
            for depth in range(1, len(parts) if deep else min(len(parts), 2)):
                path = prefix + "/".join(parts[:depth])
                entries[path] = {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}
            if deep or len(parts) == 1:
                entries[name] = {"type": "file", "path": name, "oid": etag(content), "size": len(content)}
        return list(entries.values())

    def send_file(self, name: str, commit: str, files: dict[str, bytes]) -> None:
        if name not in files:
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        if self.command == "GET" and self.server.breaking.get(self.path.strip("/"), 0):
            self.server.breaking[self.path.strip("/")] -= 1
            return self.break_off(files[name])
        headers = {"ETag": f'"{etag(files[name])}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            return self.send(200, files[name], headers)
        content = files[name][int(wanted[1]) : int(wanted[2]) + 1 if wanted[2] else None]
        last = int(wanted[1]) + len(content) - 1
        return self.send(206, content, {**headers, "Content-Range": f"bytes {wanted[1]}-{last}/{len(files[name])}"})

    def break_off(self, content: bytes) -> None:
        """Ends the connection in the middle of a file."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True

    def send_json(self, value: object) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def etag(content: bytes) -> str:
    """What tells one content of a file from another: 40 hexadecimal digits, as git's."""
    return hashlib.sha1(content).hexdigest()


@contextlib.contextmanager
def serving(repositories: Repositories, breaking: dict[str, int] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Serves repositories from a thread.

    Args:
        repositories: What is served.
        breaking: How often the connection breaks off in the middle of a file, by the path of its URL.

    Yields:
        The URL for HF_ENDPOINT, and the list to which each request is added.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.repositories = repositories
    server.requests = []
    server.breaking = dict(breaking or {})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
