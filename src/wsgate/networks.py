"""Which addresses count as one client. Pure."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def network_of(host: str) -> str | None:
    """The address itself for IPv4, the /64 for IPv6, None for what is no IP address."""
    if ":" not in host:
        return host or None
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    assert isinstance(address, IPv6Address)
    return address.exploded[:19]
