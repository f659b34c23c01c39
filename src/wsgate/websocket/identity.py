"""Who is at the other end of a connection, by its transport and by the proxies in between."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address as IPv4SocketAddress
from twisted.internet.address import IPv6Address as IPv6SocketAddress
from twisted.internet.interfaces import ISSLTransport

from wsgate.cgi import UNIX, Address, Client, Pairs, asked_port
from wsgate.http1 import RequestHead
from wsgate.proxies import TrustedProxies, client_address, client_scheme


class Identity(NamedTuple):
    """The client, and whether it is known for sure that it speaks TLS, or that it does not.

    `secure` is None on a plain connection of nobody who is believed: it may be from a proxy that
    has taken TLS off.
    """

    client: Client
    secure: bool | None


def identify(
    transport: Any, head: RequestHead, proxies: TrustedProxies, certificate: Pairs
) -> Identity:
    """Who sent `head` over `transport`; `certificate` are the variables of its TLS certificate.

    Behind the PROXY protocol the transport knows the client's address. What the head says of it
    counts only where that address is one of `proxies`.
    """
    remote = address_of(transport.getPeer())
    server = address_of(transport.getHost())
    secure: bool | None = ISSLTransport.providedBy(transport) or None
    if secure is None:
        # What a PROXY header has said, below all other wrappers of the socket.
        secure = getattr(transport, "secure_client", None)
    if proxies and proxies.trusts(remote.host):
        scheme = client_scheme(head.values(b"x-forwarded-proto"))
        if scheme is not None:
            secure = scheme
            server = Address(server.host, asked_port(head, secure))
        remote = client_address(remote, head.values(b"x-forwarded-for"), proxies)
    return Identity(Client(remote, server, bool(secure), certificate), secure)


def address_of(address: object) -> Address:
    """An address of Twisted's as PHP is told it."""
    if isinstance(address, IPv4SocketAddress):
        return Address(address.host, str(address.port))
    if isinstance(address, IPv6SocketAddress):
        ip = ip_address(address.host.partition("%")[0])
        # A socket for IPv6 and IPv4 shows IPv4 clients as ::ffff:192.0.2.1.
        mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
        return Address(str(mapped or ip), str(address.port))
    return UNIX
