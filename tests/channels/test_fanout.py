"""wsgate.channels.fanout: many receivers, little time at once, and order where it counts."""

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from tests.fakes import FakeMember
from wsgate.channels import ChannelError, ChannelLimits, Channels, Message
from wsgate.channels.fanout import SLICE, Fanout


class SlowMember(FakeMember):
    """Takes a millisecond of the clock for each message."""

    def __init__(self, name, clock, log):
        super().__init__(name)
        self.clock = clock
        self.log = log

    def push(self, message):
        self.clock.rightNow += 0.001
        self.log.append((self.connection_id, message.payload))
        return super().push(message)


@pytest.fixture
def clock():
    return Clock()


def turn(clock):
    """One turn of the reactor; how long the calls in it took."""
    began = clock.seconds()
    for call in [call for call in clock.getDelayedCalls() if call.getTime() <= began]:
        call.func(*call.args)
        clock.calls.remove(call)
    return clock.seconds() - began


def finish(clock):
    """Turns until nothing is left to do."""
    while any(call.getTime() <= clock.seconds() for call in clock.getDelayedCalls()):
        turn(clock)


def crowd(clock, count, room="a", channels=None, log=None):
    channels = channels or Channels(clock)
    log = [] if log is None else log
    members = [SlowMember(f"{room}{n}", clock, log) for n in range(count)]
    for one in members:
        channels.add(one)
        channels.subscribe(one, room)
    return channels, members, log


def test_no_turn_takes_longer_than_a_slice_and_a_few_receivers(clock, monkeypatch):
    monkeypatch.setattr("wsgate.channels.fanout.AT_A_TIME", 2)
    channels, _, log = crowd(clock, 100)
    done = []
    channels.publish("a", Message(b"x")).addCallback(done.append)
    assert not done
    assert len(log) * 0.001 <= SLICE + 0.002
    while not done:
        assert turn(clock) <= SLICE + 0.002
    assert done == [100]
    assert len(log) == 100


def test_what_is_published_to_a_channel_comes_in_order(clock):
    channels, members, _ = crowd(clock, 50)
    for n in range(5):
        channels.publish("a", Message(b"%d" % n))
    finish(clock)
    assert all(one.got == [b"0", b"1", b"2", b"3", b"4"] for one in members)


def test_a_small_channel_does_not_wait_for_a_large_one(clock):
    channels, _, log = crowd(clock, 1000, "large")
    crowd(clock, 1, "small", channels, log)
    channels.publish("large", Message(b"x"))
    done = []
    channels.publish("small", Message(b"y")).addCallback(done.append)
    for _ in range(3):
        turn(clock)
    assert done == [1]
    assert len(log) < 200


def test_who_leaves_or_comes_meanwhile_gets_nothing_of_what_was_published_before(clock):
    channels, members, _ = crowd(clock, 100)
    channels.publish("a", Message(b"x"))
    late = FakeMember("late")
    channels.add(late)
    channels.subscribe(late, "a")
    channels.unsubscribe(members[98], "a")
    channels.remove(members[99])
    finish(clock)
    assert members[97].got == [b"x"]
    assert members[98].got == members[99].got == late.got == []


def test_publishing_from_within_a_delivery_comes_after_it(clock):
    channels, members, log = crowd(clock, 2)
    first = members[0]
    push = first.push

    def push_and_publish(message):
        if message.payload == b"x":
            channels.publish("a", Message(b"y"))
        return push(message)

    first.push = push_and_publish
    channels.publish("a", Message(b"x"))
    assert log == [("a0", b"x"), ("a1", b"x"), ("a0", b"y"), ("a1", b"y")]


def test_a_receiver_that_fails_is_logged_and_costs_nobody_else(clock):
    fanout = Fanout(clock)
    one, two = FakeMember("1"), FakeMember("2")

    def act(member):
        return member is two or 1 / 0

    done = []
    with capturedLogs() as logs:
        fanout.send("a", (one, two), act).addCallback(done.append)
    assert done == [1]
    assert [event["id"] for event in logs] == ["1"]


def test_nobody_at_all_is_none(clock):
    done = []
    Fanout(clock).send("a", (), bool).addCallback(done.append)
    assert done == [0]


def test_long_messages_look_at_the_clock_more_often(clock):
    channels, _, log = crowd(clock, 100)
    channels.publish("a", Message(b"x" * 2**20))
    assert len(log) == 5


def test_as_much_may_wait_as_the_limit_says_and_not_a_byte_more(clock):
    channels = Channels(clock, ChannelLimits(publish_backlog=100))
    crowd(clock, 100, "a", channels)
    channels.publish("a", Message(b"x" * 60))
    channels.publish("a", Message(b"x" * 40))
    with pytest.raises(ChannelError, match=r"limits\.publish_backlog"):
        channels.publish("a", Message(b"x"))
    finish(clock)
    channels.publish("a", Message(b"x" * 101))


def test_an_idle_fanout_leaves_no_timer(clock):
    channels, _, _ = crowd(clock, 1)
    channels.publish("a", Message(b"x"))
    clock.advance(0)
    assert not clock.getDelayedCalls()


def test_a_slice_is_not_followed_by_another_in_the_same_turn(clock, monkeypatch):
    monkeypatch.setattr("wsgate.channels.fanout.AT_A_TIME", 1)
    channels, _, log = crowd(clock, 100)
    channels.publish("a", Message(b"x"))
    assert len(log) == 5
    # The timers of the turn in which it was published.
    turn(clock)
    assert len(log) == 5
    turn(clock)
    assert len(log) == 10


def test_many_small_publishes_in_one_turn_take_one_slice_together(clock):
    channels, _, log = crowd(clock, 1, "a0")
    for n in range(1, 50):
        crowd(clock, 1, f"a{n}", channels, log)
    for n in range(50):
        channels.publish(f"a{n}", Message(b"x"))
    assert len(log) == 5
    finish(clock)
    assert len(log) == 50
