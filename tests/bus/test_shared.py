"""wsgate.bus.shared: several nodes on one bus in memory, with a clock of the test's."""

import itertools

import pytest

from tests.bus.memory_bus import MemoryBus
from tests.deferreds import error, result
from tests.fakes import FakeMember
from wsgate.bus.asks import PATIENCE
from wsgate.bus.envelope import Envelope, Kind, encode
from wsgate.bus.exchange import Exchange, Keeping
from wsgate.bus.interface import Position
from wsgate.bus.shared import SharedChannels
from wsgate.channels import BusAway, BusUnanswered, ChannelError, Message

NODES = ("aaaaaaaa", "bbbbbbbb", "cccccccc")


class Member(FakeMember):
    def info(self):
        return {"channels": sorted(self.channels)}


class Node:
    """One gateway."""

    def __init__(self, name, clock, exchange):
        self.name = name
        self.numbers = itertools.count(1)
        self.bus = MemoryBus(exchange)
        self.events = []
        self.channels = SharedChannels(clock, None, None, self.bus, name)
        for event in ("occupied", "vacated", "joined", "left"):
            getattr(self.channels, f"on_{event}").append(
                lambda *what, event=event: self.events.append((event, *what))
            )
        self.channels.start()

    def member(self, *rooms, user="", takes=True):
        one = Member(f"{self.name}{next(self.numbers):024x}", takes)
        self.channels.add(one)
        if user:
            self.channels.bind_user(one, user)
        for room in rooms:
            self.channels.subscribe(one, room)
        return one


@pytest.fixture
def nodes(clock, exchange):
    return [Node(name, clock, exchange) for name in NODES]


def test_what_one_node_publishes_reaches_subscribers_of_all(nodes, clock):
    one, two, three = (node.member("room") for node in nodes)
    clock.advance(0)
    assert result(nodes[0].channels.publish("room", Message(b"x"))) == 3
    assert [m.got for m in (one, two, three)] == [[b"x"]] * 3


def test_the_subscribers_of_a_channel_are_closed_on_all_nodes_behind_its_messages(nodes, clock):
    one, two = nodes[0].member("room"), nodes[1].member("room")
    other = nodes[1].member("another")
    clock.advance(0)
    channels = nodes[2].channels
    channels.publish("room", Message(b"x"))
    assert result(channels.close_subscribers("room", 4000, "bye")) == 2
    assert [m.got for m in (one, two)] == [[b"x", (4000, "bye")]] * 2
    assert other.got == []


def test_one_connection_is_left_out_wherever_it_is(nodes, clock):
    one, two = nodes[0].member("room"), nodes[1].member("room")
    clock.advance(0)
    publish = nodes[0].channels.publish
    assert result(publish("room", Message(b"x"), except_id=one.connection_id)) == 1
    assert result(publish("room", Message(b"y"), except_id=two.connection_id)) == 1
    assert (one.got, two.got) == ([b"y"], [b"x"])


def test_one_left_out_that_is_not_subscribed_does_not_count(nodes, clock):
    nodes[0].member("room")
    other = nodes[1].member()
    clock.advance(0)
    publish = nodes[0].channels.publish
    assert result(publish("room", Message(b"x"), except_id=other.connection_id)) == 1
    assert result(publish("room", Message(b"x"), except_id="0" * 32)) == 1


def test_a_connection_is_reached_from_another_node(nodes):
    one = nodes[1].member()
    channels = nodes[0].channels
    assert result(channels.send_to_connection(one.connection_id, Message(b"x"))) is True
    assert result(channels.close_connection(one.connection_id, 4000, "bye")) is True
    assert one.got == [b"x", (4000, "bye")]
    assert result(channels.connection_info(one.connection_id)) == {"channels": []}


def test_a_connection_that_is_gone_or_of_no_node_is_not_there(nodes):
    channels = nodes[0].channels
    for gone in ("bbbbbbbb" + "0" * 24, "dddddddd" + "0" * 24, "aaaaaaaa" + "0" * 24, "what"):
        assert result(channels.send_to_connection(gone, Message(b"x"))) is False
        assert result(channels.close_connection(gone, 1000, "")) is False
        assert result(channels.connection_info(gone)) is None
        assert result(channels.subscribe_connection(gone, "room")) is False


def test_a_user_is_reached_on_all_nodes_and_counted(nodes):
    one, two = nodes[0].member(user="ann"), nodes[2].member(user="ann")
    other = nodes[1].member(user="bob")
    assert result(nodes[1].channels.send_to_user("ann", Message(b"x"))) == 2
    assert result(nodes[0].channels.close_user("ann", 4001, "out")) == 2
    assert result(nodes[0].channels.send_to_user("nobody", Message(b"x"))) == 0
    assert one.got == two.got == [b"x", (4001, "out")]
    assert other.got == []


def test_a_user_who_is_gone_from_a_node_is_not_asked_for_there(nodes, exchange):
    one = nodes[1].member(user="ann")
    nodes[1].channels.remove(one)
    assert result(nodes[0].channels.send_to_user("ann", Message(b"x"))) == 0
    assert "user:ann" not in exchange._topics


def test_another_nodes_connection_is_subscribed_and_unsubscribed(nodes, clock):
    one = nodes[1].member()
    channels = nodes[0].channels
    assert result(channels.subscribe_connection(one.connection_id, "room")) is True
    clock.advance(0)
    assert result(channels.publish("room", Message(b"x"))) == 1
    assert result(channels.unsubscribe_connection(one.connection_id, "room")) is True
    clock.advance(0)
    assert result(channels.publish("room", Message(b"y"))) == 0
    assert one.got == [b"x"]


def test_an_error_of_another_node_is_an_error_here(nodes):
    nodes[1].channels.limits = nodes[1].channels.limits._replace(channels_per_connection=1)
    one = nodes[1].member("a")
    failure = error(nodes[0].channels.subscribe_connection(one.connection_id, "b"))
    assert isinstance(failure, ChannelError)
    assert failure.limit == "channels_per_connection"


def test_presence_is_that_of_all_nodes(nodes, clock):
    nodes[0].member("room", user="ann")
    nodes[1].member("room", user="ann")
    two = nodes[1].member("room", user="bob")
    nodes[1].member("room")
    clock.advance(0)
    info = result(nodes[2].channels.channel_info("room", users=True))
    assert info == {"channel": "room", "subscribers": 4, "users": ["ann", "bob"]}
    nodes[1].channels.remove(two)
    clock.advance(0)
    info = result(nodes[2].channels.channel_info("room", users=True))
    assert info == {"channel": "room", "subscribers": 3, "users": ["ann"]}
    assert result(nodes[2].channels.channel_info("none", users=False)) == {
        "channel": "none",
        "subscribers": 0,
    }


def test_who_came_and_went_is_told_once_for_all_nodes(nodes, clock):
    first = nodes[0].member("room", user="ann")
    clock.advance(0)
    second = nodes[1].member("room", user="ann")
    clock.advance(0)
    assert nodes[0].events == [("occupied", "room"), ("joined", "room", "ann")]
    assert nodes[1].events == []
    nodes[0].channels.remove(first)
    clock.advance(0)
    assert nodes[0].events[2:] == []
    nodes[1].channels.remove(second)
    clock.advance(0)
    assert nodes[1].events == [("left", "room", "ann"), ("vacated", "room")]


def test_presence_of_a_node_that_is_gone_is_swept(nodes, clock, exchange):
    nodes[0].member("room", user="ann")
    nodes[1].member("room", "own", user="bob")
    clock.advance(0)
    nodes[1].bus.die()
    for channel, change in exchange.leave("bbbbbbbb"):
        nodes[0].channels.node_swept(channel, change)
    assert sorted(nodes[0].events[2:]) == [
        ("left", "own", "bob"),
        ("left", "room", "bob"),
        ("vacated", "own"),
    ]
    info = result(nodes[0].channels.channel_info("room", users=True))
    assert info == {"channel": "room", "subscribers": 1, "users": ["ann"]}


def test_what_is_published_while_the_bus_answers_late_is_held_in_order(nodes, clock):
    nodes[0].bus.held = []
    one = nodes[0].member("room")
    nodes[1].channels.publish("room", Message(b"1"))
    nodes[1].channels.publish("room", Message(b"2"))
    assert one.got == []
    nodes[0].bus.release()
    assert one.got == [b"1", b"2"]
    nodes[1].channels.publish("room", Message(b"3"))
    assert one.got == [b"1", b"2", b"3"]


def test_an_answer_to_a_subscription_that_has_ended_is_passed_over(nodes):
    nodes[0].bus.held = []
    one = nodes[0].member("room")
    nodes[0].channels.unsubscribe(one, "room")
    nodes[0].channels.subscribe(one, "room")
    nodes[0].bus.release()
    nodes[1].channels.publish("room", Message(b"1"))
    assert one.got == [b"1"]


def test_without_bus_nothing_is_published_and_own_connections_are_reached(nodes, clock):
    one = nodes[0].member("room", user="ann")
    nodes[0].bus.lose()
    channels = nodes[0].channels
    assert isinstance(error(channels.publish("room", Message(b"x"))), BusAway)
    assert isinstance(error(channels.send_to_user("ann", Message(b"x"))), BusAway)
    assert isinstance(error(channels.channel_info("room", users=False)), BusAway)
    assert isinstance(error(channels.send_to_connection("b" * 32, Message(b"x"))), BusAway)
    assert result(channels.send_to_connection(one.connection_id, Message(b"y"))) is True
    assert one.got == [b"y"]
    clock.advance(PATIENCE)


def test_what_was_missed_while_the_bus_was_away_is_counted(nodes, clock):
    one = nodes[0].member("room")
    clock.advance(0)
    nodes[1].channels.publish("room", Message(b"1"))
    nodes[0].bus.lose()
    nodes[1].channels.publish("room", Message(b"2"))
    nodes[1].channels.publish("room", Message(b"3"))
    nodes[0].bus.regain()
    nodes[1].channels.publish("room", Message(b"4"))
    assert one.got == [b"1", b"4"]
    assert (nodes[0].channels.gaps, nodes[0].channels.missed) == (1, 2)
    assert (nodes[1].channels.gaps, nodes[1].channels.missed) == (0, 0)


def test_what_was_missed_is_made_up_for_from_the_history(nodes, clock, exchange):
    exchange.keeping = Keeping(messages=10)
    one = nodes[0].member("room")
    clock.advance(0)
    nodes[0].bus.lose()
    nodes[1].channels.publish("room", Message(b"1"))
    nodes[1].channels.publish("room", Message(b"2"))
    nodes[0].bus.regain()
    nodes[1].channels.publish("room", Message(b"3"))
    assert one.got == [b"1", b"2", b"3"]
    assert nodes[0].channels.missed == 0


def test_a_push_that_did_not_arrive_is_noticed_at_the_next(nodes, clock, exchange):
    exchange.keeping = Keeping(messages=10)
    one = nodes[0].member("room")
    nodes[0].bus.deaf = True
    nodes[1].channels.publish("room", Message(b"1"))
    nodes[0].bus.deaf = False
    nodes[1].channels.publish("room", Message(b"2"))
    assert one.got == [b"1", b"2"]


def test_attendance_is_told_anew_when_the_bus_is_back(nodes, clock, exchange):
    one = nodes[0].member("room", user="ann")
    two = nodes[0].member("gone", user="ann")
    clock.advance(0)
    nodes[0].bus.lose()
    nodes[0].channels.remove(two)
    three = nodes[0].member("new", user="bob")
    clock.advance(0)
    exchange.leave("aaaaaaaa")
    nodes[0].bus.regain()
    clock.advance(0)
    told = nodes[1].channels.channel_info
    assert result(told("room", users=True))["users"] == ["ann"]
    assert result(told("gone", users=False))["subscribers"] == 0
    assert result(told("new", users=True))["users"] == ["bob"]
    assert result(nodes[1].channels.send_to_user("bob", Message(b"x"))) == 1
    assert (one.got, three.got) == ([], [b"x"])


def test_attendance_that_ended_while_the_bus_was_away_is_taken_back(nodes, clock):
    one = nodes[0].member("room")
    clock.advance(0)
    nodes[0].bus.lose()
    nodes[0].channels.remove(one)
    clock.advance(0)
    nodes[0].bus.regain()
    assert result(nodes[1].channels.channel_info("room", users=False))["subscribers"] == 0


def test_a_node_that_does_not_answer_in_time_is_an_error(nodes, clock):
    asked = nodes[0].channels.send_to_connection("bbbbbbbb" + "0" * 24, Message(b"x"))
    assert result(asked) is False
    nodes[1].channels._nodes._answers = {}
    asked = nodes[0].channels.send_to_connection("bbbbbbbb" + "0" * 24, Message(b"x"))
    clock.advance(PATIENCE)
    assert isinstance(error(asked), BusUnanswered)
    assert nodes[0].channels.unanswered == 1
    assert nodes[1].channels.malformed == 1


def test_what_is_none_of_ours_is_dropped_and_counted(nodes, clock, exchange):
    one = nodes[0].member("room")
    exchange.publish("room", b"nonsense")
    exchange.publish("room", encode(Envelope(Kind.REPLY, "0" * 8)))
    for data in (
        b"",
        b"nonsense",
        encode(Envelope(Kind.MESSAGE, "0" * 8)),
        encode(Envelope(Kind.REPLY, "0" * 8, 1, payload=b"{")),
        encode(Envelope(Kind.REPLY, "0" * 8, 1, payload=b"[]")),
    ):
        exchange.send("node:aaaaaaaa", data)
    assert nodes[0].channels.malformed == 7
    nodes[1].channels.publish("room", Message(b"x"))
    assert one.got == [b"x"]


@pytest.mark.parametrize("payload", [b"", b"{}", b"[1]", b'["x", "y"]', b"\xff"])
def test_a_question_that_makes_no_sense_is_answered_with_an_error(nodes, exchange, payload):
    asked = Envelope(Kind.CLOSE_CONNECTION, "bbbbbbbb", 1, "aaaaaaaa" + "0" * 24, payload)
    number = nodes[1].channels._nodes._asks.begin()
    outcome = nodes[1].channels._nodes._asks._open[number].outcome
    nodes[1].channels._nodes._asks._open[number].wanted = 1
    exchange.send("node:aaaaaaaa", encode(asked._replace(number=number)))
    assert "error" in result(outcome)[0]


def test_positions_are_read_as_they_are_written():
    assert Position.parse(str(Position("ab12", 7))) == Position("ab12", 7)
    for text in ("", "x:1", "ab:", "ab:-1", "ab:1:2", ":1"):
        with pytest.raises(ValueError, match="no position"):
            Position.parse(text)


def test_channels_that_clients_only_looked_into_leave_nothing_behind(nodes, clock, exchange):
    one, two = nodes[0].member(), nodes[1].member("kept")
    for number in range(50):
        nodes[0].channels.subscribe(one, f"wish{number}")
        clock.advance(0)
        nodes[0].channels.unsubscribe(one, f"wish{number}")
        clock.advance(0)
    nodes[0].channels.subscribe(one, "own")
    clock.advance(0)
    assert set(exchange._channels) == {"kept", "own"}
    exchange.leave(nodes[0].name)
    assert set(exchange._channels) == {"kept"}
    nodes[1].channels.publish("kept", Message(b"x"))
    nodes[1].channels.remove(two)
    clock.advance(0)
    assert set(exchange._channels) == {"kept"}


def test_channels_in_use_do_not_keep_old_ones_from_being_forgotten(nodes, clock, exchange):
    nodes[0].member(*(f"long{number}" for number in range(8)))
    for number in range(100):
        nodes[0].channels.publish(f"old{number}", Message(b"x"))
    clock.advance(Exchange.KEEP_POSITION + 1)
    for _ in range(100):
        nodes[0].channels.publish("new", Message(b"x"))
    assert set(exchange._channels) == {"new", *(f"long{number}" for number in range(8))}
