"""What all connections of a port share: routes, limits, timeouts, pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from autobahn.twisted.websocket import WebSocketServerFactory
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger

from wsgate.cgi import Pairs
from wsgate.channels import ChannelLimits, Channels
from wsgate.gateway import Route, Tally
from wsgate.http1 import RequestHead
from wsgate.proxies import TrustedProxies
from wsgate.timeouts import Timeouts
from wsgate.websocket.census import Census
from wsgate.websocket.counts import Counts
from wsgate.websocket.draining import GOING_AWAY, NOT_SERVED, Draining, Farewell
from wsgate.websocket.metered import Meters
from wsgate.websocket.options import WebSocketOptions
from wsgate.websocket.protocol import GatewayProtocol
from wsgate.websocket.rates import Rate
from wsgate.websocket.template import open_protocol
from wsgate.websocket.underway import HandshakesUnderWay

_log = Logger(namespace="wsgate")

_NOTED_FOR = 10.0


class Page(NamedTuple):
    """A page for plain GET requests of its path, with its header fields."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def _no_params(_transport: object) -> Pairs:
    return []


class PlainHTTP(Protocol):
    """Who takes connections whose first request is no handshake."""

    def takes(self, head: RequestHead) -> bool:
        """Whether this request is for it."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """What reads the connection from its first byte; None if there are too many."""

    def route_for(self, path: str) -> Route | None:
        """The route of a path that no route has, if it is for clients of its own."""


class GatewayFactory(WebSocketServerFactory):
    """Makes the protocol of each connection.

    Args:
        reactor: for Autobahn's own timeouts and ours.
        routes: no two of the same path.
        pages: what plain HTTP requests get.
        proxies: who is believed when it says who its client is; None: nobody.
        certificate_params: gives the variables of a client's own certificate, by its transport.
        make_channels: gives who listens to what, of this process or of several.
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
        certificate_params: Callable[[Any], Pairs] = _no_params,
        make_channels: Callable[[IReactorTime, ChannelLimits, Counter[str]], Channels] = Channels,
    ) -> None:
        super().__init__(reactor=reactor, server="")
        self.options = options
        self.proxies = proxies or TrustedProxies()
        self.certificate_params = certificate_params
        self.timeouts = Timeouts(reactor)
        # Autobahn keeps its pings and its close timeout in a timer of the global reactor; this one
        # has the same method and obeys the reactor that was passed in.
        self._batched_timer = self.timeouts
        self.fast_limit = min(options.max_frame_size, options.max_message_size)
        self.census = Census(
            options.max_connections,
            options.max_connections_per_address,
            options.new_connections_per_address,
        )
        self.meters = _meters(options)
        self.control_rate = _rate(options.control_frames_per_second)
        self.under_way = HandshakesUnderWay(options.max_handshakes)
        self.turning_away = 0
        """Connections without a place that wait to be told so."""
        self.counts = Counts()
        self.channels = make_channels(reactor, options.channels, self.counts.limits)
        """Every open connection, by what it listens to."""
        self._noted: dict[str, float] = {}
        self.connections: set[GatewayProtocol] = set()
        self.plain_http: PlainHTTP | None = None
        """Who serves plain requests beside pages, where anybody does."""
        self.farewell: Farewell | None = None
        """Set once the gateway stops: a connection that opens now is closed with it at once."""
        self._waiting_for_end: list[Deferred[None]] = []
        self._routes = {route.path: route for route in routes}
        self._removed: list[tuple[str, Tally]] = []
        """Paths that are served no more, each with its tally, which still counts."""
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
        accept = _accept_deflate if options.compression else _accept_nothing
        self.setProtocolOptions(perMessageCompressionAccept=accept)

    def buildProtocol(self, addr: IAddress) -> GatewayProtocol:
        """A protocol for one more connection."""
        return self.protocol()

    def admit(self, connection: GatewayProtocol, host: str) -> str:
        """Give one more connection its places; the client is at `host`, empty if not yet known.

        The result is empty; or the limit that stands against it, and then it has none.
        """
        now = self.reactor.seconds()
        limit = self.census.admit(host, now)
        if not limit and not self.under_way.begin(connection, now):
            self.census.remove(host)
            limit = "max_handshakes"
        return limit

    def room(self) -> int:
        """How many connections a port may accept now."""
        return self.under_way.room(self.reactor.seconds())

    def note_limit(self, limit: str, host: str) -> None:
        """Count that `limit` turned a connection of `host` away; log it, but not every time."""
        self.counts.limits[limit] += 1
        now = self.reactor.seconds()
        if now - self._noted.get(limit, -_NOTED_FOR) >= _NOTED_FOR:
            self._noted[limit] = now
            _log.warn(
                "limits.{limit} is reached, connections are turned away, the last one of {host}; "
                "said once in {seconds} s at most",
                limit=limit,
                host=host,
                seconds=_NOTED_FOR,
            )

    @property
    def routes(self) -> Mapping[str, Route]:
        """Those that are served now, by their paths."""
        return self._routes

    def route_for(self, path: str) -> Route | None:
        """The route of exactly this path, else the route of every path, else None."""
        route = self._routes.get(path)
        if route is None and self.plain_http is not None:
            route = self.plain_http.route_for(path)
        return route or self._routes.get("/")

    def change_options(self, options: WebSocketOptions) -> None:
        """Take other limits. What a connection was given when it opened it keeps until its end."""
        self.options = options
        self.fast_limit = min(options.max_frame_size, options.max_message_size)
        self.census.change_limits(
            options.max_connections,
            options.max_connections_per_address,
            options.new_connections_per_address,
        )
        self.meters = _meters(options)
        self.control_rate = _rate(options.control_frames_per_second)
        self.channels.limits = options.channels
        self.under_way.limit = options.max_handshakes
        self._set_autobahn_options(options)
        self.protocol = open_protocol(type(self).protocol, self)

    def change_routes(self, routes: Sequence[Route], seconds: float) -> Callable[[], bool]:
        """Serve `routes` and no others.

        Connections of a path that stays go on with what its route is now. Those of one that does
        not are closed with 1001 after their answers, over `seconds` at most; the result says
        whether any of them is still there.
        """
        before = self._routes
        self._routes = {route.path: before.get(route.path, route) for route in routes}
        for route in routes:
            if route.path in before:
                before[route.path].become(route)
        removed = [route for path, route in before.items() if path not in self._routes]
        self._removed += [(route.path, route.tally) for route in removed]
        gone = set(map(id, removed))
        leaving = {connection for connection in self.connections if id(connection.route) in gone}
        Draining(self.reactor, leaving, NOT_SERVED, seconds).start()
        return lambda: not leaving.isdisjoint(self.connections)

    def drain(self, farewell: Farewell = GOING_AWAY, seconds: float = 0.0) -> Deferred[None]:
        """Close every connection once it has its answers; fires when all are gone.

        They are told over `seconds`, or less if they are few; see `Draining`.
        """
        self.farewell = farewell
        Draining(self.reactor, self.connections, farewell, seconds).start()
        return self._when_all_are_gone()

    def give_up(self) -> None:
        """Wait for no answer any longer: each message in flight gets an error instead."""
        for connection in tuple(self.connections):
            connection.give_up()

    def drop_all(self) -> None:
        """End every connection without a word."""
        for connection in tuple(self.connections):
            connection.transport.abortConnection()

    def close_all(self) -> Deferred[None]:
        """Close every connection now; fires when all are gone.

        Those that do not answer the close within `close_timeout` are dropped.
        """
        for connection in tuple(self.connections):
            connection.shut_down(self.farewell or GOING_AWAY)
        limit = self.timeouts.call_later(self.options.close_timeout, self.drop_all)
        return self._when_all_are_gone().addCallback(lambda _: limit.cancel())

    def _when_all_are_gone(self) -> Deferred[None]:
        gone: Deferred[None] = Deferred()
        self._waiting_for_end.append(gone)
        self._tell_if_gone()
        return gone

    def forget(self, connection: GatewayProtocol) -> None:
        """The connection is gone."""
        self.connections.discard(connection)
        self._tell_if_gone()

    def _tell_if_gone(self) -> None:
        if self._waiting_for_end and not self.connections:
            waiting, self._waiting_for_end = self._waiting_for_end, []
            for gone in waiting:
                gone.callback(None)

    def tallies(self) -> dict[str, Tally]:
        """What became of the messages of each route, by its path; of removed ones too."""
        tallies: dict[str, Tally] = {}
        served = [(route.path, route.tally) for route in self._routes.values()]
        for path, tally in served + self._removed:
            tallies[path] = tallies.get(path, Tally()) + tally
        return tallies

    def tally(self) -> Tally:
        """What became of the messages, over all routes."""
        return sum(self.tallies().values(), Tally())

    def page_for(self, path: str) -> Page | None:
        """The page of exactly this path, or None."""
        return self._pages.get(path)


def _meters(options: WebSocketOptions) -> Meters:
    return Meters(options.messages_per_second, options.pusher_messages_per_second)


def _rate(per_second: int) -> Rate | None:
    return Rate(per_second) if per_second else None


def _accept_nothing(_offers: Sequence[object]) -> None:
    """No compression."""


def _accept_deflate(offers: Sequence[object]) -> PerMessageDeflateOfferAccept | None:
    for offer in offers:
        if isinstance(offer, PerMessageDeflateOffer):
            return PerMessageDeflateOfferAccept(offer)
    return None
