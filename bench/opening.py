"""Opening WebSockets: one message by hand, handshakes per second, and thousands of idle ones.

Plain sockets and epoll: the handshake is the same bytes each time, so a client library would only
cost the processor that the gateway needs.

usage: python -m bench.opening SPEC    SPEC is JSON: port, tls, and either
    {"hold": N}             opens half of N, prints "ready", waits for a line, opens the other half,
                            prints "ready", waits, ends
    {"seconds": S, "warm_up": S, "at_once": N}   prints "ready", waits, measures, prints JSON
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import sys
import time
from typing import Any

_REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
_CLOSE_1000 = b"\x88\x82\0\0\0\0\x03\xe8"
_QUESTION = b"\x81\x84\0\0\0\0?hey"
_ANSWER = b"\x81\x04!hey"
_AT_ONCE_WHEN_HOLDING = 64


def tls_context() -> ssl.SSLContext:
    """A client that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(port: int, tls: bool, message: bytes) -> bytes:
    """The answer to one short text message on a connection of its own; OSError if there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        connection = tls_context().wrap_socket(plain) if tls else plain
        connection.settimeout(5)
        connection.sendall(_REQUEST)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += _receive(connection)
        head, _, answer = answer.partition(b"\r\n\r\n")
        if _ACCEPT not in head:
            return head
        # Masked with zeros.
        connection.sendall(struct.pack("!BB4x", 0x81, 0x80 | len(message)) + message)
        while len(answer) < 2 or len(answer) < 2 + answer[1]:
            answer += _receive(connection)
        connection.sendall(_CLOSE_1000)
        return answer[2 : 2 + answer[1]]


def _receive(connection: socket.socket) -> bytes:
    if data := connection.recv(65536):
        return data
    raise ConnectionError("the gateway closed the connection")


class Opening:
    """One connection on its way: TLS, request, 101, and with `close` the closing handshake."""

    __slots__ = ("_answer", "_step", "began", "close", "socket")

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None, close: bool) -> None:
        self.began = time.perf_counter()
        self.close = close
        plain = socket.socket()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Loopback connects at once, or waits for room in the backlog.
        plain.connect(address)
        plain.setblocking(False)
        self._answer = b""
        self.socket = plain
        self._step = self._read_head
        if tls is None:
            plain.send(_REQUEST)
        else:
            self.socket = tls.wrap_socket(plain, do_handshake_on_connect=False)
            self._step = self._shake_hands

    def go_on(self) -> str | None:
        """Do what can be done: the result is "open" or "closed" when it came to that."""
        try:
            return self._step()
        except (ssl.SSLWantReadError, BlockingIOError):
            return None

    def _shake_hands(self) -> str | None:
        assert isinstance(self.socket, ssl.SSLSocket)
        self.socket.do_handshake()
        self.socket.send(_REQUEST)
        self._step = self._read_head
        return self._read_head()

    def _read_head(self) -> str | None:
        self._answer += _receive(self.socket)
        head, separator, _ = self._answer.partition(b"\r\n\r\n")
        if not separator:
            return None
        if not head.startswith(b"HTTP/1.1 101") or _ACCEPT not in head:
            raise ConnectionError(f"no 101 but {head[:100]!r}")
        self._answer = b""
        if self.close:
            self.socket.send(_CLOSE_1000)
            self._step = self._read_close
            return "open"
        # A connection that was never used would not have all that it needs in life.
        self.socket.send(_QUESTION)
        self._step = self._read_answer
        return self._read_answer()

    def _read_answer(self) -> str | None:
        self._answer += _receive(self.socket)
        if len(self._answer) < len(_ANSWER):
            return None
        if self._answer != _ANSWER:
            raise ConnectionError(f"the answer is {self._answer[:100]!r}")
        self._answer = b""
        return "open"

    def _read_close(self) -> str | None:
        # The answer, or the end alone: some leave the closing of TCP to the client.
        self.socket.recv(4096)
        self.socket.close()
        return "closed"


class Opener:
    """Keeps `at_once` connections on their way until it is told to stop."""

    def __init__(self, port: int, tls: bool) -> None:
        self._address = ("127.0.0.1", port)
        self._tls = tls_context() if tls else None
        self._poll = select.epoll()
        self._under_way: dict[int, Opening] = {}
        self.latencies: list[float] = []
        self.lost = 0
        self.example = ""
        self.held: list[socket.socket] = []

    def hold(self, number: int) -> None:
        """Open `number` connections and keep them."""
        begun = len(self.held) + self.lost
        while len(self.held) + self.lost < number:
            while begun < number and len(self._under_way) < _AT_ONCE_WHEN_HOLDING:
                self._begin(close=False)
                begun += 1
            self._turn()

    def check_held(self) -> None:
        """Count those as lost that the gateway has closed meanwhile."""
        for connection in self.held:
            try:
                if not connection.recv(4096):
                    self._fail("closed while it was idle", 1)
            except (ssl.SSLWantReadError, BlockingIOError):
                continue
            except OSError as error:
                self._fail(str(error), 1)

    def cycle(self, at_once: int, seconds: float) -> float:
        """Open and close for `seconds`; the result is how long it took to the last close."""
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds or self._under_way:
            while now - began < seconds and len(self._under_way) < at_once:
                self._begin(close=True)
            self._turn()
            if now - began > seconds + 10:
                self._fail("never closed by the gateway", len(self._under_way))
                break
        return time.perf_counter() - began

    def _begin(self, close: bool) -> None:
        opening = Opening(self._address, self._tls, close)
        number = opening.socket.fileno()
        self._under_way[number] = opening
        self._poll.register(number, select.EPOLLIN)
        if self._tls is not None:
            # The client speaks first; and a quick gateway may be through before this returns.
            self._go_on(number)

    def _turn(self) -> None:
        for number, _ in self._poll.poll(1):
            self._go_on(number)

    def _go_on(self, number: int) -> None:
        opening = self._under_way[number]
        try:
            result = opening.go_on()
        except OSError as error:
            self._fail(str(error), 1)
            result = "failed"
            opening.socket.close()
        if result == "open":
            self.latencies.append(time.perf_counter() - opening.began)
            if not opening.close:
                self._poll.unregister(number)
                self.held.append(opening.socket)
                del self._under_way[number]
        elif result is not None:
            del self._under_way[number]

    def _fail(self, example: str, number: int) -> None:
        self.lost += number
        self.example = self.example or example


def percentile(ascending: list[float], part: float) -> float:
    """The value that `part` of all do not exceed."""
    return ascending[min(len(ascending) - 1, int(len(ascending) * part))] if ascending else 0.0


def _wait_for_go() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def main() -> None:
    """Run what the specification says."""
    spec: dict[str, Any] = json.loads(sys.argv[1])
    opener = Opener(spec["port"], spec["tls"])
    if "hold" in spec:
        # What a process has allocated and not used yet is filled before its memory is looked at.
        opener.hold(spec["hold"] // 2)
        _wait_for_go()
        opener.hold(spec["hold"])
        _wait_for_go()
        opener.check_held()
        print(json.dumps({"lost": opener.lost, "example": opener.example, "wrong": 0}))
        return
    opener.cycle(spec["at_once"], spec["warm_up"])
    opener.latencies.clear()
    _wait_for_go()
    cpu = time.process_time()
    seconds = opener.cycle(spec["at_once"], spec["seconds"])
    cpu = time.process_time() - cpu
    latencies = sorted(opener.latencies)
    result = {
        "count": len(latencies),
        "seconds": seconds,
        "p50": percentile(latencies, 0.5),
        "p99": percentile(latencies, 0.99),
        "p999": percentile(latencies, 0.999),
        "max": percentile(latencies, 1.0),
        "generator_cpu": cpu / seconds,
        "wrong": 0,
        "lost": opener.lost,
        "example": opener.example,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
