"""All connections of the control interface: how many there may be, and which gives way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

from twisted.internet.interfaces import IAddress
from twisted.web.http import HTTPFactory, Request

from wsgate.control.answers import Answer, Endpoint, endpoint_at, is_proved, refused, template
from wsgate.control.http import ControlChannel
from wsgate.control.token import is_allowed
from wsgate.control.turns import Turns

IDLE_TIMEOUT = 60.0
"""Seconds between two requests: longer than most scrape intervals."""
PATIENCE = 1.0
"""Seconds that a connection may say nothing before it gives way to a new one, if it has to."""
AT_ONCE = 8
"""Connections accepted in one turn of the reactor."""


class ControlLimits(NamedTuple):
    """What those who ask may use up.

    Bytes of a body, connections at a time, and seconds for requests in a turn of the reactor.
    """

    max_body: int = 1024 * 1024
    connections: int = 256
    share: float = 0.002


class ControlFactory(HTTPFactory):
    """Makes the connections.

    `token` is what every request must prove; None: whoever reaches the socket may ask.
    """

    # Twisted's own tells HTTP/1.1 from HTTP/2 first.
    protocol: Any = ControlChannel
    noisy = False

    def __init__(
        self,
        reactor: Any,
        endpoints: Sequence[Endpoint],
        token: bytes | None,
        limits: ControlLimits = ControlLimits(),  # noqa: B008 - a tuple, never changed
    ) -> None:
        super().__init__(timeout=IDLE_TIMEOUT, reactor=reactor)
        self.endpoints = endpoints
        self.turns = Turns(reactor, limits.share)
        self.connections: set[ControlChannel] = set()
        self.statuses: Counter[int] = Counter()
        self._limits = limits
        self._token = token
        # Those without a whole request, with the time since when: the longest first.
        self._idle: dict[ControlChannel, float] = {}

    def startFactory(self) -> None:
        """Twisted: it is listened. There is no access log, so no clock for its lines either."""

    def stopFactory(self) -> None:
        """Twisted: no more of them. Those that are there go on until `close`."""

    def log(self, request: Request) -> None:
        """Twisted: a request was answered. Nobody wants a line for every look at the health."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A channel; None, so that the connection is closed at once, when there are too many."""
        if self._free() <= 0 and not self._make_room():
            return None
        channel: Any = super().buildProtocol(addr)
        self.connections.add(channel)
        self.is_idle(channel)
        return channel

    def room(self) -> int:
        """How many connections a port may accept now."""
        free = self._free()
        return AT_ONCE if free >= AT_ONCE else free + len(self._giving_way(AT_ONCE - free))

    def is_busy(self, channel: ControlChannel) -> None:
        """A whole request came."""
        self._idle.pop(channel, None)

    def is_idle(self, channel: ControlChannel) -> None:
        """A request is waited for."""
        self._idle.pop(channel, None)
        self._idle[channel] = self.reactor.seconds()

    def is_gone(self, channel: ControlChannel) -> None:
        """The connection has ended."""
        self._idle.pop(channel, None)
        self.connections.discard(channel)

    def refusal(self, request: Request, path: bytes, length: int | None) -> Answer | None:
        """Why a request is not even read to its end; None if it is. `path` is as sent."""
        headers = request.requestHeaders
        if not (self.may_all(request) or self._is_proved(path, _authorizations(request))):
            challenge = ("WWW-Authenticate", 'Bearer realm="wsgate"')
            return refused(401, "the token of --control-token-file is needed", challenge)
        # Of any kind, since a proxy in front may read another one than we do (RFC 9112 §6.1).
        if length is None or headers.hasHeader(b"Transfer-Encoding"):
            return refused(411, "a body needs a Content-Length")
        if length > self._limits.max_body:
            return refused(
                413, f"a body may have {self._limits.max_body} bytes (gateway.control_max_body)"
            )
        if headers.hasHeader(b"Content-Encoding"):
            plain = ("Accept-Encoding", "identity")
            return refused(415, "a body may not be compressed (Content-Encoding)", plain)
        return None

    def may_all(self, request: Request) -> bool:
        """Whether who sends it may ask everything: by the token, or where none is needed."""
        return is_allowed(self._token, _authorizations(request))

    def _is_proved(self, path: bytes, given: Sequence[bytes]) -> bool:
        target, _, _ = path.decode("latin-1").partition("?")
        return len(given) == 1 and is_proved(self.endpoints, target, given[0].decode("latin-1"))

    def path_for_log(self, path: bytes) -> str:
        """The path as the table has it: nothing of a stranger's goes to the log."""
        found = endpoint_at(self.endpoints, path.decode("latin-1"))
        return template(found) if found is not None else "(another path)"

    def close(self) -> None:
        """End all connections."""
        self.turns.stop()
        for connection in tuple(self.connections):
            connection.transport.abortConnection()

    def _free(self) -> int:
        return self._limits.connections - len(self.connections)

    def _giving_way(self, number: int) -> list[ControlChannel]:
        latest = self.reactor.seconds() - PATIENCE
        return [channel for channel, since in islice(self._idle.items(), number) if since <= latest]

    def _make_room(self) -> bool:
        for channel in self._giving_way(1):
            self.is_gone(channel)
            channel.transport.abortConnection()
            return True
        return False


def _authorizations(request: Request) -> Sequence[bytes]:
    return request.requestHeaders.getRawHeaders(b"Authorization") or []
