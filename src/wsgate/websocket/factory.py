"""What all connections of a port share: routes, limits, timeouts, pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from autobahn.twisted.websocket import WebSocketServerFactory
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime

from wsgate.gateway import Route, Tally
from wsgate.proxies import TrustedProxies
from wsgate.timeouts import Timeouts
from wsgate.websocket.census import Census
from wsgate.websocket.counts import Counts
from wsgate.websocket.options import WebSocketOptions
from wsgate.websocket.protocol import GatewayProtocol
from wsgate.websocket.template import open_protocol


class Page(NamedTuple):
    """A page for plain GET requests of its path, with its header fields."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class GatewayFactory(WebSocketServerFactory):
    """Makes the protocol of each connection.

    Args:
        reactor: for Autobahn's own timeouts and ours.
        routes: no two of the same path.
        pages: what plain HTTP requests get.
        proxies: who is believed when it says who its client is; None: nobody.
    """

    protocol = GatewayProtocol
    noisy = False

    def __init__(
        self,
        reactor: IReactorTime,
        routes: Sequence[Route],
        options: WebSocketOptions,
        pages: Sequence[Page] = (),
        proxies: TrustedProxies | None = None,
    ) -> None:
        super().__init__(reactor=reactor, server="")
        self.options = options
        self.proxies = proxies or TrustedProxies()
        self.timeouts = Timeouts(reactor)
        # Autobahn keeps its pings and its close timeout in a timer of the global reactor; this one
        # has the same method and obeys the reactor that was passed in.
        self._batched_timer = self.timeouts
        self.fast_limit = min(options.max_frame_size, options.max_message_size)
        self.census = Census(options.max_connections, options.max_connections_per_address)
        self.counts = Counts()
        self.connections: set[GatewayProtocol] = set()
        self._all_gone: Deferred[None] | None = None
        self._routes = {route.path: route for route in routes}
        self._pages = {page.path: page for page in pages}
        self._set_autobahn_options(options)
        self.protocol = open_protocol(self.protocol, self)

    def _set_autobahn_options(self, options: WebSocketOptions) -> None:
        self.setProtocolOptions(
            webStatus=False,
            # Close frames, so that clients see why; not a dropped connection.
            failByDrop=False,
            # Browsers report to the page the code that comes back; others echo it too.
            echoCloseCodeReason=True,
            maxFramePayloadSize=options.max_frame_size,
            maxMessagePayloadSize=options.max_message_size,
            # Ours began at the first byte of the connection.
            openHandshakeTimeout=0,
            closeHandshakeTimeout=options.close_timeout,
            autoPingInterval=options.ping_interval,
            autoPingTimeout=options.pong_timeout,
            # The handshake guard has checked it.
            allowedOrigins=["*"],
            allowNullOrigin=True,
        )
        if options.compression:
            self.setProtocolOptions(perMessageCompressionAccept=_accept_deflate)

    def buildProtocol(self, addr: IAddress) -> GatewayProtocol:
        """A protocol for one more connection."""
        return self.protocol()

    def route_for(self, path: str) -> Route | None:
        """The route of exactly this path, else the route of every path, else None."""
        return self._routes.get(path) or self._routes.get("/")

    def drain(self) -> Deferred[None]:
        """Close every connection with 1001 once it has its answers; fires when all are gone."""
        self._all_gone = Deferred()
        for connection in tuple(self.connections):
            connection.drain()
        self._tell_if_gone()
        return self._all_gone

    def close_all(self) -> Deferred[None]:
        """Close every connection with 1001 now; fires when all are gone.

        Those that do not answer the close within `close_timeout` are dropped.
        """
        self._all_gone = Deferred()
        for connection in tuple(self.connections):
            connection.shut_down()
        limit = self.timeouts.call_later(self.options.close_timeout, self._drop_all)
        self._all_gone.addCallback(lambda _: limit.cancel())
        self._tell_if_gone()
        return self._all_gone

    def _drop_all(self) -> None:
        for connection in tuple(self.connections):
            connection.transport.abortConnection()

    def forget(self, connection: GatewayProtocol) -> None:
        """The connection is gone."""
        self.connections.discard(connection)
        self._tell_if_gone()

    def _tell_if_gone(self) -> None:
        if self._all_gone is not None and not self._all_gone.called and not self.connections:
            self._all_gone.callback(None)

    def tally(self) -> Tally:
        """What became of the messages, over all routes."""
        total = Tally()
        for route in self._routes.values():
            total += route.tally
        return total

    def page_for(self, path: str) -> Page | None:
        """The page of exactly this path, or None."""
        return self._pages.get(path)


def _accept_deflate(offers: Sequence[object]) -> PerMessageDeflateOfferAccept | None:
    for offer in offers:
        if isinstance(offer, PerMessageDeflateOffer):
            return PerMessageDeflateOfferAccept(offer)
    return None
