"""A connection's first moment: whether there is a place for it, before TLS and before any byte."""

from __future__ import annotations

from secrets import randbelow
from typing import TYPE_CHECKING

from autobahn.twisted.websocket import WebSocketServerProtocol
from twisted.internet.interfaces import ISSLTransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol

from wsgate.timeouts import Timeout
from wsgate.websocket.handshake import Refused
from wsgate.websocket.identity import address_of

if TYPE_CHECKING:
    from wsgate.websocket.factory import GatewayFactory
    from wsgate.websocket.options import WebSocketOptions

_TURNED_AWAY_AT_A_TIME = 64
"""Connections without a place that may wait for their 503; the rest is closed at once."""

_TIME_TO_TURN_AWAY = 1.0


class EnteringProtocol(WebSocketServerProtocol):
    """Takes a place among all connections, those of its address, and the handshakes under way.

    Without a place the end is near: at once where TLS would come first, since its handshake costs
    more than all that follows; otherwise with a 503 for the first bytes, unread.
    """

    factory: GatewayFactory
    options: WebSocketOptions
    """The factory's, of the time when this connection came: a later change is for later ones."""
    fast_limit: int
    """The longest message that the fast lane takes, likewise."""

    _counted_as: str | None = None
    """The host that the census has this connection under."""
    _turned_away = False
    _handshake_timeout: Timeout | None = None

    def _enter(self) -> bool:
        """Whether there is a place; if not, everything has been done."""
        factory = self.factory
        host = self._peer_if_client()
        limit = factory.admit(self, host)
        if not limit:
            self._counted_as = host
            return True
        factory.note_limit(limit, address_of(self.transport.getPeer()).host)
        if ISSLTransport.providedBy(self.transport) or (
            factory.turning_away >= _TURNED_AWAY_AT_A_TIME
        ):
            self._end_turned_away()
        else:
            self._turned_away = True
            factory.turning_away += 1
            self._handshake_timeout = factory.timeouts.call_later(
                _TIME_TO_TURN_AWAY, self._end_turned_away
            )
        return False

    def _peer_if_client(self) -> str:
        """The address at the other end; empty where a proxy may yet name another.

        That is the client, then, and it is counted when its handshake is here.
        """
        transport = self.transport
        while isinstance(transport, ProtocolWrapper):
            if not isinstance(transport, TLSMemoryBIOProtocol):
                return ""
            transport = transport.transport
        host = address_of(self.transport.getPeer()).host
        return "" if self.factory.proxies.trusts(host) else host

    def _count_as(self, host: str) -> None:
        """The client is known now; it may be another than was counted.

        Raises:
            Refused: 503, its address has no place.
        """
        assert self._counted_as is not None
        limit = self.factory.census.move(self._counted_as, host, self.factory.reactor.seconds())
        if limit:
            self.factory.note_limit(limit, host)
            raise no_place()
        self._counted_as = host

    def _leave(self) -> None:
        """Give the places back."""
        factory = self.factory
        factory.under_way.end(self)
        if self._counted_as is not None:
            factory.census.remove(self._counted_as)
        if self._turned_away:
            factory.turning_away -= 1

    def _end_turned_away(self) -> None:
        self._handshake_timeout = None
        self.factory.counts.drops["turned away"] += 1
        self.transport.abortConnection()

    def give_way(self) -> None:
        """Too many handshakes are under way, and this one takes longest."""
        self.factory.counts.drops["gave way"] += 1
        self.factory.note_limit("max_handshakes", address_of(self.transport.getPeer()).host)
        self.transport.abortConnection()


def no_place() -> Refused:
    """503, and when to come again: not all at the same time."""
    return Refused(503, "Too many connections", (retry_after(),))


def retry_after() -> tuple[str, str]:
    """The header field that says so: 5 to 15 seconds."""
    return "Retry-After", str(5 + randbelow(11))
