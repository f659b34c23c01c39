"""How many connections there are, in all and from each address. Pure."""

from __future__ import annotations

from collections import Counter

from wsgate.networks import network_of
from wsgate.websocket.rates import Rates


class Census:
    """Counts connections against limits: in all, from each address, new ones a second from each.

    0 means no limit. IPv6 addresses count by their /64 network, which is what one client is usually
    given. A host is an IP address, or anything that is none (`unix:`, or empty while the client is
    not known): that counts in all only.
    """

    def __init__(self, limit: int, limit_per_address: int, new_per_address: float = 0) -> None:
        self.change_limits(limit, limit_per_address, new_per_address)
        self._by_network: Counter[str] = Counter()
        self.total = 0

    def change_limits(self, limit: int, limit_per_address: int, new_per_address: float = 0) -> None:
        """Judge new connections by these; those that are there stay."""
        self.limit = limit
        self._limit_per_address = limit_per_address
        self._rates = Rates(new_per_address) if new_per_address else None

    def admit(self, host: str, now: float) -> str:
        """Count one more connection, from `host`, at the time `now` in seconds.

        The result is empty; or the limit that it would exceed, and then it is not counted.
        """
        if self.limit and self.total >= self.limit:
            return "max_connections"
        limit = self._count(network_of(host), now)
        if not limit:
            self.total += 1
        return limit

    def move(self, before: str, host: str, now: float) -> str:
        """A connection that was counted as from `before` turns out to be from `host`.

        The result is empty; or the limit that `host` exceeds, and then it counts as before.
        """
        network = network_of(host)
        if network == network_of(before):
            return ""
        limit = self._count(network, now)
        if not limit:
            self._discount(network_of(before))
        return limit

    def forgive(self, host: str) -> None:
        """A connection of `host` has shown that it may come as often as it likes."""
        network = network_of(host)
        if network is not None and self._rates is not None:
            self._rates.forgive(network)

    def remove(self, host: str) -> None:
        """Take back what was counted as from `host`."""
        self.total -= 1
        self._discount(network_of(host))

    def _count(self, network: str | None, now: float) -> str:
        if network is None:
            return ""
        if self._limit_per_address and self._by_network[network] >= self._limit_per_address:
            return "max_connections_per_address"
        if self._rates is not None and not self._rates.allow(network, now):
            return "new_connections_per_address"
        self._by_network[network] += 1
        return ""

    def _discount(self, network: str | None) -> None:
        if network is not None:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]
