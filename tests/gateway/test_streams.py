"""wsgate.gateway.streams: the same bytes are the same messages, however they come."""

import itertools
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate import cgi
from wsgate.gateway.streams import (
    Lines,
    Parts,
    StreamLimits,
    StreamNotText,
    StreamTooLarge,
    stream_head,
    stream_kind,
)

TEXT = cgi.parse_response_head(b"Content-Type: text/plain")
BINARY = cgi.parse_response_head(b"Content-Type: application/octet-stream")
SMALL = StreamLimits(timeout=1.0, messages=4, size=30, message_size=10)
WIDE = StreamLimits()


def messages_of(cutter, pieces, is_whole=True):
    """The messages, and the class of the error behind them, if any."""
    ready = deque()
    try:
        for piece in pieces:
            cutter.feed(piece, ready)
        if is_whole:
            cutter.finish(ready)
    except (StreamTooLarge, StreamNotText, cgi.MalformedResponse) as error:
        return list(ready), type(error)
    return list(ready), None


def cut(data, places):
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(ends)]


def lines(pieces, limits=WIDE, head=TEXT, is_whole=True):
    return messages_of(Lines(head, limits), pieces, is_whole)


def parts(pieces, limits=WIDE, head=TEXT, is_whole=True):
    return messages_of(Parts(head, limits), pieces, is_whole)


# Few letters, so that line ends, wrong UTF-8 and limits are all met.
BODIES = st.lists(
    st.sampled_from([b"\n", b"\r\n", b"\r", b"a", b"bcd", "ü".encode(), "€".encode(), b"\xff"]),
    max_size=30,
).map(b"".join)
CUTS = st.lists(st.integers(0, 90), max_size=8)
HEADS = st.sampled_from([TEXT, BINARY])
LIMITS = st.sampled_from([SMALL, WIDE])


@given(BODIES, CUTS, HEADS, LIMITS)
def test_any_cut_of_the_bytes_gives_the_same_lines(body, places, head, limits):
    whole = lines([body], limits, head)
    assert lines(cut(body, places), limits, head) == whole
    assert lines([body[n : n + 1] for n in range(len(body))], limits, head) == whole


@given(BODIES, st.integers(0, 90), CUTS, HEADS, LIMITS)
def test_no_beginning_gives_a_line_that_the_whole_does_not(body, end, places, head, limits):
    whole, _ = lines([body], limits, head)
    begun, _ = lines(cut(body[:end], places), limits, head, is_whole=False)
    assert begun == whole[: len(begun)]


@given(st.lists(BODIES, max_size=6), st.integers(0, 6), HEADS, LIMITS)
def test_no_beginning_gives_a_part_that_the_whole_does_not(records, end, head, limits):
    whole, _ = parts(records, limits, head)
    begun, _ = parts(records[:end], limits, head, is_whole=False)
    assert begun == whole[: len(begun)]


@given(BODIES, CUTS)
def test_parts_are_the_body_and_each_is_text(body, places):
    found, error = parts(cut(body, places))
    assert body.startswith(b"".join(found))
    for message in found:
        assert message.decode()
    if error is None:
        assert b"".join(found) == body
    else:
        assert b"\xff" in body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\r\nb", [b"a", b"b"]),
        (b"\n\r\n", [b"", b""]),
        (b"a\r", [b"a"]),
        (b"a\r\r\n", [b"a\r"]),
        (b"a\rb\n", [b"a\rb"]),
    ],
)
def test_lines_end_with_lf_or_cr_lf(body, expected):
    assert lines([body]) == (expected, None)


def test_a_line_that_is_not_ended_is_none_until_the_body_is_complete():
    assert lines([b"one\nhalf"], is_whole=False) == ([b"one"], None)


def test_a_line_that_is_not_utf8_ends_a_text_stream_behind_the_good_ones():
    body = b"one\ntwo\n\xff\nfour\n"
    assert lines([body]) == ([b"one", b"two"], StreamNotText)
    assert lines([body], head=BINARY) == ([b"one", b"two", b"\xff", b"four"], None)


def test_a_character_that_two_parts_share_begins_the_second():
    euro = "€".encode()
    assert parts([b"1" + euro[:1], euro[1:2], euro[2:] + b"2"]) == ([b"1", euro + b"2"], None)
    assert parts([b"1" + euro[:1]]) == ([b"1"], StreamNotText)
    assert parts([b"1" + euro[:1]], head=BINARY) == ([b"1" + euro[:1]], None)
    assert parts([euro[1:]]) == ([], StreamNotText)


@pytest.mark.parametrize("make", [lines, parts])
def test_as_many_messages_as_may_be_and_not_one_more(make):
    records = [b"%d\n" % n for n in range(5)]
    good, error = make(records[:4], SMALL)
    assert (len(good), error) == (4, None)
    good, error = make(records, SMALL)
    assert (len(good), error) == (4, StreamTooLarge)


@pytest.mark.parametrize("make", [lines, parts])
def test_as_many_bytes_as_may_be_and_not_one_more(make):
    records = [b"123456789\n"] * 3
    good, error = make(records, SMALL)
    assert (len(good), error) == (3, None)
    good, error = make([*records, b"x"], SMALL)
    assert (len(good), error) == (3, StreamTooLarge)


@pytest.mark.parametrize("make", [lines, parts])
def test_a_message_as_long_as_may_be_and_not_one_byte_more(make):
    assert make([b"x" * 10], SMALL) == ([b"x" * 10], None)
    assert make([b"a\n", b"x" * 11], SMALL)[1] is StreamTooLarge


def test_a_line_too_long_is_not_waited_for():
    assert lines([b"a\n" + b"x" * 11], SMALL, is_whole=False) == ([b"a"], StreamTooLarge)


@pytest.mark.parametrize("make", [lines, parts])
def test_a_content_length_that_is_not_the_bodys_is_noticed_at_the_end(make):
    head = cgi.parse_response_head(b"Content-Length: 3")
    assert make([b"abc"], head=head) == ([b"abc"], None)
    assert make([b"abcd"], head=head)[1] is cgi.MalformedResponse


STREAM = b"Content-Type: text/plain\r\nWsgate-Stream: lines\r\n\r\n"


def test_a_head_is_known_once_it_is_whole_and_not_before():
    for end in range(len(STREAM) - 1):
        assert stream_head(STREAM[:end]) is None, end
    for more in (b"", b"body\n"):
        kind, head, start = stream_head(bytearray(STREAM + more))
        assert (kind, head.status, start) == ("lines", 200, len(STREAM))


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: text/plain",
        b"X-Wsgate-Stream: lines",
        b"Wsgate-Stream: words",
        b"Wsgate-Stream:",
        b"Wsgate-Stream: lines\nWsgate-Stream: lines",
        b"Status: 204\nWsgate-Stream: lines",
        b"Status: 302\nWsgate-Stream: lines",
        b"Status: 422\nWsgate-Stream: lines",
        b"Status: 500\nWsgate-Stream: lines",
        b"Location: /\nWsgate-Stream: lines",
        b"Wsgate-Stream: lines\nContent-Encoding: gzip",
        b"Wsgate-Stream: lines\nno field",
        b"x" * (cgi.MAX_HEADER_BYTES + 10),
    ],
)
def test_every_other_answer_is_collected(head):
    assert stream_head(head + b"\n\nbody") is False


def test_the_kind_is_read_in_any_case_and_a_header_too_long_is_none():
    assert stream_kind((("wsgate-stream", "Parts"),)) == "parts"
    assert stream_kind(()) is None
    assert stream_head(b"x" * (cgi.MAX_HEADER_BYTES + 1)) is False
    assert stream_head(b"x" * cgi.MAX_HEADER_BYTES) is None
