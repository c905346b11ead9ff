"""An HTTP proxy on loopback in front of an S3 server, which counts requests, and spoils some of them."""

import http.client
import random
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KINDS = ("500", "503", "reset", "lost answer", "cut body")
HOP_BY_HOP = ("transfer-encoding", "connection", "keep-alive", "content-length")


class SpoilingProxy:
    """Passes requests on to a server at a port, and spoils a share of them.

    Attributes:
        share: What part of the requests is spoiled, by chance.
        requests: Method and path of each, in order.
        spoiled: How many were spoiled, by kind.
        bytes_down: Bytes of the bodies that were answered.
        before: Called with method and path before a request is passed on.
        forbidden: Methods that are answered with AccessDenied.
        without_condition: Whether answers don't say which condition of a request wasn't met; some servers don't.
        not_implemented: Names of headers, in lower case, whose requests are answered with NotImplemented.
        without_headers: Names of headers, in lower case, that aren't passed on.
    """

    def __init__(self, port: int, share: float = 0.0, seed: int = 1) -> None:
        self.share = share
        self.requests: list[tuple[str, str]] = []
        self.spoiled = dict.fromkeys(KINDS, 0)
        self.bytes_down = 0
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.forbidden: set[str] = set()
        self.without_headers: set[str] = set()
        self.not_implemented: set[str] = set()
        self.without_condition = False
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                kind = proxy._begin(self.command, self.path)
                if kind in ("500", "503"):
                    self._refuse(int(kind), {"500": "InternalError", "503": "SlowDown"}[kind])
                    return
                if self.command in proxy.forbidden:
                    self._refuse(403, "AccessDenied")
                    return
                if proxy.not_implemented & {name.lower() for name in self.headers}:
                    self._refuse(501, "NotImplemented")
                    return
                if kind == "reset":
                    self._reset()
                    return
                headers = {
                    each: value for each, value in self.headers.items() if each.lower() not in proxy.without_headers
                }
                server = http.client.HTTPConnection("127.0.0.1", port)
                server.request(self.command, self.path, body, headers)
                answer = server.getresponse()
                data = answer.read()
                server.close()
                if proxy.without_condition and answer.status == 412:
                    self._refuse(412, "PreconditionFailed")
                    return
                if kind == "lost answer":
                    self._reset()
                    return
                headers = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
                length = int(answer.getheader("Content-Length") or len(data))
                with proxy._lock:
                    proxy.bytes_down += len(data)
                self._answer(answer.status, headers, data, length, cut=kind == "cut body")

            def _answer(
                self, status: int, headers: dict[str, str], data: bytes, length: int | None = None, cut: bool = False
            ) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data) if length is None else length))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if cut else data)
                if cut:
                    self._reset()

            def _refuse(self, status: int, code: str) -> None:
                self._answer(status, {}, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

            def _reset(self) -> None:
                # Unread data, and a time of zero to send what is left, make of the end a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True

            def log_message(self, *arguments: object) -> None:
                pass

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: object) -> None:
                pass  # clients go away as they like

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def _begin(self, method: str, path: str) -> str | None:
        self.before(method, path)
        with self._lock:
            self.requests.append((method, path))
            if self._random.random() >= self.share:
                return None
            kind = self._random.choice(KINDS if method == "GET" else KINDS[:-1])
            self.spoiled[kind] += 1
            return kind

    def __enter__(self) -> "SpoilingProxy":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()
