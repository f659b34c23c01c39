"""wsgate.websocket.census: counted in all and per address."""

import pytest

from wsgate.websocket.census import Census, network_of


def test_the_last_place_is_given_and_the_next_is_not():
    census = Census(2, 0)
    census.add("192.0.2.1")
    assert census.limit_for("192.0.2.2") == ""
    census.add("192.0.2.2")
    assert census.limit_for("192.0.2.3") == "max_connections"
    census.remove("192.0.2.1")
    assert census.limit_for("192.0.2.3") == ""


def test_one_address_has_its_own_limit():
    census = Census(0, 1)
    census.add("192.0.2.1")
    assert census.limit_for("192.0.2.1") == "max_connections_per_address"
    assert census.limit_for("192.0.2.2") == ""


def test_ipv6_counts_by_network():
    census = Census(0, 1)
    census.add("2001:db8:1:2::1")
    assert census.limit_for("2001:db8:1:2:ffff::9") == "max_connections_per_address"
    assert census.limit_for("2001:db8:1:3::1") == ""
    census.remove("2001:db8:1:2:ffff::9")
    assert census.limit_for("2001:db8:1:2::1") == ""


def test_unix_sockets_count_in_all_only():
    census = Census(2, 1)
    census.add("unix:")
    assert census.limit_for("unix:") == ""


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
        ("unix:", None),
    ],
)
def test_networks(host, network):
    assert network_of(host) == network
