"""wsgate.proxies.header: the PROXY header, byte by byte."""

import socket
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.cgi import UNIX, Address
from wsgate.proxies.header import LONGEST_V1, LONGEST_V2, BadHeader, HeaderBuffer, ProxyHeader

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
NOTHING = ProxyHeader(None, None)
V4 = ProxyHeader(Address("192.0.2.7", "56324"), Address("198.51.100.1", "443"))
V6 = ProxyHeader(Address("2001:db8::7", "56324"), Address("2001:db8::1", "443"))


def version_2(body=b"", command=0x21, family=0x11):
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def packed(family, source, destination):
    hosts = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    return hosts + struct.pack("!HH", 56324, 443)


INET = packed(socket.AF_INET, "192.0.2.7", "198.51.100.1")
INET6 = packed(socket.AF_INET6, "2001:db8::7", "2001:db8::1")


def extra(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


TLS = extra(0x20, b"\x01\0\0\0\0" + extra(0x21, b"TLSv1.3"))

GOOD = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", V4),
    (b"PROXY TCP6 2001:db8::7 2001:DB8:0::1 56324 443\r\n", V6),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 56324 443\r\n", V4),
    (b"PROXY UNKNOWN\r\n", NOTHING),
    (b"PROXY UNKNOWN 2001:db8::7 whatever 1 2\r\n", NOTHING),
    (b"PROXY UNKNOWN " + b"x" * (LONGEST_V1 - 16) + b"\r\n", NOTHING),
    (version_2(INET), V4),
    (version_2(INET6, family=0x21), V6),
    (version_2(bytes(216), family=0x31), ProxyHeader(UNIX, UNIX)),
    (version_2(command=0x20, family=0), NOTHING),
    (version_2(INET, command=0x20), NOTHING),
    (version_2(b"\xff" * 9, family=0), NOTHING),
    (version_2(INET + extra(0x04, b"noop") + TLS), V4._replace(secure=True)),
    (version_2(INET + extra(0x20, b"\0\0\0\0\0")), V4._replace(secure=False)),
    (version_2(INET + extra(0x04, bytes(4096 - 12 - 3))), V4),
]


@pytest.mark.parametrize(("header", "expected"), GOOD)
@given(cuts=st.lists(st.integers(0, 300), max_size=5))
def test_any_split_of_a_header_gives_the_same(header, expected, cuts):
    buffer = HeaderBuffer()
    edges = [0, *sorted({min(cut, len(header) - 1) for cut in cuts})]
    for start, end in pairwise(edges):
        assert buffer.receive_data(header[start:end]) is None
    assert buffer.receive_data(header[edges[-1] :] + b"GET /") == (expected, b"GET /")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00",
        b"PROXYX",
        b"proxy TCP4 192.0.2.7 198.51.100.1 56324 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
        b"PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.1 56324 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 0x1 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 01 443\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 56324 443\r\n",
        b"PROXY TCP6 fe80::1%x 2001:db8::1 56324 443\r\n",
        b"PROXY TCP4 <script> 198.51.100.1 56324 443\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 56324 443\r\n",
        b"PROXY UNKNOWN \x1b[31m\r\n",
        b"PROXY UNKNOWN " + b"x" * (LONGEST_V1 - 15) + b"\r\n",
        b"PROXY " + b"x" * (LONGEST_V1 - 6),
        SIGNATURE + b"\x11\x11\0\0",
        version_2(INET, command=0x22),
        version_2(INET[:11]),
        version_2(INET6[:35], family=0x21),
        version_2(bytes(215), family=0x31),
        version_2(INET, family=0x12),
        version_2(INET, family=0x41),
        version_2(INET + b"\x20"),
        version_2(INET + b"\x20\x00\x05\x01"),
        SIGNATURE + b"\x21\x11" + struct.pack("!H", LONGEST_V2 - 15),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_anything_else_is_refused_as_soon_as_it_shows(data):
    with pytest.raises(BadHeader):
        HeaderBuffer().receive_data(data)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21"]))
def test_no_bytes_make_it_fail_in_another_way_or_hold_more_than_a_header(data, prefix):
    buffer = HeaderBuffer()
    try:
        for byte in prefix + data:
            if buffer.receive_data(bytes([byte])) is not None:
                return
    except BadHeader:
        return
    assert len(buffer._buffer) < LONGEST_V2
