"""wsgate.channels: what a client has missed, and being told that it cannot have it."""

import json

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from twisted.internet.task import Clock

from tests.channels.test_channels import member, result
from tests.channels.test_fanout import crowd, finish
from tests.fakes import FakeMember
from wsgate.channels import ChannelError, ChannelLimits, Channels, Message
from wsgate.channels.published import OVERHEAD, read_place

KEEPS = ChannelLimits(channel_history=3, channel_history_age=60.0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def channels(clock):
    return Channels(clock, KEEPS)


def recovering(channels, name, *places, room="a"):
    """A connection that subscribes with `recover`, and what it was given as JSON."""
    one = FakeMember(name)
    channels.add(one)
    channels.subscribe(one, room, recover_from=places)
    return one


def read(one):
    found = [json.loads(payload) for payload in one.got]
    one.got.clear()
    return found


def publish(channels, *payloads, room="a"):
    for payload in payloads:
        channels.publish(room, Message(payload))


def place(channels, room="a"):
    """Where the channel is."""
    (first, *_) = read(recovering(channels, f"probe{room}", room=room))
    channels.remove(channels.find(f"probe{room}"))
    return first["last"]


def test_who_asks_for_it_gets_envelopes_and_others_do_not(channels):
    plain = member(channels, "1", "a")
    one = recovering(channels, "2")
    (first,) = read(one)
    assert first["channel"] == "a"
    assert first["recovered"] is None
    epoch, offset = read_place(first["last"])
    assert offset == 0
    publish(channels, '"né"'.encode())
    channels.publish("a", Message(b"\x00\xff", True))
    assert one.got[0] == f'{{"channel":"a","last":"{epoch}:1","data":"\\"né\\""}}'.encode()
    assert read(one)[1] == {"channel": "a", "last": f"{epoch}:2", "base64": "AP8="}
    assert plain.got == ['"né"'.encode(), b"\x00\xff"]


def test_who_comes_back_gets_what_it_missed_and_then_what_follows(channels):
    member(channels, "stays", "a")
    publish(channels, b"1")
    last = place(channels)
    publish(channels, b"2", b"3")
    one = recovering(channels, "1", last)
    publish(channels, b"4")
    first, *others = read(one)
    assert first["recovered"] is True
    assert [said["data"] for said in others] == ["2", "3", "4"]
    assert others[1]["last"] == first["last"]


def test_who_missed_nothing_is_told_so(channels):
    publish(channels, b"1")
    (first,) = read(recovering(channels, "1", place(channels)))
    assert first["recovered"] is True


@pytest.mark.parametrize("missed", [3, 4])
def test_as_many_messages_can_be_recovered_as_are_kept_and_not_one_more(channels, missed):
    publish(channels, b"0")
    last = place(channels)
    publish(channels, *[b"%d" % n for n in range(missed)])
    first, *others = read(recovering(channels, "1", last))
    assert first["recovered"] is (missed == 3)
    assert len(others) == (3 if missed == 3 else 0)


@pytest.mark.parametrize("bad", ["", "x", "0123:1", "0123", "ffff:99", ":1", "a" * 33 + ":1"])
def test_what_is_no_place_of_this_channel_cannot_be_recovered(channels, bad):
    publish(channels, b"1")
    (first,) = read(recovering(channels, "1", bad))
    assert first["recovered"] is False


def test_a_place_that_was_never_reached_cannot_be_recovered(channels):
    publish(channels, b"1")
    epoch, _ = read_place(place(channels))
    (first,) = read(recovering(channels, "1", f"{epoch}:2"))
    assert first["recovered"] is False


def test_of_several_places_the_one_of_this_channel_counts(channels):
    for room in "ab":
        publish(channels, b"1", room=room)
    places = [place(channels, room) for room in "ab"]
    publish(channels, b"2", room="b")
    first, *others = read(recovering(channels, "1", *places, room="b"))
    assert first["recovered"] is True
    assert [said["data"] for said in others] == ["2"]


def test_a_message_is_kept_as_long_as_its_age_allows(channels, clock):
    member(channels, "stays", "a")
    publish(channels, b"0")
    last = place(channels)
    publish(channels, b"1")
    clock.advance(59)
    assert read(recovering(channels, "1", last))[0]["recovered"] is True
    clock.pump([3] * 3)
    assert read(recovering(channels, "2", last))[0]["recovered"] is False
    assert len(channels._past._kept) == 0


def test_a_channel_that_everybody_left_is_remembered_for_as_long(channels, clock):
    one = member(channels, "1", "a")
    publish(channels, b"0")
    last = place(channels)
    clock.advance(100)
    channels.remove(one)
    clock.advance(50)
    assert read(recovering(channels, "2", last))[0]["recovered"] is True
    channels.remove(channels.find("2"))
    clock.pump([6] * 11)
    assert channels.count == 0
    assert read(recovering(channels, "3", last))[0]["recovered"] is False


def test_what_is_published_while_nobody_is_there_is_kept_too(channels):
    publish(channels, b"0")
    last = place(channels)
    assert result(channels.publish("a", Message(b"1"))) == 0
    _, said = read(recovering(channels, "1", last))
    assert said["data"] == "1"


def test_without_a_history_nothing_is_kept_and_no_channel_stays(clock):
    channels = Channels(clock)
    publish(channels, b"0")
    assert channels.count == 0
    member(channels, "stays", "a")
    last = place(channels)
    assert read(recovering(channels, "1", last))[0]["recovered"] is True
    publish(channels, b"1")
    assert read(recovering(channels, "2", last))[0]["recovered"] is False
    assert not channels._past._kept


def test_all_channels_keep_as_many_bytes_as_they_may_and_then_the_oldest_goes(clock):
    size = 4 * 10 + OVERHEAD
    limits = ChannelLimits(channel_history=10, channel_history_bytes=4 * size)
    channels = Channels(clock, limits)
    first = {room: place(channels, room) for room in "ab"}
    publish(channels, b"x" * 10, room="a")
    publish(channels, b"x" * 10, b"x" * 10, b"x" * 10, room="b")
    assert channels._past.size == 4 * size
    assert channels._hits["channel_history_bytes"] == 0
    publish(channels, b"x" * 10, room="b")
    assert channels._past.size == 4 * size
    assert channels._hits["channel_history_bytes"] == 1
    for room in "ab":
        one = recovering(channels, f"1{room}", first[room], room=room)
        assert read(one)[0]["recovered"] is (room == "b")


def test_a_message_too_long_to_be_kept_costs_others_nothing(clock):
    limits = ChannelLimits(channel_history=10, channel_history_bytes=2000)
    channels = Channels(clock, limits)
    first = {room: place(channels, room) for room in "ab"}
    publish(channels, b"x", room="a")
    publish(channels, b"x", b"x" * 2000, room="b")
    for room in "ab":
        one = recovering(channels, f"1{room}", first[room], room=room)
        assert read(one)[0]["recovered"] is (room == "a")


def test_more_than_can_be_pushed_at_once_is_not_recovered(clock):
    channels = Channels(clock, KEEPS._replace(push_buffer=1000))
    last = place(channels)
    publish(channels, b"x" * 1000)
    (first,) = read(recovering(channels, "1", last))
    assert first["recovered"] is False


def test_a_channel_with_only_a_past_makes_place_for_a_new_one(clock):
    channels = Channels(clock, KEEPS._replace(max_channels=2))
    publish(channels, b"x", room="a")
    publish(channels, b"x", room="b")
    one = member(channels, "1", "c")
    assert channels.count == 2
    channels.subscribe(one, "b")
    with pytest.raises(ChannelError, match="max_channels"):
        channels.subscribe(one, "d")
    assert result(channels.publish("d", Message(b"x"))) == 0
    assert channels.count == 2
    assert channels._past.size == 4 + OVERHEAD


def test_subscribing_again_with_recover_brings_envelopes_from_then_on(channels):
    one = member(channels, "1", "a")
    publish(channels, b"1")
    channels.subscribe(one, "a", recover_from=())
    channels.subscribe(one, "a", recover_from=())
    channels.subscribe(one, "a")
    publish(channels, b"2")
    assert one.got[0] == b"1"
    assert ["recovered" in said for said in map(json.loads, one.got[1:])] == [True, False]
    channels.unsubscribe(one, "a")
    channels.subscribe(one, "a")
    publish(channels, b"3")
    assert one.got[-1] == b"3"


def test_coming_back_while_messages_still_go_out_brings_each_of_them_once(clock):
    channels, members, _ = crowd(clock, 100, channels=Channels(clock, KEEPS))
    last = place(channels)
    publish(channels, b"1", b"2")
    back = members[99]
    channels.unsubscribe(back, "a")
    channels.subscribe(back, "a", recover_from=(last,))
    publish(channels, b"3")
    finish(clock)
    assert [json.loads(said).get("data") for said in back.got] == [None, "1", "2", "3"]
    assert members[98].got == [b"1", b"2", b"3"]


def test_an_offset_may_be_given_by_others(channels):
    one = recovering(channels, "1")
    read(one)
    channels._publish_here("a", Message(b"x"), None, ("00ff", 7))
    channels._publish_here("a", Message(b"y"), None, ("00ff", 8))
    assert [said["last"] for said in read(one)] == ["00ff:7", "00ff:8"]
    found = read(recovering(channels, "2", "00ff:7"))
    assert [said.get("data") for said in found] == [None, "y"]
    assert read(recovering(channels, "3", "00ff:5"))[0]["recovered"] is False


class Recovering(RuleBasedStateMachine):
    """A client that goes and comes back has everything in order, or was told that it has not."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.channels = Channels(self.clock, KEEPS)
        self.count = 0
        self.published = []
        self.client = None
        self.last = None
        self.had = []

    @rule(payloads=st.lists(st.just(None), max_size=3))
    def publish(self, payloads):
        for _ in payloads:
            self.published.append(str(len(self.published)))
            self.channels.publish("a", Message(self.published[-1].encode()))
        self.note()

    @precondition(lambda self: self.client is None)
    @rule()
    def connect(self):
        self.count += 1
        places = (self.last,) if self.last else ()
        self.client = recovering(self.channels, str(self.count), *places)
        first = json.loads(self.client.got.pop(0))
        if first["recovered"] is not True:
            assert (first["recovered"] is None) is (self.last is None)
            self.had = list(self.published)
            self.last = first["last"]
        self.note()

    @precondition(lambda self: self.client is not None)
    @rule()
    def disconnect(self):
        self.channels.remove(self.client)
        self.client = None

    @rule(seconds=st.sampled_from([1.0, 30.0, 70.0]))
    def wait(self, seconds):
        for _ in range(int(seconds)):
            self.clock.advance(1.0)

    def note(self):
        if self.client is not None:
            for said in read(self.client):
                self.had.append(said["data"])
                self.last = said["last"]
            assert self.had == self.published


TestRecovering = Recovering.TestCase
