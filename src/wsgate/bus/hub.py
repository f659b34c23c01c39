"""The parent of several workers as their bus: one `Exchange`, in its memory."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsgate.bus.exchange import Exchange, Keeping
from wsgate.bus.interface import BusCounts, Change, Listener, Position, Presence, Stretch
from wsgate.bus.wire import Saying, Splitter, What, at_of, encode, pack, stretch_to_json
from wsgate.channels.tokens import Ask, Taken

MOST_WAITING = 64 * 1024 * 1024
"""Bytes that a worker may leave unread before it is given up."""

_log = Logger(namespace="wsgate.bus")


class Hub(Factory):
    """What all workers are connected to."""

    noisy = False

    def __init__(self, reactor: Any, keeping: Keeping) -> None:
        self.exchange = Exchange(reactor.seconds, lambda: secrets.token_hex(8), keeping)
        self.workers: dict[str, HubConnection] = {}
        """By their node."""
        self._reactor = reactor

    def adopt(self, ours: socket.socket) -> None:
        """Serve the worker at the other end of `ours`, which is closed here."""
        ours.setblocking(False)
        self._reactor.adoptStreamConnection(ours.fileno(), ours.family, self)
        ours.close()

    def buildProtocol(self, addr: IAddress | None) -> HubConnection:
        """Twisted: a worker."""
        return HubConnection(self)

    def left(self, node: str) -> None:
        """A worker is gone, and its clients."""
        self.workers.pop(node, None)
        changes = self.exchange.leave(node)
        for worker in tuple(self.workers.values())[:1]:
            for channel, change in changes:
                worker.node_swept(channel, change)


class HubConnection(Protocol):
    """One worker, seen from its parent."""

    transport: Any

    def __init__(self, hub: Hub) -> None:
        self.node = ""
        self._hub = hub
        self._splitter = Splitter()
        self._paused = False
        self._waiting = 0
        exchange = hub.exchange
        self._acts: dict[What, Callable[[Saying], object]] = {
            What.HELLO: self._hello,
            What.LISTEN: lambda said: exchange.listen(self.node, said.name, self),
            What.UNLISTEN: lambda said: exchange.unlisten(self.node, said.name),
            What.SEND: lambda said: exchange.send(said.name, said.payload),
            What.FOLLOW: self._follow,
            What.UNFOLLOW: lambda said: exchange.unfollow(self.node, said.name),
            What.PUBLISH: lambda said: exchange.publish(said.name, said.payload),
            What.READ: self._read,
            What.ATTEND: self._attend,
            What.PRESENCE: lambda said: exchange.presence(said.name),
            What.TAKE: self._take,
        }

    def connectionMade(self) -> None:
        """Twisted: adopted."""
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Twisted: the worker speaks."""
        try:
            for saying in self._splitter.feed(data):
                answer = self._acts[saying.what](saying)
                if saying.number:
                    self._say(Saying(What.ANSWER, "", pack(answer), saying.number))
        except (ValueError, KeyError, TypeError):
            _log.failure("a worker speaks nonsense")
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the worker has ended."""
        if self.node:
            self._hub.left(self.node)

    def _hello(self, said: Saying) -> None:
        self.node = said.name
        self._hub.workers[self.node] = self

    def _follow(self, said: Saying) -> object:
        after = Position(*json.loads(said.payload))
        return stretch_to_json(self._hub.exchange.follow(self.node, said.name, after, self))

    def _read(self, said: Saying) -> object:
        return stretch_to_json(
            self._hub.exchange.read(said.name, Position(*json.loads(said.payload)))
        )

    def _attend(self, said: Saying) -> object:
        count, joined, left, anew = json.loads(said.payload)
        return self._hub.exchange.attend(self.node, said.name, count, joined, left, anew=anew)

    def _take(self, said: Saying) -> object:
        return self._hub.exchange.buckets.take(self.node, Ask(said.name, *json.loads(said.payload)))

    def message_published(self, channel: str, position: Position, data: bytes) -> None:
        """`Listener`: of a channel that the worker follows."""
        self._say(Saying(What.PUBLISHED, channel, at_of(position) + data))

    def message_sent(self, topic: str, data: bytes) -> None:
        """`Listener`: to a topic that the worker listens to."""
        self._say(Saying(What.SENT, topic, data))

    def node_swept(self, channel: str, change: Change) -> None:
        """`Listener`: another worker is gone."""
        self._say(Saying(What.SWEPT, channel, pack(change)))

    def bus_up(self) -> None:
        """`Listener`: it always is."""

    def bus_down(self, why: str) -> None:
        """`Listener`: it never is."""

    def _say(self, saying: Saying) -> None:
        data = encode(saying)
        if self._paused:
            self._waiting += len(data)
            if self._waiting > MOST_WAITING:
                _log.error("a worker does not read what the others publish: it is given up")
                self.transport.abortConnection()
                return
        self.transport.write(data)

    def pauseProducing(self) -> None:
        """Twisted: the worker does not read."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Twisted: it reads again."""
        self._paused = False
        self._waiting = 0

    def stopProducing(self) -> None:
        """Twisted: it is gone."""


class HubBus:
    """The parent's own end of its hub; see `wsgate.bus.interface.Bus`."""

    is_up = True

    def __init__(self, hub: Hub) -> None:
        self.counts = BusCounts()
        self._exchange = hub.exchange
        self._node = ""
        self._listener: Listener

    def start(self, node: str, listener: Listener) -> None:
        """See `Bus`."""
        self._node = node
        self._listener = listener
        listener.bus_up()

    def stop(self) -> Deferred[None]:
        """See `Bus`."""
        self._exchange.leave(self._node)
        return succeed(None)

    def listen(self, topic: str) -> None:
        """See `Bus`."""
        self._exchange.listen(self._node, topic, self._listener)

    def unlisten(self, topic: str) -> None:
        """See `Bus`."""
        self._exchange.unlisten(self._node, topic)

    def send(self, topic: str, data: bytes) -> Deferred[int]:
        """See `Bus`."""
        return succeed(self._exchange.send(topic, data))

    def follow(self, channel: str, after: Position | None = None) -> Deferred[Stretch]:
        """See `Bus`."""
        return succeed(self._exchange.follow(self._node, channel, after, self._listener))

    def unfollow(self, channel: str) -> None:
        """See `Bus`."""
        self._exchange.unfollow(self._node, channel)

    def publish(self, channel: str, data: bytes) -> Deferred[int]:
        """See `Bus`."""
        self.counts.published += 1
        return succeed(self._exchange.publish(channel, data))

    def read(self, channel: str, after: Position) -> Deferred[Stretch]:
        """See `Bus`."""
        return succeed(self._exchange.read(channel, after))

    def attend(
        self,
        channel: str,
        count: int,
        joined: Iterable[str] = (),
        left: Iterable[str] = (),
        *,
        anew: bool = False,
    ) -> Deferred[Change]:
        """See `Bus`."""
        return succeed(self._exchange.attend(self._node, channel, count, joined, left, anew=anew))

    def presence(self, channel: str, *, users: bool) -> Deferred[Presence]:
        """See `Bus`."""
        return succeed(self._exchange.presence(channel))

    def take(self, ask: Ask) -> Deferred[Taken]:
        """See `Bus`."""
        return succeed(self._exchange.buckets.take(self._node, ask))
