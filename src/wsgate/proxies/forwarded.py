"""Who the client is, by what trusted proxies say in `X-Forwarded-*`. Pure.

The rules are those of nginx's realip module with `real_ip_recursive on`. `Forwarded` (RFC 7239) is
not read: a proxy that writes one of the two passes the other on as the client sent it, so whoever
reads both believes the client.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from wsgate.cgi import Address
from wsgate.proxies.trusted import TrustedProxies, read_address

# An address; one with a port; IPv6 in brackets, with or without a port.
_ELEMENT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?|([0-9.]+):([0-9]{1,5})|(.+)")


def client_address(peer: Address, forwarded_for: Sequence[bytes], by: TrustedProxies) -> Address:
    """The address of the client behind `peer`.

    As long as the address so far is one of the trusted, the next element of `forwarded_for` (the
    values of X-Forwarded-For), from right to left, takes its place. So what a client sends itself
    is never reached: the proxy that it is connected to has put its address to the right of that.
    Empty elements are skipped. One that is no IP address ends the walk, and what was found so far
    stands: the proxy that passed it on. If all are trusted, the leftmost is the client. The port is
    empty unless the element has one.
    """
    client = peer
    elements = b",".join(forwarded_for).decode("latin-1").split(",")
    while elements and by.trusts(client.host):
        element = elements.pop().strip(" \t")
        if element:
            found = _read(element)
            if found is None:
                break
            client = found
    return client


def _read(element: str) -> Address | None:
    match = _ELEMENT.fullmatch(element)
    if match is None:
        return None
    address = read_address(match[1] or match[3] or match[5])
    port = match[2] or match[4] or ""
    if address is None or (port and int(port) > 65535):
        return None
    # Without brackets, the colons are the address's own.
    return Address(str(address), str(int(port)) if port else "")


_SECURE = {b"https": True, b"wss": True, b"http": False, b"ws": False}


def client_scheme(forwarded_proto: Sequence[bytes]) -> bool | None:
    """Whether the client speaks TLS, by the values of X-Forwarded-Proto; None where they say not.

    The last element counts: what the proxy nearest to us has written, or added.
    """
    last = b",".join(forwarded_proto).rpartition(b",")[2]
    return _SECURE.get(last.strip(b" \t").lower())
