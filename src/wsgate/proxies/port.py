"""Ports where each connection begins with a PROXY header, as HAProxy and load balancers send it."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

from wsgate.cgi import UNIX, Address
from wsgate.floods import CalmLogger
from wsgate.proxies.header import BadHeader, HeaderBuffer
from wsgate.proxies.trusted import TrustedProxies

_log = CalmLogger(namespace="wsgate")


class ProxiedProtocol(ProtocolWrapper):
    """One connection: its header first, then all bytes to the protocol within.

    `getPeer` and `getHost` are the header's, once it is there. The protocol within is connected
    from the beginning, so that its timeouts count the header too.
    """

    secure_client: bool | None = None
    """Whether the client speaks TLS with the proxy; None where that did not say."""

    def __init__(self, factory: WrappingFactory[Any], wrapped: IProtocol) -> None:
        super().__init__(factory, wrapped)
        self._header: HeaderBuffer | None = HeaderBuffer()
        self._peer: IAddress | None = None
        self._host: IAddress | None = None

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes of the header, or after it."""
        if self._header is None:
            self.wrappedProtocol.dataReceived(data)
        elif not self.disconnecting:
            self._receive_header(data, self._header)

    def _receive_header(self, data: bytes, buffer: HeaderBuffer) -> None:
        try:
            received = buffer.receive_data(data)
        except BadHeader:
            _log.warn(
                "connection to a haproxy: port closed: {host} sent no PROXY header; is it the "
                "proxy, and does it send one?",
                host=_host_of(self.getPeer()),
            )
            self.disconnecting = 1
            _abort(self.transport)
            return
        if received is not None:
            header, rest = received
            self._header = None
            self._peer, self._host = _twisted(header.source), _twisted(header.destination)
            self.secure_client = header.secure
            if rest:
                self.wrappedProtocol.dataReceived(rest)

    def getPeer(self) -> IAddress:
        """The client, as the proxy says; the proxy itself until then, and for what is its own."""
        return self._peer or super().getPeer()

    def getHost(self) -> IAddress:
        """The address that the client connected to, as the proxy says."""
        return self._host or super().getHost()


class _Unwelcome(Protocol):
    """Ends its connection at once."""

    def connectionMade(self) -> None:
        _abort(self.transport)


def _abort(transport: Any) -> None:
    transport.abortConnection()


def _host_of(address: IAddress | None) -> str:
    return getattr(address, "host", UNIX.host)


def _twisted(address: Address | None) -> IAddress | None:
    if address is None:
        return None
    if address == UNIX:
        return UNIXAddress(None)
    kind = IPv6Address if ":" in address.host else IPv4Address
    return kind("TCP", address.host, int(address.port))


class ProxiedFactory(WrappingFactory):
    """Makes the protocols of such a port. Only `trusted` proxies are let in."""

    protocol = ProxiedProtocol
    noisy = False

    def __init__(self, factory: IProtocolFactory, trusted: TrustedProxies) -> None:
        super().__init__(factory)
        self._trusted = trusted

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Twisted: somebody connected from `addr`."""
        host = _host_of(addr)
        if not self._trusted.trusts(host):
            _log.warn(
                "connection to a haproxy: port closed: {host} is not in gateway.trusted_proxies, "
                "so what it says of its client is not believed; list it if it is a proxy of yours",
                host=host,
            )
            return _Unwelcome()
        # Whose connection it is will only be known by the header.
        return super().buildProtocol(None)


@implementer(IStreamServerEndpoint)
class ProxiedEndpoint:
    """An endpoint whose connections begin with a PROXY header, which `trusted` proxies send."""

    def __init__(self, endpoint: IStreamServerEndpoint, trusted: TrustedProxies) -> None:
        self._endpoint = endpoint
        self._trusted = trusted

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Twisted: begin to accept."""
        factory = ProxiedFactory(protocolFactory, self._trusted)
        listening: Deferred[IListeningPort] = self._endpoint.listen(factory)
        return listening
