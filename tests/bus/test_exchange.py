import pytest

from tests.bus.memory_bus import new_exchange
from wsgate.bus.exchange import Exchange, Keeping
from wsgate.bus.interface import NOWHERE, Change, Entry, Position, Presence


@pytest.fixture
def exchange(clock):
    return new_exchange(clock, Keeping(messages=3, age=60, size=100))


class Heard:
    def __init__(self):
        self.got = []

    def message_published(self, channel, position, data):
        self.got.append((position.offset, data))


def offsets(exchange, after=NOWHERE, channel="room"):
    return [entry.offset for entry in exchange.read(channel, after).entries]


def test_as_many_messages_are_kept_as_may_be_and_no_more(exchange):
    for _ in range(3):
        exchange.publish("room", b"x")
    assert offsets(exchange) == [1, 2, 3]
    exchange.publish("room", b"x")
    assert offsets(exchange) == [2, 3, 4]
    assert offsets(exchange, Position("1", 3)) == [4]
    assert offsets(exchange, Position("other", 3)) == [2, 3, 4]


def test_messages_that_are_too_old_are_not_read(exchange, clock):
    exchange.publish("room", b"x")
    clock.advance(60)
    exchange.publish("room", b"y")
    assert offsets(exchange) == [1, 2]
    clock.advance(0.1)
    assert offsets(exchange) == [2]


def test_all_channels_together_keep_so_many_bytes(exchange):
    exchange.publish("old", b"x" * 60)
    exchange.publish("new", b"x" * 40)
    assert (exchange.kept_bytes, offsets(exchange, channel="old")) == (100, [1])
    exchange.publish("new", b"x")
    assert (exchange.kept_bytes, offsets(exchange, channel="old")) == (41, [])


def test_a_channel_nobody_uses_is_forgotten_in_the_end(exchange, clock):
    exchange.publish("room", b"x")
    clock.advance(Exchange.KEEP_POSITION)
    exchange.publish("other", b"x")
    assert exchange.read("room", NOWHERE).position == Position("1", 1)
    clock.advance(1)
    exchange.publish("other", b"x")
    assert exchange.read("room", NOWHERE).position == NOWHERE


def test_followers_hear_in_order_until_they_follow_no_more(exchange):
    heard = Heard()
    exchange.publish("room", b"1")
    stretch = exchange.follow("n", "room", None, heard)
    assert stretch.entries == (Entry(1, b"1"),)
    exchange.publish("room", b"2")
    exchange.unfollow("n", "room")
    exchange.publish("room", b"3")
    assert heard.got == [(2, b"2")]


def test_attendance_changes_for_all_nodes_together(exchange):
    assert exchange.attend("a", "room", 1, ["ann"]) == Change(True, False, ("ann",), ())
    assert exchange.attend("b", "room", 2, ["ann", "bob"]) == Change(False, False, ("bob",), ())
    assert exchange.attend("a", "room", 0) == Change()
    assert exchange.publish("room", b"x") == 2
    assert exchange.attend("b", "room", 1, (), ["bob"]) == Change(False, False, (), ("bob",))
    assert exchange.attend("b", "room", 1, ["cid"], anew=True) == Change(
        False, False, ("cid",), ("ann",)
    )
    assert exchange.leave("b") == [("room", Change(False, True, (), ("cid",)))]
    assert exchange.presence("room") == Presence(0, ())
