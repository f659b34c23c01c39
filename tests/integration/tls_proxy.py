"""What stunnel does: a port with TLS in front of one without."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

from tests.integration.shared_tls import shared


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Terminator:
    """The port, and how many handshakes came to an end."""

    def __init__(self, context: ssl.SSLContext, behind: int) -> None:
        self.handshakes = 0
        self._context = shared(context)
        self._behind = behind
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            client = self._context.wrap_socket(plain, server_side=True)
            self.handshakes += 1
            with client, socket.create_connection(("127.0.0.1", self._behind), 10) as application:
                back = threading.Thread(target=_copy, args=(application, client), daemon=True)
                back.start()
                _copy(client, application)
                back.join(10)

    def close(self) -> None:
        """Accept nothing more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def terminator(behind: int, certificate: str) -> Iterator[Terminator]:
    """TLS with the PEM file `certificate` (chain and key) in front of 127.0.0.1:`behind`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    running = Terminator(context, behind)
    try:
        yield running
    finally:
        running.close()
