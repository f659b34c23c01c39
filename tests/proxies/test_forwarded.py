"""wsgate.proxies.forwarded: who the client is, whatever stands in X-Forwarded-*."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.cgi import UNIX, Address
from wsgate.proxies import TrustedProxies, client_address, client_scheme

PROXY = Address("10.0.0.1", "4000")
TRUSTED = TrustedProxies(["10.0.0.0/8", "2001:db8::/32", "unix"])


def found(*values, peer=PROXY):
    return client_address(peer, values, TRUSTED)


@pytest.mark.parametrize(
    ("values", "host", "port"),
    [
        ((), "10.0.0.1", "4000"),
        ((b"",), "10.0.0.1", "4000"),
        ((b"192.0.2.7",), "192.0.2.7", ""),
        ((b" \t192.0.2.7 ",), "192.0.2.7", ""),
        ((b"192.0.2.7:1234",), "192.0.2.7", "1234"),
        ((b"192.0.2.7:0080",), "192.0.2.7", "80"),
        ((b"2001:DB9:0::7",), "2001:db9::7", ""),
        ((b"[2001:db9::7]",), "2001:db9::7", ""),
        ((b"[2001:db9::7]:1234",), "2001:db9::7", "1234"),
        ((b"::ffff:192.0.2.7",), "192.0.2.7", ""),
        # A client's own claim stands to the left of what its proxy has added.
        ((b"127.0.0.1, 192.0.2.7",), "192.0.2.7", ""),
        ((b"10.0.0.9, 192.0.2.7, 10.0.0.2",), "192.0.2.7", ""),
        ((b"evil", b"192.0.2.7", b"10.0.0.2, 10.0.0.3"), "192.0.2.7", ""),
        ((b",, 192.0.2.7 ,, ,",), "192.0.2.7", ""),
        # Every one trusted: the farthest.
        ((b"10.0.0.4, 10.0.0.3, 10.0.0.2",), "10.0.0.4", ""),
        ((b", ".join([b"192.0.2.7"] + [b"10.0.0.%d" % n for n in range(2, 22)]),), "192.0.2.7", ""),
        ((b", ".join([b"10.9.9.9"] * 20 + [b"192.0.2.7"]),), "192.0.2.7", ""),
    ],
)
def test_the_client_is_found_from_right_to_left(values, host, port):
    assert found(*values) == Address(host, port)


GARBAGE = [
    *(b"unknown", b"_hidden", b"example.com", b"192.0.2", b"192.0.2.256", b"192.0.2.07", b"-"),
    *(b"192.0.2.7:", b"192.0.2.7:65536", b"192.0.2.7:x", b"192.0.2.7:123456", b"192.0.2.7;x"),
    *(
        b"[192.0.2.7",
        b"2001:db9::7]",
        b"[2001:db9::7]x",
        b"[::7]:",
        b"fe80::1%eth0",
        b"fe80::1%<x>",
    ),
    *(b'"192.0.2.7"', b"for=192.0.2.7", b"\xff\xfe", b"1" * 9000, b"192.0.2.7 192.0.2.8", b"/24"),
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_ends_the_walk_at_the_proxy_that_passed_it_on(garbage):
    assert found(garbage) == PROXY
    assert found(b"192.0.2.7, " + garbage) == PROXY
    assert found(garbage + b", 10.0.0.2") == Address("10.0.0.2", "")
    # Behind a client that is not trusted nobody looks.
    assert found(garbage + b", 192.0.2.7") == Address("192.0.2.7", "")


@pytest.mark.parametrize("peer", [Address("192.0.2.1", "9"), Address("2001:db9::", "9")])
def test_an_untrusted_peer_is_the_client_whatever_it_says(peer):
    assert found(b"127.0.0.1", peer=peer) == peer


def test_a_unix_socket_may_be_listed_and_is_not_by_itself():
    assert found(b"192.0.2.7", peer=UNIX) == Address("192.0.2.7", "")
    assert client_address(UNIX, [b"192.0.2.7"], TrustedProxies(["10.0.0.0/8"])) == UNIX


@given(st.lists(st.binary(max_size=60), max_size=5), st.sampled_from([b"", b"192.0.2.7"]))
def test_whatever_is_sent_the_result_is_an_address_and_the_nearest_untrusted_one(sent, added):
    client = found(*sent, *([added] if added else []))
    ipaddress.ip_address(client.host)
    assert client.port == "" or 0 <= int(client.port) <= 65535
    if added:
        assert client.host == "192.0.2.7"


@pytest.mark.parametrize(
    ("values", "secure"),
    [
        ((), None),
        ((b"",), None),
        ((b"https",), True),
        ((b"HTTPS ",), True),
        ((b"wss",), True),
        ((b"http",), False),
        ((b"ws",), False),
        ((b"http, https",), True),
        ((b"https", b"http"), False),
        ((b"https,",), None),
        ((b"ftp",), None),
        ((b"https; x",), None),
        ((b"https\xff",), None),
    ],
)
def test_the_scheme_is_what_the_nearest_proxy_says(values, secure):
    assert client_scheme(values) is secure
