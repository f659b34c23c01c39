"""A FastCGI application that does what a script says, exact to the byte, and counts what it ran."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)

# PHP-FPM resets the connection for more: 65535 less what padding to 8 bytes needs.
MAX_RECORD = 65528

Listen = tuple[str, int] | str
"""Where a socket listens: (host, port), or the path of a UNIX socket."""


class Request(NamedTuple):
    """A request as it was read: all of it, up to the empty STDIN record."""

    params: dict[bytes, bytes]
    stdin: bytes
    keeps_connection: bool
    connection: int
    """The number of the connection that it came on, in the order in which they were made."""

    @property
    def message_id(self) -> str:
        """WSGATE_MESSAGE_ID."""
        return self.params.get(b"WSGATE_MESSAGE_ID", b"").decode()


class Wait(NamedTuple):
    """Do nothing for some seconds."""

    seconds: float


class Hold(NamedTuple):
    """Do nothing until the event is set, or the gateway closes the connection."""

    event: threading.Event


CLOSE = "close"
"""End the connection with a FIN."""
RESET = "reset"
"""End the connection with a RST."""

Step = bytes | Wait | Hold | str
Script = Iterable[Step] | Callable[[Request], Iterable[Step]]


def record(
    type: int, content: bytes = b"", *, padding: int = 0, request_id: int = 1, version: int = 1
) -> bytes:
    """One record (FastCGI 1.0 §3.3)."""
    header = struct.pack(">BBHHBx", version, type, request_id, len(content), padding)
    return header + content + b"\xaa" * padding


def end(app_status: int = 0, protocol_status: int = 0, *, padding: int = 0) -> bytes:
    """END_REQUEST."""
    return record(END, struct.pack(">IB3x", app_status, protocol_status), padding=padding)


def stdout(data: bytes, size: int = MAX_RECORD) -> bytes:
    """STDOUT in records of at most `size` bytes."""
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(record(STDOUT, piece) for piece in pieces)


TEXT = b"Content-type: text/plain\r\n\r\n"


def answer(body: bytes, head: bytes = TEXT) -> bytes:
    """A whole answer, as PHP-FPM writes it."""
    return stdout(head + body) + end()


def slices(data: bytes, size: int = 1) -> Iterator[bytes]:
    """`data` in pieces; each is written by itself."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def echo(request: Request) -> Iterator[Step]:
    """The message, as what it was: text or binary."""
    binary = request.params.get(b"WSGATE_OPCODE") == b"binary"
    head = b"Content-type: application/octet-stream\r\n\r\n" if binary else TEXT
    yield answer(request.stdin, head)


class ScriptedFastCGI:
    """Listens on TCP (127.0.0.1) or on a UNIX socket, if `path` is given.

    A message whose body is a name given to `play` gets that script, each other one `default`, which
    is an echo. The request is always read to its end first.

    `runs` counts the requests per message id, `violations` are things no FastCGI client may send,
    `open` is the number of connections now, `most_open` the most there ever were.
    """

    def __init__(self, path: str | None = None, backlog: int = 512) -> None:
        self.default: Script = echo
        self.runs: Counter[str] = Counter()
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.accepted = 0
        self.open = 0
        self.most_open = 0
        self._backlog = backlog
        self._scripts: dict[bytes, Script] = {}
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.address: Listen = path or ("127.0.0.1", 0)
        self.start()

    @property
    def endpoint(self) -> str:
        """As a Twisted client endpoint string."""
        if isinstance(self.address, str):
            return f"unix:{self.address}"
        return f"tcp:127.0.0.1:{self.address[1]}"

    def play(self, name: bytes, *steps: Step, script: Script | None = None) -> bytes:
        """What happens to a message of this body; gives the body."""
        self._scripts[name] = steps if script is None else script
        return name

    def ran(self, stdin: bytes) -> int:
        """How often a message with this body was run."""
        return sum(request.stdin == stdin for request in list(self.requests))

    def start(self) -> None:
        """Listen, at the same address as before."""
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        listener = socket.socket(family)
        if isinstance(self.address, tuple):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self.address)
        listener.listen(self._backlog)
        if isinstance(self.address, tuple):
            self.address = listener.getsockname()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def stop(self) -> None:
        """Close the listening socket and all connections; a UNIX socket's file stays."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                # Wakes the thread in accept().
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
                self.accepted = number = self.accepted + 1
                self.open += 1
                self.most_open = max(self.most_open, self.open)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        if connection.family == socket.AF_INET:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with contextlib.suppress(OSError, EOFError):
                stream = connection.makefile("rb")
                with stream:
                    while self._serve_one(connection, stream, number):
                        pass
        finally:
            connection.close()
            with self._lock:
                self._connections.discard(connection)
                self.open -= 1

    def _serve_one(self, connection: socket.socket, stream, number: int) -> bool:
        request = self._read(stream, number)
        with self._lock:
            self.runs[request.message_id] += 1
            self.requests.append(request)
        script = self._scripts.get(request.stdin, self.default)
        for step in script(request) if callable(script) else script:
            if isinstance(step, bytes):
                connection.sendall(step)
            elif isinstance(step, Wait):
                time.sleep(step.seconds)
            elif isinstance(step, Hold):
                self._hold(connection, step.event)
            elif step == RESET:
                # With no time to linger, close() sends a RST.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            else:
                return False
        if request.keeps_connection:
            return True
        # As PHP-FPM: our side ends, then the gateway must close.
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
        return False

    @staticmethod
    def _hold(connection: socket.socket, event: threading.Event) -> None:
        connection.settimeout(0.02)
        try:
            while not event.is_set():
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(1):
                        raise EOFError
        finally:
            connection.settimeout(None)

    def _read(self, stream, number: int) -> Request:
        params, stdin, flags = b"", b"", 0
        while True:
            type, content, padding = self._read_record(stream)
            if type == BEGIN:
                role, flags = struct.unpack(">HB5x", content)
                self._require(role == 1, f"role {role}")
            elif type in (PARAMS, STDIN):
                self._require(bool(content) or not padding, "a padded end of a stream")
                if type == PARAMS:
                    params += content
                elif content:
                    stdin += content
                else:
                    break
            else:
                self._require(False, f"record type {type}")
        pairs = self._pairs(params)
        length = int(pairs.get(b"CONTENT_LENGTH", b"-1") or b"0")
        self._require(length == len(stdin), f"CONTENT_LENGTH {length}, STDIN {len(stdin)}")
        return Request(pairs, stdin, bool(flags & 1), number)

    def _read_record(self, stream) -> tuple[int, bytes, int]:
        header = stream.read(8)
        if len(header) < 8:
            raise EOFError
        version, type, request_id, size, padding = struct.unpack(">BBHHBx", header)
        self._require(version == 1 and request_id == 1, f"header {header.hex()}")
        self._require(size + padding <= 0xFFFF, f"a record of {size} + {padding} bytes")
        content = stream.read(size)
        if len(content) < size or len(stream.read(padding)) < padding:
            raise EOFError
        return type, content, padding

    def _pairs(self, data: bytes) -> dict[bytes, bytes]:
        pairs: dict[bytes, bytes] = {}
        at = 0
        while at < len(data):
            sizes = []
            for _ in range(2):
                if data[at] & 0x80:
                    sizes.append(int.from_bytes(data[at : at + 4], "big") & 0x7FFFFFFF)
                    at += 4
                else:
                    sizes.append(data[at])
                    at += 1
            name = data[at : at + sizes[0]]
            self._require(name not in pairs, f"{name!r} twice")
            pairs[name] = data[at + sizes[0] : at + sum(sizes)]
            at += sum(sizes)
        return pairs

    def _require(self, is_right: bool, text: str) -> None:
        if not is_right:
            self.violations.append(text)


@contextlib.contextmanager
def scripted(path: str | None = None, backlog: int = 512) -> Iterator[ScriptedFastCGI]:
    """A `ScriptedFastCGI` that is stopped in the end."""
    peer = ScriptedFastCGI(path, backlog)
    try:
        yield peer
    finally:
        peer.stop()
