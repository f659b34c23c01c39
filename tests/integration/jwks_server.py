"""A real server of keys, of http.server, over TLS or not, with all the faults of one."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Keys(ThreadingHTTPServer):
    """What it serves at /jwks is in its attributes; other paths have faults of their own."""

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.body = body
        self.status = 200
        self.cache_control = ""
        self.asked = 0
        self.let = threading.Event()
        self.let.set()

    def handle_error(self, *_: Any) -> None:
        """Clients that break off, or trust somebody else, are wanted."""


class _Asked(BaseHTTPRequestHandler):
    server: Keys
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked += 1
        fault = getattr(self, "do" + self.path.replace("/", "_"), None)
        if fault is not None:
            fault()
            return
        self.server.let.wait(60)
        self._send(self.server.status, self.server.body)

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.server.cache_control:
            self.send_header("Cache-Control", self.server.cache_control)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_redirect(self) -> None:
        self._send(302, b"", Location="/jwks")

    def do_huge(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b" " * 65536)

    def do_trickle(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.server.let.wait(0.1):
                self.wfile.write(b" ")

    def do_half(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"{")
        self.close_connection = True

    def do_nothing(self) -> None:
        self.close_connection = True

    def do_garbage(self) -> None:
        self.wfile.write(b"\x00\xff" * 100 + b"\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def keys_server(body: bytes = b"{}", certificate: str | None = None) -> Iterator[Keys]:
    """A server; `certificate` is a PEM file with its key, for TLS."""
    server = Keys(body)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.let.set()
        server.shutdown()
        server.server_close()
        thread.join()
