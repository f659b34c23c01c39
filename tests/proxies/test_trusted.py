"""wsgate.proxies.trusted: which addresses are on the list."""

import pytest

from wsgate.proxies import LOCAL, TrustedProxies

LISTED = TrustedProxies(["10.0.0.5", "192.168.0.0/16", "2001:db8::/32", "unix"])


@pytest.mark.parametrize(
    "host",
    [
        *("10.0.0.5", "192.168.0.0", "192.168.255.255", "::ffff:10.0.0.5", "unix:"),
        *("2001:db8::1", "2001:DB8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
)
def test_an_address_on_the_list_is_trusted(host):
    assert LISTED.trusts(host)


@pytest.mark.parametrize(
    "host",
    [
        *("10.0.0.4", "10.0.0.6", "192.167.255.255", "192.169.0.0", "2001:db7::1", "2001:db9::"),
        *("", "unix", "localhost", "10.0.0.5%eth0", "2001:db8::1%x", "010.0.0.5", "10.0.0.5:80"),
        "[2001:db8::1]",
    ],
)
def test_no_other_is(host):
    assert not LISTED.trusts(host)


def test_an_empty_list_trusts_nobody_and_is_false():
    for host in ("127.0.0.1", "::1", "unix:", ""):
        assert not TrustedProxies().trusts(host)
    assert not TrustedProxies()
    assert LISTED
    assert TrustedProxies(["unix"])


def test_an_ipv4_network_may_be_written_as_ipv6_sockets_show_it():
    assert TrustedProxies(["::ffff:10.0.0.0/104"]).trusts("10.9.9.9")
    assert not TrustedProxies(["::ffff:10.0.0.0/104"]).trusts("11.0.0.0")


def test_local_is_this_machine_alone():
    assert all(map(LOCAL.trusts, ("127.0.0.1", "127.255.0.9", "::1", "unix:")))
    assert not any(map(LOCAL.trusts, ("10.0.0.1", "192.168.1.1", "::2", "fe80::1", "0.0.0.0")))


@pytest.mark.parametrize(
    "name", ["", "10.0.0.1/8", "example.com", "10.0.0.0/33", "fe80::1%eth0/64"]
)
def test_what_is_no_network_is_refused(name):
    with pytest.raises(ValueError, match=r"."):
        TrustedProxies([name])
