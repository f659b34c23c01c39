"""wsgate.proxies.port: connections that begin with a PROXY header, and who may make them."""

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.protocol import Factory, Protocol

from tests.fakes import Transport
from wsgate.proxies import LOCAL, TrustedProxies
from wsgate.proxies.port import ProxiedFactory

LISTED = TrustedProxies(["10.0.0.0/8"])
HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"


class Within(Protocol):
    def __init__(self):
        self.received = b""

    def dataReceived(self, data):
        self.received += data


def connected(peer, trusted=LISTED):
    protocol = ProxiedFactory(Factory.forProtocol(Within), trusted).buildProtocol(peer)
    transport = Transport(peerAddress=peer, hostAddress=IPv4Address("TCP", "10.0.0.9", 443))
    protocol.makeConnection(transport)
    return protocol, transport


PROXY = IPv4Address("TCP", "10.0.0.1", 4000)


def test_a_listed_proxy_says_who_connects_and_where():
    protocol, _ = connected(PROXY)
    within = protocol.wrappedProtocol
    assert within.transport.getPeer() == PROXY
    for byte in HEADER:
        protocol.dataReceived(bytes([byte]))
    protocol.dataReceived(b"GET")
    protocol.dataReceived(b" /")
    assert within.received == b"GET /"
    assert within.transport.getPeer() == IPv4Address("TCP", "192.0.2.7", 56324)
    assert within.transport.getHost() == IPv4Address("TCP", "198.51.100.1", 443)


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"])
def test_a_connection_of_the_proxys_own_keeps_its_addresses(header):
    protocol, transport = connected(PROXY)
    protocol.dataReceived(header + b"GET")
    assert protocol.wrappedProtocol.received == b"GET"
    assert protocol.getPeer() == PROXY
    assert protocol.getHost() == transport.getHost()


@pytest.mark.parametrize(
    "peer",
    [
        IPv4Address("TCP", "192.0.2.9", 1),
        IPv4Address("TCP", "127.0.0.1", 1),
        IPv6Address("TCP", "2001:db8::9", 1),
        UNIXAddress(None),
    ],
)
def test_anybody_else_is_sent_away_at_once_with_one_line(peer, logged):
    protocol, transport = connected(peer)
    assert transport.aborted
    (line,) = logged()
    assert "is not in gateway.trusted_proxies" in line
    assert getattr(peer, "host", "unix:") in line
    protocol.dataReceived(HEADER + b"GET")
    assert transport.value() == b""


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 x y 1 2\r\n", b"\x16\x03"]
)
def test_without_a_good_header_the_connection_ends_with_one_line(data, logged):
    protocol, transport = connected(PROXY)
    protocol.dataReceived(data)
    protocol.dataReceived(data)
    assert transport.aborted
    assert protocol.wrappedProtocol.received == b""
    (line,) = logged()
    assert "10.0.0.1 sent no PROXY header" in line


def test_of_a_port_without_a_list_only_this_machine_may_connect():
    for peer in (IPv4Address("TCP", "127.0.0.1", 1), UNIXAddress(None)):
        assert not connected(peer, LOCAL)[1].aborted
    assert connected(PROXY, LOCAL)[1].aborted
