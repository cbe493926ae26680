"""An S3 server on a bad day: a proxy that throttles and breaks connections on the way."""

import http.client
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

Fault: TypeAlias = Literal["throttle", "break", "cut"]
SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class FaultyProxy:
    """Passes requests on to `upstream`, but for those that `fault` names.

    `throttle` answers 503 SlowDown, `break` resets the connection without an answer, `cut` sends
    half of the answer's body and then resets it. `faults` counts what was done.
    """

    def __init__(self, upstream: str, fault: Callable[[int], Fault | None]) -> None:
        self.faults: Counter[str] = Counter()
        self._numbers = iter(range(10**9))
        self._lock = threading.Lock()
        place = urlsplit(upstream)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                """Silence."""

            def handle_any(self) -> None:
                with proxy._lock:
                    wanted = fault(next(proxy._numbers))
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if wanted == "break":
                    return self._reset(wanted)
                if wanted == "throttle":
                    proxy.faults[wanted] += 1
                    return self._answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
                # The client signed the proxy's host name, and the server checks what it is told.
                server = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
                server.request(self.command, self.path, body, dict(self.headers))
                response = server.getresponse()
                content = response.read()
                headers = {k: v for k, v in response.getheaders() if k.lower() not in HOP_HEADERS}
                if self.command == "HEAD":
                    headers["Content-Length"] = response.headers.get("Content-Length", "0")
                server.close()
                if wanted == "cut" and len(content) > 1:
                    headers["Content-Length"] = str(len(content))
                    self._head(response.status, headers)
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    return self._reset(wanted)
                return self._answer(response.status, headers, content)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

            def _head(self, status: int, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self._head(status, {"Content-Length": str(len(content)), **headers})
                if self.command != "HEAD":
                    self.wfile.write(content)

            def _reset(self, what: str) -> None:
                proxy.faults[what] += 1
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FaultyProxy":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
