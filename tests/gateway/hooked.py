"""A client of a route with hooks, whose neighbours are fakes."""

from __future__ import annotations

from collections import Counter
from functools import partial

from twisted.internet.task import Clock

from tests.fakes import FakeBook, FakePeer, FakePool
from wsgate import cgi
from wsgate.cgi import Address, Client
from wsgate.fastcgi import decode_params
from wsgate.gateway import (
    Arrival,
    Chain,
    ChainLimits,
    DepartureLimits,
    HookedConversation,
    Link,
    QueueLimits,
    Register,
    Route,
)
from wsgate.http1 import RequestHead
from wsgate.timeouts import Timeouts

HEADERS = (
    (b"host", b"example.com"),
    (b"sec-websocket-protocol", b"v1, v2"),
    (b"cookie", b"a=1; token=abc"),
    (b"cookie", b"b=2"),
)
TARGET = b"/chat?token=a%20b&x=%ff&token=second"


class Visitor:
    """A client that is at the door, and in after `enter`."""

    def __init__(self, *hooks, events=("message",), passes=False, limits=None, on_error="reply"):
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.timeouts = Timeouts(self.clock)
        self.book = FakeBook()
        self.register = Register(self.book, self.timeouts, self.clock.seconds, DepartureLimits())
        self.pool, self.peer = FakePool(), FakePeer()
        self.outcomes = Counter()
        self.released = []
        self.links = [Link(f"hook{number}", hook) for number, hook in enumerate(hooks)]
        self.chain = Chain(
            self.links,
            limits or ChainLimits(passes=passes),
            self.timeouts,
            lambda name, outcome: self.outcomes.update([(name, outcome)]),
            self.released.append,
        )
        self.route = Route(
            path="/",
            script=cgi.Script("/w.php", "/w.php", "/"),
            pool=self.pool,
            events=frozenset(events),
            make_conversation=partial(HookedConversation, self.chain, self.register),
            on_error=on_error,
        )
        head = RequestHead(b"GET", TARGET, b"HTTP/1.1", HEADERS)
        client = Client(Address("192.0.2.7", "1234"), Address("192.0.2.1", "80"), False)
        params = self.route.connection_params(head, client, "id", "v1")
        self.conversation = self.route.converse(
            Arrival("id", params, self.peer, QueueLimits(2, 100), head, "v1")
        )
        self.results = []

    def knock(self):
        """As far as the handshake's end, if nobody has to be waited for."""
        self.conversation.open().addBoth(self.results.append)
        return self

    def enter(self):
        """As far as the 101."""
        self.knock()
        self.book.write()
        self.peer.channels.add(self.conversation)
        self.conversation.opened()
        self.peer.did.clear()
        return self

    def say(self, text, *, is_binary=False):
        self.conversation.message_received(
            text.encode() if isinstance(text, str) else text, is_binary
        )

    def leave(self, code=1001, reason="bye"):
        self.conversation.connection_lost(code, reason)

    def wait(self, seconds):
        """Let so much time pass, in steps."""
        for _ in range(int(seconds * 10) + 2):
            self.clock.advance(0.1)

    @property
    def said(self):
        """What the client got."""
        return [did for did in self.peer.did if did not in ("idle", "pause", "resume")]

    @property
    def asked(self):
        """The bodies of what PHP was asked."""
        return [bytes(request.stdin) for request in self.pool.requests]

    @property
    def params(self):
        """Of the last request to PHP."""
        return decode_params(self.pool.requests[-1].params)

    @property
    def error(self):
        """Why the client was not let in."""
        return self.results[0].value

    @property
    def tally(self):
        tally = self.route.tally
        return (tally.received, tally.answered, tally.refused, tally.gone)

    def is_exact(self):
        tally = self.route.tally
        return tally.received == tally.answered + tally.refused + tally.gone
