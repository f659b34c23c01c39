"""wsgate.grip.events: the body format of WebSocket-over-HTTP, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.grip.events import (
    MAX_EVENTS,
    OPEN,
    Event,
    MalformedEvents,
    close_event,
    decode_events,
    encode_events,
    read_close,
)

NAMES = st.sampled_from(["OPEN", "TEXT", "BINARY", "PING", "PONG", "CLOSE", "DISCONNECT", "NEW"])
EVENTS = st.lists(st.builds(Event, NAMES, st.none() | st.binary(max_size=300)))


@given(EVENTS)
def test_what_is_encoded_is_decoded_again(events):
    assert decode_events(encode_events(events)) == events


@given(EVENTS, st.data())
def test_a_body_that_is_cut_off_gives_only_whole_events_or_is_malformed(events, data):
    body = encode_events(events)
    cut = data.draw(st.integers(0, len(body)))
    try:
        decoded = decode_events(body[:cut])
    except MalformedEvents:
        return
    assert decoded == events[: len(decoded)]


@given(st.binary(max_size=200))
def test_any_bytes_are_events_or_malformed(body):
    try:
        events = decode_events(body)
    except MalformedEvents:
        return
    assert decode_events(encode_events(events)) == events


def test_the_transcript_of_the_protocol():
    body = b'OPEN\r\nTEXT 28\r\nc:{"channel":"room1","type":"subscribe"}\r\nTEXT 7\r\nm:hello\r\n'
    assert decode_events(body) == [
        OPEN,
        Event("TEXT", b'c:{"channel":"room1","type":"subscribe"}'),
        Event("TEXT", b"m:hello"),
    ]
    assert encode_events([Event("TEXT", b"hi")]) == b"TEXT 2\r\nhi\r\n"
    assert encode_events([OPEN]) == b"OPEN\r\n"
    assert encode_events([Event("TEXT", b"")]) == b"TEXT 0\r\n\r\n"


def test_lengths_are_hexadecimal_in_either_case():
    content = b"x" * 0xAB
    for length in (b"AB", b"ab", b"aB", b"00ab"):
        body = b"BINARY " + length + b"\r\n" + content + b"\r\n"
        assert decode_events(body) == [Event("BINARY", content)]


def test_content_may_hold_line_ends_and_other_events():
    inner = b"CLOSE\r\nTEXT 1\r\na\r\n"
    assert decode_events(encode_events([Event("TEXT", inner)])) == [Event("TEXT", inner)]


@pytest.mark.parametrize(
    "body",
    [
        b"\n",
        b"OPEN",
        b"OPEN\n",
        b"OPEN\r",
        b"OPEN\r\n\n",
        b"OPEN\r\n\r\n",
        b"open\r\n",
        b" OPEN\r\n",
        b"OPEN \r\n",
        b"\xef\xbb\xbfOPEN\r\n",
        b"TEXT 2\r\nhi",
        b"TEXT 2\r\nhi\n",
        b"TEXT 3\r\nhi\r\n",
        b"TEXT 1\r\nhi\r\n",
        b"TEXT -1\r\nhi\r\n",
        b"TEXT 0x2\r\nhi\r\n",
        b"TEXT  2\r\nhi\r\n",
        b"TEXT 2 \r\nhi\r\n",
        b"TEXT 2\thi\r\n",
        b"TEXT ffffffffffffffff\r\nhi\r\n",
        b"TEXT 00000000000000002\r\nhi\r\n",
        b"A" * 33 + b"\r\n",
        b"<br />\n<b>Warning</b>: Undefined variable",
    ],
)
def test_anything_else_is_malformed(body):
    with pytest.raises(MalformedEvents):
        decode_events(body)


def test_the_error_shows_what_the_script_printed_and_where():
    with pytest.raises(MalformedEvents, match=r"no event at byte 6: b'\\nWarning"):
        decode_events(b"OPEN\r\n\nWarning: x")


def test_as_many_events_as_are_allowed_and_one_more():
    assert len(decode_events(b"PING\r\n" * MAX_EVENTS)) == MAX_EVENTS
    with pytest.raises(MalformedEvents, match="more than 10000 events"):
        decode_events(b"PING\r\n" * (MAX_EVENTS + 1))


@pytest.mark.parametrize(
    ("event", "code", "reason"),
    [
        (close_event(1000, ""), 1000, ""),
        (close_event(4001, "tschüß"), 4001, "tschüß"),
        (close_event(1005, ""), None, ""),
        (Event("CLOSE", b"\x03"), None, ""),
        (Event("CLOSE", b"\x00\x00"), 0, ""),
        (Event("CLOSE", b"\x03\xe8\xff"), 1000, "\ufffd"),
    ],
)
def test_a_close_carries_its_code_and_reason(event, code, reason):
    assert read_close(event.content) == (code, reason)


def test_a_close_without_a_code_has_no_content():
    assert encode_events([close_event(1005, "")]) == b"CLOSE\r\n"
    assert encode_events([close_event(1000, "bye")]) == b"CLOSE 5\r\n\x03\xe8bye\r\n"
