"""The header of the PROXY protocol, versions 1 and 2, that comes before everything else. Pure.

https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt. Twisted's own parsers take any text
for an address, raise other errors than their own for some garbage, and give up on a header whose
first bytes come in two pieces; what a proxy says ends up in REMOTE_ADDR, so it is read strictly.
"""

from __future__ import annotations

import re
import struct
from ipaddress import ip_address
from typing import NamedTuple

from wsgate.cgi import UNIX, Address
from wsgate.proxies.trusted import read_address

LONGEST_V1 = 107
"""Bytes of a version 1 header, its end included (§2.1)."""

LONGEST_V2 = 16 + 4096
"""Bytes of a version 2 header that are taken: the addresses, and what proxies add to them."""

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_BEGINS = b"PROXY "
_V1 = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})"
)
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?")
_FIXED = struct.Struct("!12sBBH")
_SSL_TYPE, _CLIENT_SSL = 0x20, 0x01


class BadHeader(Exception):
    """These bytes are no PROXY header."""


class ProxyHeader(NamedTuple):
    """What a proxy says of a connection.

    `source` and `destination` are None where it says nothing: then the connection is the proxy's
    own, a health check for example. `secure` is whether the client speaks TLS with the proxy, None
    where it does not say.
    """

    source: Address | None
    destination: Address | None
    secure: bool | None = None


NOTHING = ProxyHeader(None, None)


class HeaderBuffer:
    """Collects the bytes of one header; it never holds more than the longest there is."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def receive_data(self, data: bytes) -> tuple[ProxyHeader, bytes] | None:
        """Add bytes; give the header and the bytes after it, once it is whole.

        Raises:
            BadHeader: it is none, is too long, or says what makes no sense.
        """
        self._buffer += data
        buffer = self._buffer
        if buffer.startswith(_SIGNATURE):
            return _version_2(buffer)
        if buffer.startswith(_V1_BEGINS):
            return _version_1(buffer)
        if _SIGNATURE.startswith(buffer) or _V1_BEGINS.startswith(buffer):
            return None
        raise BadHeader


def _version_1(buffer: bytes) -> tuple[ProxyHeader, bytes] | None:
    end = buffer.find(b"\r\n", 0, LONGEST_V1)
    if end < 0:
        if len(buffer) >= LONGEST_V1:
            raise BadHeader
        return None
    return _line(buffer[:end]), buffer[end + 2 :]


def _line(line: bytes) -> ProxyHeader:
    if _V1_UNKNOWN.fullmatch(line):
        return NOTHING
    match = _V1.fullmatch(line)
    if match is None:
        raise BadHeader
    family, source, destination, *ports = (group.decode() for group in match.groups())
    return ProxyHeader(_address(family, source, ports[0]), _address(family, destination, ports[1]))


def _address(family: str, host: str, port: str) -> Address:
    address = read_address(host)
    if address is None or (":" in host) != (family == "TCP6") or int(port) > 65535:
        raise BadHeader
    return Address(str(address), port)


def _version_2(buffer: bytes) -> tuple[ProxyHeader, bytes] | None:
    if len(buffer) < _FIXED.size:
        return None
    _, version_command, family, length = _FIXED.unpack_from(buffer)
    end = _FIXED.size + length
    if version_command not in (0x20, 0x21) or end > LONGEST_V2:
        raise BadHeader
    if len(buffer) < end:
        return None
    body, rest = buffer[_FIXED.size : end], buffer[end:]
    # LOCAL: a connection of the proxy's own; whatever it says of addresses is to be passed over.
    return (NOTHING if version_command == 0x20 else _proxied(family, body)), rest


def _proxied(family: int, body: bytes) -> ProxyHeader:
    # Only streams: 0x12 and the like are datagrams.
    if family == 0x11:
        return _addresses(4, body)
    if family == 0x21:
        return _addresses(16, body)
    if family == 0x31:
        if len(body) < 216:
            raise BadHeader
        return ProxyHeader(UNIX, UNIX, _tls(body[216:]))
    if family == 0x00:
        return NOTHING
    raise BadHeader


def _addresses(size: int, body: bytes) -> ProxyHeader:
    end = 2 * size + 4
    if len(body) < end:
        raise BadHeader
    source_port, destination_port = struct.unpack_from("!HH", body, 2 * size)
    source, destination = ip_address(body[:size]), ip_address(body[size : 2 * size])
    return ProxyHeader(
        Address(str(read_address(str(source))), str(source_port)),
        Address(str(read_address(str(destination))), str(destination_port)),
        _tls(body[end:]),
    )


def _tls(extra: bytes) -> bool | None:
    """Whether PP2_TYPE_SSL is among the type-length-values, and says that TLS is used (§2.2.6)."""
    while extra:
        if len(extra) < 3:
            raise BadHeader
        kind, length = struct.unpack_from("!BH", extra)
        value, extra = extra[3 : 3 + length], extra[3 + length :]
        if len(value) < length:
            raise BadHeader
        if kind == _SSL_TYPE and value:
            return bool(value[0] & _CLIENT_SSL)
    return None
