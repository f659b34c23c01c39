"""wsgate.websocket.census: counted in all, per address, and new ones per address."""

import pytest

from wsgate.networks import network_of
from wsgate.websocket.census import Census

ALL, EACH, NEW = "max_connections", "max_connections_per_address", "new_connections_per_address"


def test_the_last_place_is_given_and_the_next_is_not():
    census = Census(2, 0)
    assert census.admit("192.0.2.1", 0) == ""
    assert census.admit("192.0.2.2", 0) == ""
    assert census.admit("192.0.2.3", 0) == ALL
    census.remove("192.0.2.1")
    assert census.admit("192.0.2.3", 0) == ""
    assert census.total == 2


def test_one_address_has_its_own_limit():
    census = Census(0, 1)
    assert census.admit("192.0.2.1", 0) == ""
    assert census.admit("192.0.2.1", 0) == EACH
    assert census.admit("192.0.2.2", 0) == ""
    assert census.total == 2


def test_ipv6_counts_by_network():
    census = Census(0, 1)
    assert census.admit("2001:db8:1:2::1", 0) == ""
    assert census.admit("2001:db8:1:2:ffff::9", 0) == EACH
    assert census.admit("2001:db8:1:3::1", 0) == ""
    census.remove("2001:db8:1:2:ffff::9")
    assert census.admit("2001:db8:1:2::1", 0) == ""


@pytest.mark.parametrize("host", ["unix:", ""])
def test_unix_sockets_and_clients_not_yet_known_count_in_all_only(host):
    census = Census(2, 1, 1)
    assert [census.admit(host, 0) for _ in range(3)] == ["", "", ALL]


def test_new_connections_of_an_address_come_at_their_rate():
    census = Census(0, 0, 3)
    assert [census.admit("192.0.2.1", 100.0) for _ in range(7)] == [""] * 6 + [NEW]
    assert census.admit("192.0.2.2", 100.0) == ""
    assert [census.admit("192.0.2.1", 101.0) for _ in range(4)] == [""] * 3 + [NEW]
    assert census.total == 10


def test_a_client_behind_a_proxy_is_counted_under_its_own_address_once_it_is_known():
    census = Census(0, 1)
    assert census.admit("", 0) == ""
    assert census.move("", "192.0.2.1", 0) == ""
    assert census.admit("", 0) == ""
    assert census.move("", "192.0.2.1", 0) == EACH
    census.remove("")
    census.remove("192.0.2.1")
    assert census.total == 0
    assert census.admit("192.0.2.1", 0) == ""


def test_a_client_that_stays_where_it_is_costs_nothing_more():
    census = Census(0, 1, 1)
    assert census.admit("192.0.2.1", 0) == ""
    assert [census.move("192.0.2.1", "192.0.2.1", 0) for _ in range(5)] == [""] * 5


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
        ("unix:", None),
        ("", None),
    ],
)
def test_networks(host, network):
    assert network_of(host) == network
