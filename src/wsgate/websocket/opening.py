"""The first part of a connection's life: the guarded handshake, or plain HTTP and the end."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from wsgate.cgi import Client
from wsgate.floods import CalmLogger
from wsgate.gateway import Route
from wsgate.http1 import BadRequest, RequestHead, parse_request_head, response
from wsgate.websocket.entering import EnteringProtocol, no_place
from wsgate.websocket.handshake import (
    HeadBuffer,
    Refused,
    Upgrade,
    check_origin,
    check_request,
    check_upgrade,
    choose_subprotocol,
    wants_websocket,
)
from wsgate.websocket.identity import Identity, address_of, identify

_log = CalmLogger(namespace="wsgate")


class OpeningProtocol(EnteringProtocol):
    """Collects and judges the request; Autobahn has not begun.

    A plain request gets a page or 426 and the end, a refused handshake its status and the end. An
    accepted one goes to `accept`, which the subclass has.
    """

    _head: HeadBuffer | None = None
    _reader: Any = None
    """What reads instead, once it is no client."""
    _host = ""
    """The client's address, once it is known."""

    def connectionMade(self) -> None:
        """A client connected."""
        factory = self.factory
        factory.connections.add(self)
        self._head = HeadBuffer(self.options.max_header_bytes)
        if self._enter():
            self._handshake_timeout = factory.timeouts.call_later(
                self.options.handshake_timeout, self._handshake_timed_out
            )

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, by whichever end."""
        self._leave()
        self._cancel_handshake_timeout()
        self._head = None
        if self._reader is not None:
            self._reader.connectionLost(reason)
        self.factory.forget(self)

    def accept(self, route: Route, upgrade: Upgrade, client: Client, rest: bytes) -> None:
        """The handshake is good; `rest` are bytes that came after it.

        Whoever lets the client in, or begins to wait for that, says `_head_is_complete`.

        Raises:
            Refused: it cannot be accepted after all.
        """
        raise NotImplementedError

    def _receive_head(self, data: bytes) -> None:
        assert self._head is not None
        try:
            if self._turned_away:
                raise no_place()
            received = self._head.receive_data(data)
            if received is None:
                return
            self._head = None
            head = parse_request_head(received[0], max_lines=self.options.max_header_lines)
            certificate = self.factory.certificate_params(self.transport)
            identity = identify(self.transport, head, self.factory.proxies, certificate)
            self._host = identity.client.remote.host
            if self._is_plain_http(head):
                self._give_to_plain_http(received[0] + received[1])
                return
            self._decide(head, identity, received[1])
        except Refused as refused:
            self._refuse(refused.status, str(refused), refused.headers, refused.limit)
        except BadRequest as bad:
            self._refuse(bad.status, str(bad), limit=bad.limit)

    def _decide(self, head: RequestHead, identity: Identity, rest: bytes) -> None:
        path = check_request(head)
        if not wants_websocket(head):
            self._answer_plain_request(head, path)
            return
        route = self.factory.route_for(path)
        if route is None:
            raise Refused(404, "No WebSocket is served at this path")
        check_upgrade(head)
        check_origin(head, route.origins, identity.secure)
        subprotocol = choose_subprotocol(head, route.subprotocols)
        self._count_as(self._host)
        self.accept(route, Upgrade(head, subprotocol), identity.client, rest)

    def _head_is_complete(self) -> None:
        """The client has done its part of the handshake, and in time."""
        self.factory.under_way.end(self)
        self._cancel_handshake_timeout()

    def _is_plain_http(self, head: RequestHead) -> bool:
        plain_http = self.factory.plain_http
        return plain_http is not None and plain_http.takes(head) and not wants_websocket(head)

    def _give_to_plain_http(self, data: bytes) -> None:
        """Let another protocol have this connection, from its first byte: `data` and what follows.

        Raises:
            Refused: there are too many of them.
        """
        assert self.factory.plain_http is not None
        self._count_as(self._host)
        reader = self.factory.plain_http.buildProtocol(self.transport.getPeer())
        if reader is None:
            raise no_place()
        reader.signed = partial(self.factory.census.forgive, self._host)
        self._head_is_complete()
        self._reader = reader
        reader.makeConnection(self.transport)
        reader.dataReceived(data)

    def _answer_plain_request(self, head: RequestHead, path: str) -> None:
        page = self.factory.page_for(path)
        if page is None:
            if self.factory.route_for(path) is None:
                raise Refused(404, "There is nothing at this path")
            raise Refused(
                426,
                "This is a WebSocket: connect with ws:// or wss:// (in a browser: new WebSocket)",
                (("Upgrade", "websocket"),),
            )
        self._respond(200, page.headers, page.body, head.method)

    def _refuse(
        self,
        status: int,
        reason: str,
        headers: tuple[tuple[str, str], ...] = (),
        limit: str = "",
    ) -> None:
        self._head = None
        self.factory.counts.refused[status] += 1
        if limit:
            self.factory.counts.limits[limit] += 1
        # Of those that are turned away, in a storm thousands, the factory says it once for many.
        if not self._turned_away:
            _log.info(
                "{status} to {host}: {reason}",
                status=status,
                host=self._host or address_of(self.transport.getPeer()).host,
                reason=reason,
                kind=(status, reason),
            )
        text = (("Content-Type", "text/plain; charset=utf-8"),)
        self._respond(status, headers + text, f"{reason}\n".encode())

    def _respond(
        self,
        status: int,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        method: bytes = b"GET",
    ) -> None:
        answer = response(status, headers, body)
        if method == b"HEAD":
            answer = answer[: len(answer) - len(body)]
        self.transport.write(answer)
        # The handshake's timeout stays: it ends the connection of a client that never reads.
        self.transport.loseConnection()

    def _handshake_timed_out(self) -> None:
        self._handshake_timeout = None
        counts = self.factory.counts
        counts.drops["handshake timeout"] += 1
        counts.limits["handshake_timeout"] += 1
        if self._head is not None:
            self._refuse(408, "The request did not come in time")
        self.transport.abortConnection()

    def _cancel_handshake_timeout(self) -> None:
        if self._handshake_timeout is not None:
            self._handshake_timeout.cancel()
            self._handshake_timeout = None
