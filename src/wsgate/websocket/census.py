"""How many connections there are, in all and from each address. Pure."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address


class Census:
    """Counts connections against two limits; 0 means no limit.

    IPv6 addresses count by their /64 network, which is what one client is usually given.
    """

    def __init__(self, limit: int, limit_per_address: int) -> None:
        self._limit = limit
        self._limit_per_address = limit_per_address
        self._by_network: Counter[str] = Counter()
        self.total = 0

    def limit_for(self, host: str) -> str:
        """The limit that one more connection from `host` would exceed; empty if there is none.

        `host` is an IP address or `unix:`, which counts only against the total.
        """
        if self._limit and self.total >= self._limit:
            return "max_connections"
        network = network_of(host)
        if (
            self._limit_per_address
            and network is not None
            and self._by_network[network] >= self._limit_per_address
        ):
            return "max_connections_per_address"
        return ""

    def add(self, host: str) -> None:
        """Count one connection."""
        self.total += 1
        network = network_of(host)
        if network is not None:
            self._by_network[network] += 1

    def remove(self, host: str) -> None:
        """Take back what `add` counted."""
        self.total -= 1
        network = network_of(host)
        if network is not None:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]


def network_of(host: str) -> str | None:
    """The address itself for IPv4, the /64 for IPv6, None for what is no IP address."""
    if ":" not in host:
        return host
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    assert isinstance(address, IPv6Address)
    return address.exploded[:19]
