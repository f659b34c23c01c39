"""wsgate's own work for one 64-byte message: `.venv/bin/python -m bench.message`.

Real objects, sockets that only remember. On a busy machine the least of many runs is the figure.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest.mock import Mock

from twisted.internet import defer
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from wsgate import cgi
from wsgate.compiled import DESCRIPTION
from wsgate.eager import EagerTCPServer
from wsgate.fastcgi import Backend, ConnectionPool, PoolLimits
from wsgate.fastcgi.unix import UNIXTransport
from wsgate.garbage import collect_rarely
from wsgate.gateway import Chain, ChainLimits, HookedConversation, Link, MakeConversation, Route
from wsgate.hooks import Answer, Connection, Hook, Message, OnMessage
from wsgate.timeouts import Timeouts
from wsgate.websocket import GatewayFactory, WebSocketOptions

MESSAGES = 4000
RUNS = 30
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_MASK = b"abcd"
_FRAME = b"\x81\xc0" + _MASK + bytes(ord("x") ^ _MASK[n % 4] for n in range(64))
_STDOUT = b"Content-type: text/html; charset=UTF-8\r\n\r\n" + b"y" * 64
_ANSWER = (
    bytes((1, 6, 0, 1, 0, len(_STDOUT), -len(_STDOUT) % 8, 0))
    + _STDOUT
    + bytes(-len(_STDOUT) % 8)
    + b"\x01\x03\x00\x01\x00\x08\x00\x00"
    + bytes(8)
)


class StillClock(Clock):
    """A reactor of which nothing but the time is asked."""

    def seconds(self) -> float:
        return time.monotonic()

    def addReader(self, reader: object) -> None:
        """Watch nothing."""

    removeReader = removeWriter = addWriter = addReader


class Socket:
    """Gives `data` at each read, and takes all."""

    data = b""

    def __init__(self, sent: Any = None) -> None:
        self._sent = sent

    def recv(self, size: int) -> bytes:
        return self.data

    def send(self, data: bytes) -> int:
        if self._sent is not None:
            self._sent(self)
        return len(data)

    sendmsg = None

    def setblocking(self, blocking: bool) -> None:
        """Never block anyway."""

    def fileno(self) -> int:
        return 1


class Endpoint:
    """Where PHP would be."""

    def __init__(self, reactor: StillClock) -> None:
        self._reactor = reactor
        self.transports: list[UNIXTransport] = []

    def connect(self, factory: Any) -> Any:
        socket = Socket()
        socket.data = _ANSWER
        protocol = factory.buildProtocol(None)
        transport = UNIXTransport(self._reactor, socket, protocol)  # type: ignore[arg-type]
        self.transports.append(transport)
        protocol.makeConnection(transport)
        return defer.succeed(protocol)


class Passes(Hook):
    """Looks at each message."""

    def on_message(self, connection: Connection, message: Message) -> OnMessage:
        """Let it pass."""
        return None


class Answers(Hook):
    """Has every answer."""

    answer = Answer(b"y" * 64)

    def on_message(self, connection: Connection, message: Message) -> OnMessage:
        """Give it."""
        return self.answer


class AnswersLater(Answers):
    """Has to think about it."""

    async def on_message(  # type: ignore[override]  # the interface allows both kinds
        self, connection: Connection, message: Message
    ) -> OnMessage:
        """Give it."""
        return self.answer


def conversing(reactor: StillClock, hook: Hook) -> MakeConversation:
    """What a route with this hook makes for each client."""
    chain = Chain([Link("hook", hook)], ChainLimits(), Timeouts(reactor), lambda _name, _what: None)
    register: Any = Mock(sequence=lambda: 1)
    return partial(HookedConversation, chain, register)


def microseconds(clients: int, workers: int, hook: Hook | None = None) -> Iterator[float]:
    """The price of a message in each run."""
    reactor = StillClock()
    endpoint: Any = Endpoint(reactor)
    limits = PoolLimits(max_in_flight=workers, keep_connections=True)
    pool = ConnectionPool(reactor, [Backend("php", endpoint)], limits)
    make = conversing(reactor, hook) if hook is not None else None
    script = cgi.Script("/w.php", "/w.php", "/")
    route = Route(path="/", script=script, pool=pool, make_conversation=make)
    factory = GatewayFactory(reactor, [route], WebSocketOptions())
    answered: deque[Socket] = deque()
    servers: dict[Socket, EagerTCPServer] = {}
    for number in range(clients):
        protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", number + 1))
        socket = Socket(answered.append)
        arguments: Any = (socket, protocol, ("127.0.0.1", 1), None, number, reactor)
        server: Any = EagerTCPServer(*arguments)
        server.hostname = "client"
        server.getPeer = server.getHost = lambda: IPv4Address("TCP", "127.0.0.1", 1)
        protocol.makeConnection(server)
        socket.data = _HANDSHAKE
        servers[socket] = server
        server.doRead()
        socket.data = _FRAME
        server.doRead()
    answered.clear()
    collect_rarely()
    for _ in range(RUNS):
        before = time.thread_time_ns()
        for _ in range(MESSAGES // workers):
            for transport in endpoint.transports:
                transport.doRead()
            while answered:
                servers[answered.popleft()].doRead()
        yield (time.thread_time_ns() - before) / MESSAGES / 1000
    assert route.tally.refused == 0
    assert route.tally.answered == RUNS * MESSAGES


def answering(hook: Hook) -> Iterator[float]:
    """The price of a message in each run, where PHP is not asked."""
    reactor = StillClock()
    endpoint: Any = Endpoint(reactor)
    pool = ConnectionPool(reactor, [Backend("php", endpoint)])
    script = cgi.Script("/w.php", "/w.php", "/")
    made = conversing(reactor, hook)
    route = Route(path="/", script=script, pool=pool, make_conversation=made)
    factory = GatewayFactory(reactor, [route], WebSocketOptions())
    protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    socket = Socket()
    arguments: Any = (socket, protocol, ("127.0.0.1", 1), None, 1, reactor)
    server: Any = EagerTCPServer(*arguments)
    server.hostname = "client"
    server.getPeer = server.getHost = lambda: IPv4Address("TCP", "127.0.0.1", 1)
    protocol.makeConnection(server)
    socket.data = _HANDSHAKE
    server.doRead()
    socket.data = _FRAME
    collect_rarely()
    for _ in range(RUNS):
        before = time.thread_time_ns()
        for number in range(MESSAGES):
            server.doRead()
            if not number % 32:
                reactor.advance(0)
        yield (time.thread_time_ns() - before) / MESSAGES / 1000
    assert route.tally.answered >= RUNS * MESSAGES - 64


if __name__ == "__main__":
    print(f"{DESCRIPTION}, µs for each message, the least of {RUNS} runs")
    print(f"free: {min(microseconds(1, 1)):.1f}")
    print(f"busy: {min(microseconds(32, 4)):.1f}")
    print(f"free, a hook passes: {min(microseconds(1, 1, Passes())):.1f}")
    print(f"free, a hook answers: {min(answering(Answers())):.1f}")
    print(f"free, an async hook answers: {min(answering(AnswersLater())):.1f}")
