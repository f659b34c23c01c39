"""wsgate.websocket.identity: REMOTE_ADDR, the scheme and the port in every combination."""

import itertools

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import ISSLTransport
from zope.interface import directlyProvides

from tests.fakes import Transport
from tests.proxies.test_header import INET, TLS, version_2
from tests.websocket.test_protocol import HANDSHAKE, TEXT, Gateway, frame
from wsgate.proxies import TrustedProxies
from wsgate.proxies.port import ProxiedFactory

PROXY, STRANGER = "10.0.0.1", "203.0.113.5"
HEADERS = {
    "none": b"",
    "one": b"X-Forwarded-For: 198.51.100.1\r\n",
    "many": b"X-Forwarded-For: 127.0.0.1, 198.51.100.1, 10.0.0.2\r\n",
    "garbage": b"X-Forwarded-For: 198.51.100.1, <script>\r\n",
}
PROXIED = {"tcp": None, "v1": b"PROXY TCP4 192.0.2.7 10.0.0.9 56324 443\r\n"}


class Proxied(Gateway):
    """A gateway that believes 10.0.0.0/8, and a connection from `host` to it."""

    def __init__(self, host, *, haproxy=False, tls=False, trusted=("10.0.0.0/8",), **options):
        self._host, self._haproxy, self._tls, self._trusted = host, haproxy, tls, trusted
        super().__init__(**options)

    def connect(self, peer=None):
        trusted = TrustedProxies(self._trusted)
        self.factory.proxies = trusted
        factory = ProxiedFactory(self.factory, trusted) if self._haproxy else self.factory
        unix = self._host == "unix:"
        address = UNIXAddress(None) if unix else IPv4Address("TCP", self._host, 4000)
        self.transport = Transport(
            peerAddress=address, hostAddress=IPv4Address("TCP", "10.0.0.9", 8080)
        )
        if self._tls:
            directlyProvides(self.transport, ISSLTransport)
        self.protocol = factory.buildProtocol(address)
        self.protocol.makeConnection(self.transport)

    def params(self):
        """What PHP sees of a message."""
        self.receive(frame(TEXT, b"x"))
        return decoded(self.pool.requests[0].params)


def decoded(records):
    """The pairs of PARAMS records."""
    content = b""
    while records:
        size, padding = int.from_bytes(records[4:6], "big"), records[6]
        content += records[8 : 8 + size]
        records = records[8 + size + padding :]
    pairs = {}
    while content:
        lengths = []
        for _ in range(2):
            wide = content[0] >> 7
            lengths.append(int.from_bytes(content[: 4 if wide else 1], "big") & 0x7FFFFFFF)
            content = content[4 if wide else 1 :]
        name, content = content[: lengths[0]].decode(), content[lengths[0] :]
        assert name not in pairs
        pairs[name], content = content[: lengths[1]].decode("latin-1"), content[lengths[1] :]
    return pairs


# (peer, port) → REMOTE_ADDR for each kind of X-Forwarded-For; None: sent away before anything.
EXPECTED = {
    (STRANGER, "tcp"): dict.fromkeys(HEADERS, STRANGER),
    (PROXY, "tcp"): {
        "none": PROXY,
        "one": "198.51.100.1",
        "many": "198.51.100.1",
        "garbage": PROXY,
    },
    (STRANGER, "v1"): dict.fromkeys(HEADERS),
    # The PROXY header names a client that is not trusted, so its own X-Forwarded-For means nothing.
    (PROXY, "v1"): dict.fromkeys(HEADERS, "192.0.2.7"),
}


@pytest.mark.parametrize(
    ("peer", "port", "kind"), [*itertools.product((STRANGER, PROXY), PROXIED, HEADERS)]
)
def test_the_address_is_right_in_every_combination(peer, port, kind):
    gateway = Proxied(peer, haproxy=port != "tcp")
    expected = EXPECTED[peer, port][kind]
    if expected is None:
        assert gateway.transport.aborted
        gateway.receive(PROXIED[port] + HANDSHAKE % HEADERS[kind])
        assert gateway.sent() == b""
        assert not gateway.factory.connections
        return
    gateway.receive((PROXIED[port] or b"") + HANDSHAKE % HEADERS[kind])
    assert gateway.sent().startswith(b"HTTP/1.1 101 ")
    params = gateway.params()
    assert params["REMOTE_ADDR"] == expected
    assert params["REMOTE_PORT"] == {peer: "4000", "192.0.2.7": "56324"}.get(expected, "")
    # As nginx does, the header itself goes to PHP all the same.
    sent = HEADERS[kind].partition(b": ")[2].strip().decode()
    assert params.get("HTTP_X_FORWARDED_FOR", "") == sent
    assert gateway.factory.census._by_network == {expected: 1}


def test_behind_proxy_headers_a_trusted_source_may_be_a_proxy_too():
    gateway = Proxied(PROXY, haproxy=True)
    header = b"PROXY TCP4 10.0.0.77 10.0.0.9 56324 443\r\n"
    gateway.receive(header + HANDSHAKE % HEADERS["one"])
    assert gateway.params()["REMOTE_ADDR"] == "198.51.100.1"


@pytest.mark.parametrize(
    ("host", "tls", "value", "scheme", "port"),
    [
        (STRANGER, False, b"https", "http", "8080"),
        (STRANGER, True, b"http", "https", "8080"),
        (PROXY, False, None, "http", "8080"),
        (PROXY, False, b"https", "https", "443"),
        (PROXY, False, b"http", "http", "80"),
        (PROXY, True, b"http", "http", "80"),
        (PROXY, True, b"https", "https", "443"),
        (PROXY, False, b"nonsense", "http", "8080"),
        ("unix:", False, b"https", "http", "8080"),
    ],
)
def test_the_scheme_is_what_a_trusted_proxy_says(host, tls, value, scheme, port):
    gateway = Proxied(host, tls=tls)
    gateway.open(b"X-Forwarded-Proto: %s\r\n" % value if value else b"")
    params = gateway.params()
    assert (params["REQUEST_SCHEME"], params["SERVER_PORT"]) == (scheme, port)
    assert params.get("HTTPS") == ("on" if scheme == "https" else None)


def test_the_port_of_the_host_header_is_the_one_that_was_asked_for():
    gateway = Proxied(PROXY)
    request = HANDSHAKE % b"X-Forwarded-Proto: https\r\n"
    gateway.receive(request.replace(b"Host: example.com", b"Host: example.com:8443"))
    assert gateway.params()["SERVER_PORT"] == "8443"


def test_a_listed_unix_socket_is_believed():
    gateway = Proxied("unix:", trusted=("unix",))
    gateway.open(HEADERS["one"] + b"X-Forwarded-Proto: https\r\n")
    params = gateway.params()
    assert (params["REMOTE_ADDR"], params["HTTPS"]) == ("198.51.100.1", "on")


def test_the_proxy_protocol_can_say_that_the_client_speaks_tls():
    gateway = Proxied(PROXY, haproxy=True)
    gateway.receive(version_2(INET + TLS) + HANDSHAKE % b"Origin: https://example.com\r\n")
    assert gateway.params()["HTTPS"] == "on"


@pytest.mark.parametrize(
    ("host", "tls", "proto", "origin", "status"),
    [
        # Nobody is believed: a proxy may have taken TLS off.
        (STRANGER, False, b"https", b"http", b"101"),
        (STRANGER, False, b"http", b"https", b"101"),
        (PROXY, False, b"https", b"https", b"101"),
        (PROXY, False, b"https", b"http", b"403"),
        (PROXY, False, b"http", b"https", b"403"),
        (STRANGER, True, b"http", b"https", b"101"),
        (STRANGER, True, b"http", b"http", b"403"),
    ],
)
def test_where_the_scheme_is_known_the_page_has_to_have_it_too(host, tls, proto, origin, status):
    gateway = Proxied(host, tls=tls)
    headers = b"X-Forwarded-Proto: %s\r\nOrigin: %s://example.com\r\n" % (proto, origin)
    gateway.receive(HANDSHAKE % headers)
    assert gateway.sent().startswith(b"HTTP/1.1 " + status)


def test_the_limit_per_address_is_for_clients_and_not_for_their_proxy():
    gateway = Proxied(PROXY, max_connections_per_address=1)
    for number, status in ((1, b"101"), (2, b"101"), (2, b"503")):
        if gateway.factory.counts.accepted:
            gateway.connect()
        gateway.receive(HANDSHAKE % (b"X-Forwarded-For: 192.0.2.%d\r\n" % number))
        assert gateway.sent().startswith(b"HTTP/1.1 " + status)
    gateway.lose()
    assert gateway.factory.census.total == 2
