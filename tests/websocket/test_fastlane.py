"""wsgate.websocket.fastlane: only what Autobahn would take the same way."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.websocket.test_protocol import BINARY, CLOSE, PING, TEXT, Gateway, frame
from wsgate.gateway import QueueLimits
from wsgate.websocket.fastlane import take_message, unmasked
from wsgate.websocket.protocol import GatewayProtocol
from wsgate.websocket.template import open_protocol


@given(st.binary(min_size=4, max_size=4), st.binary(max_size=3000))
def test_unmasking_is_the_rfcs(mask, payload):
    masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
    assert unmasked(mask, masked) == payload


@pytest.mark.parametrize("size", [0, 1, 125, 126, 1024, 1025, 65535])
def test_a_whole_small_frame_is_taken(size):
    data = frame(BINARY, b"x" * size)
    assert take_message(b"..." + data + b"rest", 3, 10**6) == (b"x" * size, True, 3 + len(data))


def test_a_message_of_the_limit_is_taken_and_a_longer_one_is_left():
    assert take_message(frame(TEXT, b"x" * 10), 0, 10) is not None
    assert take_message(frame(TEXT, b"x" * 11), 0, 10) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        frame(TEXT, b"hello")[:-1],
        frame(BINARY, b"x" * 200)[:7],
        frame(TEXT, b"x", fin=False),
        frame(0, b"x"),
        frame(CLOSE),
        frame(PING),
        frame(3),
        frame(TEXT, b"\xff"),
        frame(TEXT, b"\xed\xa0\x80"),
        frame(BINARY, b"x" * 65536),
        b"\x81\x05hello",
        b"\xc1" + frame(TEXT, b"x")[1:],
        b"\x82\xfe\x00\x01abcdx",
    ],
)
def test_everything_else_is_left_to_autobahn(data):
    assert take_message(data, 0, 10**6) is None


# -- the same events with it and without it


class SlowLaneProtocol(GatewayProtocol):
    """The product without its fast lane."""

    def _is_between_messages(self):
        return False


def outcome(chunks, limit, *, fast, answer_between=True):
    """All that a client's bytes lead to: requests, what was sent, whether it was closed."""
    gateway = Gateway(
        max_message_size=70_000, max_frame_size=limit, max_fragments=4, queue=QueueLimits(3, 4000)
    )
    if not fast:
        gateway.factory.protocol = open_protocol(SlowLaneProtocol, gateway.factory)
        gateway.connect()
    gateway.open()
    for number, chunk in enumerate(chunks):
        gateway.receive(chunk)
        if answer_between and number % 3 == 0 and gateway.pool.turns:
            gateway.pool.answer(b"%d" % number)
            gateway.settle()
    while gateway.pool.turns:
        gateway.pool.answer(b"end")
        gateway.settle()
    return (
        [(request.stdin, b"binary" in request.params) for request in gateway.pool.requests],
        gateway.sent(),
        gateway.transport.disconnecting,
        gateway.protocol.state,
    )


PAYLOADS = st.one_of(
    st.binary(max_size=140),
    st.text(max_size=60).map(str.encode),
    st.sampled_from([b"x" * 1999, b"x" * 2000, b"x" * 2001, "é".encode()[:1], b"\x03\xe8bye"]),
    st.sampled_from([b"x" * 69_999, "é".encode() * 35_000, b"\xff" * 70_000, b"x" * 70_001]),
)
FRAMES = st.builds(
    frame,
    st.sampled_from([TEXT, TEXT, BINARY, BINARY, 0, CLOSE, PING, 10, 3]),
    PAYLOADS,
    st.booleans() | st.just(True),
    st.binary(min_size=4, max_size=4),
)
STREAMS = st.lists(st.one_of(FRAMES, FRAMES, FRAMES, st.binary(max_size=12)), max_size=8)
CUTS = st.lists(
    st.one_of(st.integers(0, 200), st.integers(0, 2000), st.integers(60_000, 80_000)), max_size=6
)


def chunked(data, cuts):
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in pairwise(edges)]


@settings(max_examples=400, deadline=None)
@given(STREAMS, CUTS, st.sampled_from([2000, 70_000]))
@example([frame(TEXT, b"a"), frame(TEXT, b"b", False), frame(0, b"c"), frame(TEXT, b"d")], [], 9)
@example([frame(TEXT, b"a")] * 9 + [frame(CLOSE, b"\x03\xe8")], [], 9)
@example([frame(TEXT, b"ok"), frame(TEXT, b"\xff"), frame(TEXT, b"never")], [3], 9)
def test_any_byte_stream_gives_the_same_events_and_close_codes(stream, cuts, limit):
    chunks = chunked(b"".join(stream), cuts)
    assert outcome(chunks, limit, fast=True) == outcome(chunks, limit, fast=False)


@settings(max_examples=200, deadline=None)
@given(STREAMS, CUTS, st.sampled_from([2000, 70_000]), st.booleans())
@example([frame(3, b"x" * 130), frame(CLOSE, b"\x03\xea")], [2, 3], 2000, True)
@example([frame(TEXT, b"a"), frame(0, b"b"), frame(TEXT, b"never")], [9], 2000, True)
def test_any_split_of_any_byte_stream_gives_the_same_end(stream, cuts, limit, fast):
    data = b"".join(stream)
    ends = [
        outcome(chunks, limit, fast=fast, answer_between=False)
        for chunks in (chunked(data, cuts), [data])
    ]
    assert ends[0] == ends[1]
