"""A TCP proxy that is slow, narrow, cut short, or silent, as a test tells it."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Faults:
    """What happens to the bytes of one direction. May be changed while connections are open."""

    latency: float = 0.0
    """Seconds each piece is kept."""
    rate: float = 0.0
    """Bytes per second; 0: as fast as they come."""
    slice: int = 0
    """Longest piece that is written at once; 0: as they come."""
    cut_after: int | None = None
    """Bytes after which both sides get a FIN."""
    reset_after: int | None = None
    """Bytes after which both sides get a RST."""
    hole_after: int | None = None
    """Bytes after which nothing is read any more, and the sender's window fills up."""


class TCPProxy:
    """Listens on `port` of 127.0.0.1 and passes everything on to `target`.

    `target` is (host, port) or the path of a UNIX socket. `up` are the faults on the way to it,
    `down` those on the way back. `open` is the number of connections now.
    """

    def __init__(self, target: tuple[str, int] | str) -> None:
        self.target = target
        self.up = Faults()
        self.down = Faults()
        self.accepted = 0
        self.open = 0
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """As a Twisted client endpoint string."""
        return f"tcp:127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop listening and end all connections."""
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        far = socket.socket(socket.AF_UNIX if isinstance(self.target, str) else socket.AF_INET)
        try:
            far.connect(self.target)
        except OSError:
            near.close()
            far.close()
            return
        pair = (near, far)
        self._sockets.update(pair)
        self.open += 1
        ways = [
            threading.Thread(target=self._pump, args=(near, far, self.up), daemon=True),
            threading.Thread(target=self._pump, args=(far, near, self.down), daemon=True),
        ]
        for way in ways:
            way.start()
        for way in ways:
            way.join()
        self.open -= 1
        for one in pair:
            self._sockets.discard(one)
            one.close()

    def _pump(self, source: socket.socket, sink: socket.socket, faults: Faults) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while True:
                if faults.hole_after is not None and passed >= faults.hole_after:
                    self._over.wait()
                    return
                data = source.recv(int(min(faults.rate, 65536)) or 65536)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                limit = faults.cut_after if faults.cut_after is not None else faults.reset_after
                if limit is not None:
                    data = data[: limit - passed]
                self._pass(data, sink, faults)
                passed += len(data)
                if limit is not None and passed >= limit:
                    self._end(source, sink, reset=faults.reset_after is not None)
                    return

    def _pass(self, data: bytes, sink: socket.socket, faults: Faults) -> None:
        if faults.latency:
            self._over.wait(faults.latency)
        step = faults.slice or len(data) or 1
        for start in range(0, len(data), step):
            sink.sendall(data[start : start + step])
            if faults.slice:
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if faults.rate:
            time.sleep(len(data) / faults.rate)

    @staticmethod
    def _end(source: socket.socket, sink: socket.socket, *, reset: bool) -> None:
        for one in (source, sink):
            if reset and one.family == socket.AF_INET:
                _reset(one)
            else:
                one.shutdown(socket.SHUT_RDWR)


def _reset(connection: socket.socket) -> None:
    """Send a RST now, although another thread reads: connect(2) to AF_UNSPEC does."""
    nowhere = struct.pack("H14x", socket.AF_UNSPEC)
    ctypes.CDLL(None).connect(connection.fileno(), nowhere, len(nowhere))


@contextlib.contextmanager
def tcp_proxy(target: tuple[str, int] | str) -> Iterator[TCPProxy]:
    """A `TCPProxy` that is closed in the end."""
    proxy = TCPProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


@contextlib.contextmanager
def syn_hole() -> Iterator[int]:
    """A port of 127.0.0.1 at which connections are neither accepted nor refused.

    Linux drops each SYN for a listening socket whose queue is full.
    """
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield address[1]
