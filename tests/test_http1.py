"""wsgate.http1: heads are read strictly, and nothing is repaired."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.http1 import BadRequest, RequestHead, parse_request_head, response


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"GET / HTTP/1.1", *lines)) + b"\r\n\r\n"


def test_names_are_lowered_values_stripped_and_order_and_duplicates_kept():
    parsed = parse_request_head(head(b"Host: a", b"X-A: \t1 ", b"x-a:2"), max_lines=9)
    assert parsed == RequestHead(
        b"GET", b"/", b"HTTP/1.1", ((b"host", b"a"), (b"x-a", b"1"), (b"x-a", b"2"))
    )
    assert parsed.values(b"x-a") == [b"1", b"2"]
    assert parsed.value(b"x-b") is None


def test_tokens_are_collected_over_duplicates_and_empty_ones_left_out():
    parsed = parse_request_head(head(b"Upgrade: a, ,b", b"Upgrade:c"), max_lines=9)
    assert parsed.tokens(b"upgrade") == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    "byte",
    [b"\x00", b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\r", b"\n", b"\x7f", b"\x1b"],
)
@pytest.mark.parametrize("place", [b"%sX: v", b"X%s: v", b"X: v%sY: w", b"X: %s", b"X: v%s"])
def test_a_control_character_anywhere_in_a_field_is_refused(byte, place):
    with pytest.raises(BadRequest) as caught:
        parse_request_head(head(b"Host: a", place % byte), max_lines=9)
    assert caught.value.status == 400


def test_a_next_line_byte_stays_inside_its_value_and_is_refused_in_a_name():
    # 0x85 is part of many UTF-8 characters, so a value may hold it; it must not end the line.
    parsed = parse_request_head(head(b"X-Note: hello\x85X-Forwarded-For: 6.6.6.6"), max_lines=9)
    assert parsed.headers == ((b"x-note", b"hello\x85X-Forwarded-For: 6.6.6.6"),)
    with pytest.raises(BadRequest):
        parse_request_head(head(b"X\x85: v"), max_lines=9)


@pytest.mark.parametrize(
    "line", [b"X : v", b" X: v", b"\tfolded", b"no colon", b": no name", b"", b"X\x80: v"]
)
def test_a_line_that_is_no_field_is_refused(line):
    with pytest.raises(BadRequest, match="Malformed header field"):
        parse_request_head(head(b"Host: a", line, b"Y: w"), max_lines=9)


@pytest.mark.parametrize(
    "line",
    [b"GET /", b"GET  / HTTP/1.1", b"GET / HTTP/11", b"GET /\x00 HTTP/1.1", b"G\xc3T / HTTP/1.1"],
)
def test_a_malformed_request_line_is_refused(line):
    with pytest.raises(BadRequest, match="Malformed request line"):
        parse_request_head(line + b"\r\nHost: a\r\n\r\n", max_lines=9)


def test_as_many_fields_as_allowed_pass_and_one_more_is_431():
    parse_request_head(head(*[b"A: b"] * 5), max_lines=5)
    with pytest.raises(BadRequest) as caught:
        parse_request_head(head(*[b"A: b"] * 6), max_lines=5)
    assert caught.value.status == 431


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_bad_request(garbage):
    try:
        parsed = parse_request_head(garbage + b"\r\n\r\n", max_lines=9)
    except BadRequest:
        return
    for name, value in parsed.headers:
        assert not set(name + value) & set(b"\r\n\x00\x0b\x0c\x1c\x1d\x1e\x7f")


def test_a_response_carries_its_length_and_ends_the_connection():
    assert response(404, (("X-A", "b"),), b"no\n") == (
        b"HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n"
    )
