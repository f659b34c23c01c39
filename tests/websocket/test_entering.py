"""wsgate.websocket.entering: places are given at accept, before TLS and before any byte."""

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import ISSLTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import directlyProvides

from tests.fakes import Transport
from tests.websocket.test_protocol import HANDSHAKE, Gateway
from wsgate.proxies import TrustedProxies


class Crowd(Gateway):
    """A gateway that many connect to."""

    def __init__(self, **options):
        self.all = []
        super().__init__(**options)

    def connect(self, peer=None, *, tls=False):
        self.transport = Transport(peerAddress=peer or IPv4Address("TCP", "192.0.2.7", 5000))
        if tls:
            directlyProvides(self.transport, ISSLTransport)
        self.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.all.append((self.protocol, self.transport))
        return self.transport

    def shake(self):
        self.receive(HANDSHAKE % b"")
        return self.sent().partition(b"\r\n")[0]

    @property
    def limits(self):
        return {name: count for name, count in self.factory.counts.limits.items() if count}

    @property
    def drops(self):
        return {name: count for name, count in self.factory.counts.drops.items() if count}


def peer(number):
    return IPv4Address("TCP", f"198.51.100.{number}", 5000)


ACCEPTED = b"HTTP/1.1 101 Switching Protocols"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable"


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({"max_connections": 3}, "max_connections"),
        ({"max_connections_per_address": 3}, "max_connections_per_address"),
    ],
)
def test_connections_in_their_handshake_take_places_too(options, limit):
    crowd = Crowd(**options)
    crowd.connect()
    crowd.connect()
    assert crowd.shake() == ACCEPTED
    crowd.connect()
    assert crowd.shake() == UNAVAILABLE
    assert crowd.limits == {limit: 1}
    assert crowd.factory.census.total == 3


def test_twice_the_rate_may_come_at_once_from_an_address_and_one_more_may_not():
    crowd = Crowd(new_connections_per_address=3)
    for _ in range(5):
        crowd.connect()
    assert crowd.shake() == ACCEPTED
    crowd.connect()
    assert crowd.shake() == UNAVAILABLE
    assert crowd.limits == {"new_connections_per_address": 1}
    crowd.connect(peer(1))
    assert crowd.shake() == ACCEPTED
    crowd.clock.advance(1 / 3)
    crowd.connect()
    assert crowd.shake() == ACCEPTED


def test_the_rate_is_of_an_ipv6_network():
    crowd = Crowd(new_connections_per_address=1)
    for host, answer in (
        ("2001:db8::1", ACCEPTED),
        ("2001:db8::2", ACCEPTED),
        ("2001:db8::3", UNAVAILABLE),
        ("2001:db8:0:1::1", ACCEPTED),
    ):
        crowd.connect(IPv6Address("TCP", host, 5000))
        assert crowd.shake() == answer


def test_over_tls_a_client_without_a_place_is_gone_before_its_handshake():
    crowd = Crowd(max_connections=1)
    crowd.connect(peer(2), tls=True)
    assert crowd.transport.aborted
    assert crowd.sent() == b""
    assert crowd.drops == {"turned away": 1}
    assert crowd.limits == {"max_connections": 1}


def test_a_refused_client_is_told_when_to_come_again_and_not_all_at_once():
    crowd = Crowd(max_connections=1)
    crowd.shake()
    told = set()
    for _ in range(100):
        crowd.connect()
        crowd.receive(b"G")
        headers = crowd.sent()
        assert headers.startswith(UNAVAILABLE)
        told.add(int(headers.partition(b"Retry-After: ")[2].partition(b"\r\n")[0]))
        crowd.lose()
    assert told <= set(range(5, 16))
    assert len(told) > 3


def test_one_without_a_place_that_says_nothing_is_gone_after_a_second():
    crowd = Crowd(max_connections=1)
    crowd.connect()
    crowd.clock.advance(0.9)
    assert not crowd.transport.aborted
    crowd.clock.advance(0.3)
    assert crowd.transport.aborted
    assert crowd.drops == {"turned away": 1}
    crowd.lose()
    assert crowd.factory.turning_away == 0


def test_few_wait_to_be_told_and_the_others_are_gone_at_once():
    crowd = Crowd(max_connections=1)
    transports = [crowd.connect() for _ in range(65)]
    assert [transport.aborted for transport in transports] == [False] * 64 + [True]


def test_a_client_without_a_place_takes_none_from_others():
    crowd = Crowd(new_connections_per_address=1, max_handshakes=2, max_connections=5)
    crowd.connect()
    crowd.connect()
    crowd.connect()
    assert crowd.factory.census.total == 2
    crowd.protocol = crowd.all[0][0]
    crowd.transport = crowd.all[0][1]
    assert crowd.shake() == ACCEPTED


# -- handshakes under way


def test_as_many_handshakes_as_allowed_are_under_way_and_a_newer_one_waits_in_vain():
    crowd = Crowd(max_handshakes=3)
    crowd.connect()
    crowd.connect()
    crowd.clock.advance(4.9)
    assert crowd.connect(tls=True).aborted
    assert crowd.limits == {"max_handshakes": 1}
    assert crowd.factory.census.total == 3
    assert [transport.aborted for _, transport in crowd.all[:3]] == [False] * 3


def test_the_handshake_that_takes_longest_gives_way_once_it_took_five_seconds():
    crowd = Crowd(max_handshakes=3)
    crowd.connect()
    crowd.connect()
    crowd.clock.advance(5.0)
    crowd.connect()
    assert [transport.aborted for _, transport in crowd.all] == [True, False, False, False]
    assert crowd.drops == {"gave way": 1}
    assert crowd.shake() == ACCEPTED


def test_slow_clients_never_keep_others_out():
    crowd = Crowd(max_handshakes=10)
    for number in range(100):
        crowd.connect()
        if number % 10 == 9:
            crowd.clock.advance(5.0)
    crowd.connect(peer(9))
    assert crowd.shake() == ACCEPTED
    assert len(crowd.factory.under_way) == 9


def test_finished_and_lost_handshakes_leave_their_place():
    crowd = Crowd(max_handshakes=1)
    assert crowd.shake() == ACCEPTED
    crowd.connect()
    assert len(crowd.factory.under_way) == 1
    crowd.lose()
    assert len(crowd.factory.under_way) == 0
    crowd.connect()
    assert crowd.shake() == ACCEPTED
    assert crowd.factory.census.total == 2
    for protocol, _ in crowd.all:
        if protocol in crowd.factory.connections:
            crowd.protocol = protocol
            crowd.lose()
    assert crowd.factory.census.total == 0
    assert len(crowd.factory.timeouts) == 0


# -- behind proxies that name the client


def test_behind_the_proxy_protocol_the_client_is_counted_when_it_is_known():
    class Proxied(ProtocolWrapper):
        client = IPv4Address("TCP", "203.0.113.9", 1)

        def getPeer(self):
            return self.client

    crowd = Crowd(max_connections_per_address=1)
    crowd.lose()
    for answer in (ACCEPTED, UNAVAILABLE):
        transport = Transport(peerAddress=peer(1))
        protocol = crowd.factory.buildProtocol(None)
        wrapper = Proxied(WrappingFactory(crowd.factory), protocol)
        wrapper.makeConnection(transport)
        assert crowd.factory.census.total > 0
        wrapper.dataReceived(HANDSHAKE % b"")
        assert transport.value().startswith(answer)
    assert crowd.limits == {"max_connections_per_address": 1}
    # Those behind it do not stand against the proxy's own address.
    crowd.connect(peer(1))
    assert crowd.shake() == ACCEPTED


def test_clients_of_a_trusted_proxy_are_counted_one_by_one():
    crowd = Crowd(max_connections_per_address=1, new_connections_per_address=1)
    crowd.factory.proxies = TrustedProxies(("198.51.100.0/24",))
    for client, answer in ((b"1", ACCEPTED), (b"2", ACCEPTED), (b"1", UNAVAILABLE)):
        crowd.connect(peer(1))
        crowd.receive(HANDSHAKE % (b"X-Forwarded-For: 203.0.113." + client + b"\r\n"))
        assert crowd.sent().startswith(answer)
    assert crowd.limits == {"max_connections_per_address": 1}
