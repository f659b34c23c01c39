"""The proxies that are believed when they say who their client is. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address


class TrustedProxies:
    """A list of addresses and networks; `unix` stands for whoever connects to a UNIX socket.

    `names` are as `ipaddress.ip_network` reads them, or `unix`. ValueError for anything else. False
    when there are none.
    """

    __slots__ = ("_networks", "_unix")

    def __init__(self, names: Iterable[str] = ()) -> None:
        names = tuple(names)
        self._unix = "unix" in names
        self._networks = tuple(_network(name) for name in names if name != "unix")

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def trusts(self, host: str) -> bool:
        """Whether `host` is on the list: an IP address, or `unix:` for a UNIX socket's peer."""
        if host == "unix:":
            return self._unix
        if not self._networks:
            return False
        address = read_address(host)
        # An address of the other family is in no network.
        return address is not None and any(address in network for network in self._networks)


def _network(name: str) -> IPv4Network | IPv6Network:
    network = ip_network(name)
    mapped = network.network_address
    if isinstance(mapped, IPv6Address) and mapped.ipv4_mapped and network.prefixlen >= 96:
        return IPv4Network((mapped.ipv4_mapped, network.prefixlen - 96))
    return network


def read_address(text: str) -> IPAddress | None:
    """The IP address that `text` is; None for anything else, a zone (`%eth0`) included.

    ::ffff:192.0.2.1 is 192.0.2.1: a socket for both families shows IPv4 peers like that.
    """
    # Python lets a zone be any text.
    if "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


LOCAL = TrustedProxies(("127.0.0.0/8", "::1", "unix"))
"""This machine alone."""
