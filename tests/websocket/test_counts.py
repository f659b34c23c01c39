"""wsgate.websocket.counts: what is counted, and by which of our own words."""

from dataclasses import fields

import pytest

from tests.websocket.test_protocol import (
    BINARY,
    CLOSE,
    HANDSHAKE,
    PING,
    TEXT,
    Gateway,
    frame,
)
from wsgate.config import Limits
from wsgate.gateway import QueueLimits
from wsgate.websocket.counts import LIMITS, Counts, code_label

NOT_COUNTED = {
    # Answers are cut, PHP is asked, pings are sent: no limit that a client meets.
    "fragment_size",
    "ping_interval",
    "compression",
    # Counted where PHP's answers are.
    "max_answer_size",
    # The oldest messages go all the time: that is what a history is.
    "channel_history",
    "channel_history_age",
    # wsgate_bus_not_published_total.
    "bus_buffer",
}


def opened(**options):
    gateway = Gateway(**options)
    gateway.open()
    return gateway, gateway.factory.counts


def hits(counts):
    return {name: count for name, count in counts.limits.items() if count}


def drops(counts):
    return {cause: count for cause, count in counts.drops.items() if count}


def test_every_limit_of_the_settings_is_counted():
    assert set(LIMITS) == {field.name for field in fields(Limits)} - NOT_COUNTED
    assert set(Counts().limits) == set(LIMITS)


def test_an_accepted_handshake_is_counted():
    _, counts = opened()
    assert counts.accepted == 1
    assert not counts.refused


@pytest.mark.parametrize(
    ("request_bytes", "status", "limit"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426, {}),
        (HANDSHAKE % b"Origin: http://evil.com\r\n", 403, {}),
        (b"x" * 20000, 431, {"max_header_bytes": 1}),
        (HANDSHAKE % (b"A: b\r\n" * 65), 431, {"max_header_lines": 1}),
    ],
)
def test_a_refused_handshake_is_counted_by_status_and_limit(request_bytes, status, limit):
    gateway = Gateway()
    gateway.receive(request_bytes)
    counts = gateway.factory.counts
    assert counts.refused == {status: 1}
    assert counts.accepted == 0
    assert hits(counts) == limit


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_address"])
def test_a_refused_place_is_counted_by_its_limit(limit):
    gateway, counts = opened(**{limit: 1})
    gateway.connect()
    gateway.receive(HANDSHAKE % b"")
    assert counts.refused == {503: 1}
    assert hits(counts) == {limit: 1}


def test_a_handshake_that_takes_too_long_is_counted():
    gateway = Gateway()
    gateway.clock.advance(10.2)
    counts = gateway.factory.counts
    assert counts.refused == {408: 1}
    assert drops(counts) == {"handshake timeout": 1}
    assert hits(counts) == {"handshake_timeout": 1}


@pytest.mark.parametrize(
    ("data", "options", "code", "limit"),
    [
        (frame(BINARY, b"x" * 1001), {"max_message_size": 1000}, "1009", "max_message_size"),
        (frame(BINARY, b"x" * 1001), {"max_frame_size": 1000}, "1009", "max_frame_size"),
        (frame(TEXT, b"x", False) * 1, {"max_fragments": 0}, "1008", "max_fragments"),
        (frame(TEXT, b"\xff"), {}, "1007", None),
        (frame(3), {}, "1002", None),
    ],
)
def test_a_violation_is_counted_by_its_code_and_limit(data, options, code, limit):
    gateway, counts = opened(**options)
    gateway.receive(data)
    assert counts.closes == {code: 1}
    assert hits(counts) == ({limit: 1} if limit else {})


def test_the_clients_own_close_is_not_counted_as_ours():
    gateway, counts = opened()
    gateway.receive(frame(CLOSE, b"\x03\xe8"))
    assert not counts.closes


def test_a_close_of_phps_is_counted_under_one_label_with_its_like():
    gateway, counts = opened()
    gateway.receive(frame(TEXT, b"x"))
    gateway.pool.answer(b"", header=b"Wsgate-Close: 4321 bye")
    assert counts.closes == {"3000-4999": 1}
    gateway.clock.advance(5.2)
    assert drops(counts) == {"close timeout": 1}
    assert hits(counts) == {"close_timeout": 1}


def test_a_client_without_a_pong_is_counted():
    gateway, counts = opened()
    gateway.clock.pump([25.1, 20.2])
    assert drops(counts) == {"no pong": 1}
    assert hits(counts) == {"pong_timeout": 1}


def test_a_client_that_takes_nothing_is_counted():
    gateway, counts = opened(ping_interval=0)
    gateway.transport.dataBuffer = b"x"
    gateway.protocol.pauseProducing()
    assert hits(counts) == {"send_high_water": 1}
    gateway.clock.advance(30.2)
    assert drops(counts) == {"takes no data": 1}
    assert hits(counts) == {"send_high_water": 1, "send_timeout": 1}


@pytest.mark.parametrize(
    ("queue", "limit"),
    [
        (QueueLimits(1, 1000), "queue_per_connection"),
        (QueueLimits(2, 10), "queue_bytes_per_connection"),
    ],
)
def test_a_full_queue_is_counted_by_what_it_is_full_of(queue, limit):
    gateway, counts = opened(queue=queue)
    gateway.receive(frame(TEXT, b"first"))
    assert hits(counts) == {}
    gateway.receive(frame(TEXT, b"0123456789"))
    assert hits(counts) == {limit: 1}


def test_a_ping_costs_no_count():
    gateway, counts = opened()
    gateway.receive(frame(PING, b"p"))
    assert hits(counts) == {}


def test_all_counts_are_given_flat_so_that_processes_can_be_added_up():
    counts = Counts()
    counts.accepted = 3
    counts.refused[503] += 2
    counts.closes[code_label(None)] += 1
    flat = counts.flat()
    assert flat["accepted", ""] == 3
    assert flat["refused", "503"] == 2
    assert flat["closes", "1005"] == 1
    assert flat["drops", "no pong"] == 0
    assert flat["limits", "max_fragments"] == 0
