"""The bus of a worker: its parent, over a socket that it was given at its start."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from wsgate.bus.interface import BusCounts, Change, Listener, Position, Presence, Stretch
from wsgate.bus.wire import (
    Saying,
    Splitter,
    What,
    change_from_json,
    encode,
    pack,
    presence_from_json,
    split_at,
    stretch_from_json,
)
from wsgate.channels import BusAway, BusUnanswered
from wsgate.channels.tokens import Ask, Taken
from wsgate.floods import CalmLogger

_log = CalmLogger(namespace="wsgate.bus")


class ParentBus(Protocol):
    """See `wsgate.bus.interface.Bus`.

    Args:
        descriptor: of the socket; it is this object's from now on.
        buffer: bytes of publishes that may wait for the parent's word.
        lost: called when the parent has closed the socket; there will be no other.
    """

    transport: Any

    def __init__(
        self, reactor: Any, descriptor: int, buffer: int, lost: Callable[[], object]
    ) -> None:
        self.counts = BusCounts()
        self.is_up = False
        self._reactor = reactor
        self._descriptor = descriptor
        self._buffer = buffer
        self._lost = lost
        self._listener: Listener
        self._splitter = Splitter()
        self._number = 0
        self._asked: dict[int, tuple[Deferred[Any], int]] = {}
        self._stopped: Deferred[None] | None = None

    def __str__(self) -> str:
        return "of the parent process"

    def start(self, node: str, listener: Listener) -> None:
        """See `Bus`."""
        self._listener = listener
        self._reactor.adoptStreamConnection(self._descriptor, socket.AF_UNIX, _One(self))
        os.close(self._descriptor)
        self.counts.connects += 1
        self.is_up = True
        self._say(Saying(What.HELLO, node))
        listener.bus_up()

    def stop(self) -> Deferred[None]:
        """See `Bus`."""
        if not self.is_up:
            return succeed(None)
        self._stopped = Deferred()
        self.transport.loseConnection()
        return self._stopped

    def listen(self, topic: str) -> None:
        """See `Bus`."""
        self._say(Saying(What.LISTEN, topic))

    def unlisten(self, topic: str) -> None:
        """See `Bus`."""
        self._say(Saying(What.UNLISTEN, topic))

    def send(self, topic: str, data: bytes) -> Deferred[int]:
        """See `Bus`."""
        return self._ask(What.SEND, topic, data, len(data))

    def follow(self, channel: str, after: Position | None = None) -> Deferred[Stretch]:
        """See `Bus`."""
        asked = self._ask(What.FOLLOW, channel, pack(after or Position("", 0)))
        return asked.addCallback(stretch_from_json)

    def unfollow(self, channel: str) -> None:
        """See `Bus`."""
        self._say(Saying(What.UNFOLLOW, channel))

    def publish(self, channel: str, data: bytes) -> Deferred[int]:
        """See `Bus`."""
        self.counts.published += 1
        return self._ask(What.PUBLISH, channel, data, len(data))

    def read(self, channel: str, after: Position) -> Deferred[Stretch]:
        """See `Bus`."""
        return self._ask(What.READ, channel, pack(after)).addCallback(stretch_from_json)

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
        told = pack([count, [*joined], [*left], anew])
        return self._ask(What.ATTEND, channel, told).addCallback(change_from_json)

    def presence(self, channel: str, *, users: bool) -> Deferred[Presence]:
        """See `Bus`."""
        return self._ask(What.PRESENCE, channel, b"").addCallback(presence_from_json)

    def take(self, ask: Ask) -> Deferred[Taken]:
        """See `Bus`."""
        asked = self._ask(What.TAKE, ask.key, pack(ask[1:]))
        return asked.addCallback(lambda told: Taken(*told))

    def _say(self, saying: Saying) -> None:
        if self.is_up:
            self.transport.write(encode(saying))

    def _ask(self, what: What, name: str, payload: bytes, waits: int = 0) -> Deferred[Any]:
        counts = self.counts
        if not self.is_up:
            return fail(BusAway("the parent process is gone"))
        if waits and counts.waiting_bytes and counts.waiting_bytes + waits > self._buffer:
            counts.not_published["full"] += 1
            return fail(BusAway(f"{counts.waiting_bytes} bytes wait for the parent process"))
        self._number = self._number % 0xFFFFFFFF + 1
        counts.waiting_bytes += waits
        answer: Deferred[Any] = Deferred()
        self._asked[self._number] = (answer, waits)
        self._say(Saying(what, name, payload, self._number))
        return answer

    def dataReceived(self, data: bytes) -> None:
        """Twisted: the parent speaks."""
        try:
            for saying in self._splitter.feed(data):
                self._take(saying)
        except ValueError:
            self.counts.malformed += 1
            _log.failure("the parent speaks nonsense")
            self.transport.abortConnection()

    def _take(self, saying: Saying) -> None:
        if saying.what is What.ANSWER:
            answer, waited = self._asked.pop(saying.number)
            self.counts.waiting_bytes -= waited
            answer.callback(json.loads(saying.payload))
        elif saying.what is What.PUBLISHED:
            self.counts.received += 1
            self._listener.message_published(saying.name, *split_at(saying.payload))
        elif saying.what is What.SENT:
            self.counts.received += 1
            self._listener.message_sent(saying.name, saying.payload)
        elif saying.what is What.SWEPT:
            change = change_from_json(json.loads(saying.payload))
            self._listener.node_swept(saying.name, change)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the parent has closed it, or `stop` has."""
        self.is_up = False
        asked, self._asked = self._asked, {}
        for answer, waited in asked.values():
            self.counts.waiting_bytes -= waited
            answer.errback(BusUnanswered("the parent process went away before it answered"))
        if self._stopped is not None:
            self._stopped.callback(None)
            return
        self._listener.bus_down("the parent process has closed it")
        self._lost()


class _One(Factory):
    """Gives the one protocol that there is."""

    noisy = False

    def __init__(self, protocol: ParentBus) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> ParentBus:
        """Twisted: the socket is adopted."""
        return self._protocol
