"""wsgate.channels: who gets what, by id, user and channel."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.task import Clock

from tests.deferreds import result
from tests.fakes import FakeMember
from wsgate.channels import NO_CHANNELS, ChannelError, ChannelLimits, Channels, Message


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def channels(clock):
    return Channels(clock)


def member(channels, name, *rooms, user="", takes=True):
    one = FakeMember(name, takes)
    channels.add(one)
    if user:
        channels.bind_user(one, user)
    for room in rooms:
        channels.subscribe(one, room)
    return one


def test_subscribers_get_what_is_published_and_others_do_not(channels):
    one, two = member(channels, "1", "a", "b"), member(channels, "2", "b")
    assert result(channels.publish("a", Message(b"x"))) == 1
    assert result(channels.publish("b", Message(b"y"))) == 2
    assert result(channels.publish("nobody", Message(b"z"))) == 0
    assert (one.got, two.got) == ([b"x", b"y"], [b"y"])
    assert (channels.published, channels.delivered, channels.subscriptions) == (3, 3, 3)


def test_one_connection_may_be_left_out(channels):
    one, two = member(channels, "1", "a"), member(channels, "2", "a")
    assert result(channels.publish("a", Message(b"x"), except_id="1")) == 1
    assert result(channels.publish("a", Message(b"y"), except_id="unknown")) == 2
    assert (one.got, two.got) == ([b"y"], [b"x", b"y"])


def test_subscribing_twice_is_once_and_unsubscribing_twice_too(channels):
    one = member(channels, "1", "a")
    channels.subscribe(one, "a")
    assert result(channels.publish("a", Message(b"x"))) == 1
    channels.unsubscribe(one, "a")
    channels.unsubscribe(one, "a")
    assert result(channels.publish("a", Message(b"x"))) == 0
    assert one.channels is NO_CHANNELS
    assert channels.count == 0


def test_who_takes_nothing_is_not_counted(channels):
    member(channels, "1", "a", takes=False)
    assert result(channels.publish("a", Message(b"x"))) == 0


def test_a_gone_connection_leaves_everything(channels):
    one = member(channels, "1", "a", user="jane")
    channels.remove(one)
    channels.remove(one)
    assert channels.find("1") is None
    assert result(channels.publish("a", Message(b"x"))) == 0
    assert result(channels.send_to_user("jane", Message(b"x"))) == 0
    assert not result(channels.send_to_connection("1", Message(b"x")))
    assert channels.count == channels.subscriptions == 0
    assert one.user == "jane"


def test_a_gone_connection_cannot_subscribe(channels):
    one = member(channels, "1")
    channels.remove(one)
    with pytest.raises(ChannelError, match="not open"):
        channels.subscribe(one, "a")
    channels.bind_user(one, "jane")
    assert result(channels.send_to_user("jane", Message(b"x"))) == 0


def test_a_user_bound_before_the_connection_is_open_has_it_then(channels):
    one = FakeMember("1")
    channels.bind_user(one, "jane")
    channels.add(one)
    assert result(channels.send_to_user("jane", Message(b"x"))) == 1


def test_all_connections_of_a_user_get_what_is_sent_to_it(channels):
    one, two = member(channels, "1", user="jane"), member(channels, "2", user="jane")
    member(channels, "3", user="joe")
    assert result(channels.send_to_user("jane", Message(b"x"))) == 2
    channels.bind_user(two, "")
    assert result(channels.send_to_user("jane", Message(b"y"))) == 1
    assert result(channels.close_user("jane", 4000, "bye")) == 1
    assert one.got == [b"x", b"y", (4000, "bye")]
    assert two.got == [b"x"]


def test_all_subscribers_of_a_channel_may_be_closed(channels):
    one, two = member(channels, "1", "a"), member(channels, "2", "b")
    result(channels.publish("a", Message(b"x")))
    assert result(channels.close_subscribers("a", 4000, "bye")) == 1
    assert result(channels.close_subscribers("nobody", 4000, "bye")) == 0
    assert (one.got, two.got) == ([b"x", (4000, "bye")], [])
    with pytest.raises(ChannelError):
        channels.close_subscribers("a b", 4000, "bye")


def test_one_connection_by_its_id(channels):
    one = member(channels, "1")
    assert result(channels.send_to_connection("1", Message(b"x")))
    assert result(channels.subscribe_connection("1", "a"))
    assert one.channels == {"a"}
    assert result(channels.unsubscribe_connection("1", "a"))
    assert one.channels == set()
    assert result(channels.connection_info("1")) == {"id": "1"}
    assert result(channels.close_connection("1", 4000, "bye"))
    assert one.got == [b"x", (4000, "bye")]


def test_of_an_unknown_id_is_said_that_it_is_unknown(channels):
    assert not result(channels.send_to_connection("?", Message(b"x")))
    assert not result(channels.subscribe_connection("?", "a"))
    assert not result(channels.unsubscribe_connection("?", "a"))
    assert not result(channels.close_connection("?", 1000, ""))
    assert result(channels.connection_info("?")) is None


def test_a_channel_tells_how_many_and_who(channels):
    member(channels, "1", "a", user="zoe")
    member(channels, "2", "a", user="jane")
    member(channels, "3", "a", user="jane")
    member(channels, "4", "a")
    assert result(channels.channel_info("a", users=True)) == {
        "channel": "a",
        "subscribers": 4,
        "users": ["jane", "zoe"],
    }
    assert result(channels.channel_info("b", users=False)) == {"channel": "b", "subscribers": 0}
    assert result(channels.channel_info("b", users=True))["users"] == []


def test_who_listens_is_told_of_first_and_last_ones(channels):
    told = []
    for name in ("on_occupied", "on_vacated", "on_joined", "on_left"):
        getattr(channels, name).append(lambda *what, name=name: told.append((name, *what)))
    one = member(channels, "1", "a", user="jane")
    two = member(channels, "2", "a", user="jane")
    assert told == [("on_occupied", "a"), ("on_joined", "a", "jane")]
    channels.bind_user(two, "joe")
    channels.remove(one)
    assert told[2:] == [("on_joined", "a", "joe"), ("on_left", "a", "jane")]
    channels.bind_user(two, "")
    channels.unsubscribe(two, "a")
    assert told[4:] == [("on_left", "a", "joe"), ("on_vacated", "a")]


class TestAListener:
    """That fails is logged, and the others are told."""

    def test_that_fails_costs_nobody_else(self, channels, caplog):
        told = []
        channels.on_occupied += [lambda _: 1 / 0, told.append]
        member(channels, "1", "a")
        assert told == ["a"]


@pytest.mark.parametrize("name", ["", "a b", "x" * 165])
def test_a_bad_name_is_an_error_everywhere(channels, name):
    one = member(channels, "1")
    for act in (
        lambda: channels.subscribe(one, name),
        lambda: channels.publish(name, Message(b"x")),
        lambda: channels.channel_info(name, users=False),
    ):
        with pytest.raises(ChannelError, match="no name"):
            act()
    channels.unsubscribe(one, name)


def test_a_connection_has_as_many_channels_as_it_may_and_not_one_more(clock):
    channels = Channels(clock, ChannelLimits(channels_per_connection=2))
    one = member(channels, "1", "a", "b")
    channels.subscribe(one, "a")
    with pytest.raises(ChannelError, match=r"raise limits\.channels_per_connection") as caught:
        channels.subscribe(one, "c")
    assert caught.value.limit == "channels_per_connection"
    channels.unsubscribe(one, "a")
    channels.subscribe(one, "c")


def test_there_are_as_many_channels_as_there_may_be_and_not_one_more(clock):
    channels = Channels(clock, ChannelLimits(max_channels=2))
    one = member(channels, "1", "a", "b")
    two = member(channels, "2", "a")
    with pytest.raises(ChannelError, match=r"raise limits\.max_channels"):
        channels.subscribe(two, "c")
    channels.unsubscribe(one, "b")
    channels.subscribe(two, "c")


class Model(RuleBasedStateMachine):
    """Any order of joins, leaves and changes of users gives the sets that it should."""

    def __init__(self):
        super().__init__()
        self.channels = Channels(Clock())
        self.told = set()
        self.channels.on_joined.append(lambda *what: self.told.add(what))
        self.channels.on_left.append(lambda *what: self.told.remove(what))
        self.open = {}
        self.count = 0

    @rule()
    def add(self):
        self.count += 1
        one = FakeMember(str(self.count))
        self.channels.add(one)
        self.open[one] = [set(), None]

    def some(self, data):
        return data.draw(st.sampled_from(sorted(self.open, key=lambda one: one.connection_id)))

    @rule(data=st.data(), name=st.sampled_from("abc"), leave=st.booleans())
    def move(self, data, name, leave):
        if self.open:
            one = self.some(data)
            if leave:
                self.channels.unsubscribe(one, name)
                self.open[one][0].discard(name)
            else:
                self.channels.subscribe(one, name)
                self.open[one][0].add(name)

    @rule(data=st.data(), user=st.sampled_from(["", "x", "y"]))
    def bind(self, data, user):
        if self.open:
            one = self.some(data)
            self.channels.bind_user(one, user)
            self.open[one][1] = user or None

    @rule(data=st.data())
    def remove(self, data):
        if self.open:
            one = self.some(data)
            self.channels.remove(one)
            del self.open[one]

    @invariant()
    def agrees(self):
        expected = set()
        for name in "abc":
            inside = [one for one, (rooms, _) in self.open.items() if name in rooms]
            users = {self.open[one][1] for one in inside} - {None}
            info = result(self.channels.channel_info(name, users=True))
            assert info["subscribers"] == len(inside)
            assert info["users"] == sorted(users)
            expected |= {(name, user) for user in users}
        assert self.told == expected
        assert self.channels.subscriptions == sum(len(rooms) for rooms, _ in self.open.values())
        for user in "xy":
            mine = [one for one, (_, bound) in self.open.items() if bound == user]
            assert result(self.channels.send_to_user(user, Message(b""))) == len(mine)


TestModel = Model.TestCase
