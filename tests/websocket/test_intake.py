"""wsgate.websocket.intake: a little of each per turn, nothing of those who broke the rules."""

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.websocket.test_protocol import BINARY, CLOSE, TEXT, Gateway, close_frame, frame
from wsgate.gateway import QueueLimits
from wsgate.websocket.intake import PIECE, TURN


def opened(**options):
    gateway = Gateway(**options)
    gateway.open()
    return gateway


def fragmented(payload, size):
    """One message in frames of `size` bytes."""
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    last = len(pieces) - 1
    return b"".join(
        frame(0 if number else BINARY, piece, number == last) for number, piece in enumerate(pieces)
    )


def test_autobahn_gets_a_piece_per_turn_and_the_socket_rests_meanwhile():
    gateway = opened()
    data = fragmented(b"x" * 3 * PIECE, 1000)
    give, pieces = gateway.protocol._dataReceived, []

    def note(piece):
        pieces.append(len(piece))
        give(piece)
        gateway.protocol.transport.producerState = "in its turn"

    gateway.protocol._dataReceived = note
    gateway.protocol.dataReceived(data)
    assert pieces == [PIECE]
    assert gateway.protocol._reading_paused == TURN
    assert gateway.transport.producerState == "paused"
    gateway.clock.advance(0)
    assert pieces == [PIECE, PIECE, PIECE, len(data) - 3 * PIECE]
    assert gateway.transport.producerState == "producing"
    assert [request.stdin for request in gateway.pool.requests] == [b"x" * 3 * PIECE]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3 * PIECE), st.integers(40, 5000)), max_size=6),
    st.lists(st.integers(1, 60_000), max_size=6),
    st.lists(st.booleans(), max_size=40),
)
def test_no_message_is_lost_or_changes_places_however_the_turns_fall(messages, cuts, answers):
    gateway = opened(queue=QueueLimits(2, 10**6))
    payloads = [bytes([65 + number]) * size for number, (size, _) in enumerate(messages)]
    data = b"".join(
        fragmented(payload, step) if payload else frame(BINARY)
        for payload, (_, step) in zip(payloads, messages, strict=True)
    )
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[a:b] for a, b in pairwise(edges)]
    # TLS delivers what it has decrypted to a transport that rests, too.
    for chunk in chunks:
        gateway.protocol.dataReceived(chunk)
        if answers and answers.pop() and gateway.pool.turns:
            gateway.pool.answer(b"")
    for _ in range(1000):
        gateway.clock.advance(0)
        if gateway.pool.turns:
            gateway.pool.answer(b"")
    assert [bytes(request.stdin) for request in gateway.pool.requests] == payloads
    assert gateway.transport.producerState == "producing"
    assert gateway.protocol._unread == b""


@pytest.mark.parametrize(
    "flood",
    [frame(10, b""), frame(9, b""), frame(0, b"", False), frame(TEXT, b""), b"\x00" * 6],
    ids=["pongs", "pings", "fragments", "messages", "garbage"],
)
def test_half_a_megabyte_of_the_shortest_frames_holds_nobody_up(flood):
    gateway = opened()
    longest = 0.0
    data = flood * (2**19 // len(flood))
    started = time.process_time()
    gateway.protocol.dataReceived(data)
    for _ in range(200):
        longest = max(longest, time.process_time() - started)
        started = time.process_time()
        gateway.clock.advance(0)
    assert len(gateway.protocol._unread) < len(data)
    # In CPU time, and ten times what it is: before there were pieces, it was seconds.
    assert longest < 1.0


def test_who_broke_the_rules_is_heard_no_longer_but_for_a_close_soon_after():
    gateway = opened(max_fragments=1)
    gateway.receive(frame(TEXT, b"", False) + frame(0, b"", False))
    assert close_frame(gateway)[0] == 1008
    gateway.receive(frame(0, b"", False) * 100 + frame(CLOSE, b"\x03\xf0"))
    assert gateway.transport.disconnecting


def test_who_goes_on_after_breaking_the_rules_costs_nothing_until_its_time_is_over():
    gateway = opened(max_fragments=1)
    gateway.receive(frame(TEXT, b"", False) + frame(0, b"", False))
    gateway.receive(frame(0, b"", False) * 100_000)
    assert gateway.protocol._unread == b""
    assert gateway.protocol._steps_after_failure < 1000
    gateway.clock.advance(5.2)
    assert gateway.transport.aborted


def test_a_client_lost_between_two_turns_leaves_nothing_behind():
    gateway = opened()
    gateway.protocol.dataReceived(fragmented(b"x" * 50_000, 1000))
    gateway.lose()
    gateway.clock.advance(0)
    assert gateway.pool.requests == []
    assert gateway.clock.getDelayedCalls() == [] or len(gateway.factory.timeouts) == 0
