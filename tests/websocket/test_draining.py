"""Closing many connections: evenly, in no order, and no longer than it takes."""

import pytest
from twisted.internet.task import Clock

from wsgate.websocket.draining import GOING_AWAY, OPENING_GRACE, TICK, Draining


class Connection:
    """Notes when it was told to close."""

    def __init__(self, clock, *, conversing=True):
        self.clock = clock
        self.is_conversing = conversing
        self.told = None

    def drain(self, farewell):
        assert farewell == GOING_AWAY
        assert self.told is None
        self.told = self.clock.seconds()


def drained(count, seconds):
    """When each of `count` connections was told, sorted."""
    clock = Clock()
    connections = [Connection(clock) for _ in range(count)]
    Draining(clock, connections, GOING_AWAY, seconds).start()
    for _ in range(200):
        clock.advance(TICK)
    return sorted(connection.told for connection in connections)


@pytest.mark.parametrize("count", [0, 1, 10, 24])
def test_a_few_go_at_once(count):
    assert drained(count, 5.0) == [0.0] * count


def test_many_are_spread_evenly_over_the_seconds():
    told = drained(10_000, 5.0)
    assert 4.8 <= told[-1] <= 5.05
    for second in range(4):
        assert 1900 <= sum(second <= t < second + 1 for t in told) <= 2100


def test_less_than_many_take_less():
    assert 1.8 <= drained(1000, 5.0)[-1] <= 2.05


def test_no_spread_is_all_at_once():
    assert drained(5000, 0.0) == [0.0] * 5000


def test_the_order_is_no_order():
    clock = Clock()
    connections = [Connection(clock) for _ in range(1000)]
    Draining(clock, connections, GOING_AWAY, 5.0).start()
    for _ in range(200):
        clock.advance(TICK)
    told = [connection.told for connection in connections]
    assert told != sorted(told)


def test_a_handshake_under_way_gets_a_second():
    clock = Clock()
    opening = Connection(clock, conversing=False)
    Draining(clock, [opening], GOING_AWAY, 0.0).start()
    clock.advance(OPENING_GRACE - 0.01)
    assert opening.told is None
    clock.advance(0.01)
    assert opening.told == OPENING_GRACE
