"""wsgate.pusher.neighbours: members of presence channels over several processes on one bus."""

import itertools

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from tests.bus.memory_bus import MemoryBus, new_exchange
from tests.fakes import FakePeer, arrival
from tests.pusher.test_conversation import ANN, BOB, Told, got, here, say, sign_in, subscribe
from wsgate import cgi
from wsgate.bus import SharedChannels
from wsgate.channels import Message
from wsgate.gateway import Route
from wsgate.http1 import RequestHead
from wsgate.pusher import App, Applications, Served
from wsgate.pusher.calls import Trigger
from wsgate.pusher.neighbours import BEAT, FIRST, PATIENCE, SILENCE

APP = App(id="3", key="key", secret=b"secret", client_events=True, max_presence_members=3)


class Node:
    """One process."""

    def __init__(self, name, clock, exchange):
        self.clock = clock
        self.name = name
        self.numbers = itertools.count(1)
        self.bus = MemoryBus(exchange)
        self.channels = SharedChannels(clock, None, None, self.bus, name)
        self.channels.start()
        self.applications = Applications(clock, self.channels, lambda: 0, shared=True)
        self.applications.start()
        self.applications.serve([Served(APP, None, None)])
        self.application = self.applications.find("3")
        self.application.webhooks = self.told = Told()

    def client(self):
        client = self.applications.converse(
            "3",
            Route(path="/", script=cgi.Script("", "", "/"), pool=None),
            arrival(
                FakePeer(),
                connection_id=f"{self.name}{next(self.numbers):024x}",
                head=RequestHead(b"GET", b"/app/key", b"HTTP/1.1", ()),
            ),
        )
        self.channels.add(client)
        return client

    def leave(self, client):
        self.channels.remove(client)
        client.connection_lost()
        self.clock.advance(0)

    def members(self, channel="presence-a"):
        return list(self.application.presence.members(channel))

    def trigger(self, *channels, except_id=None):
        asked = Trigger("e", "{}", channels, except_id, frozenset())
        done = ensureDeferred(self.application.trigger(asked))
        self.clock.advance(0)
        return done


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def exchange(clock):
    return new_exchange(clock)


@pytest.fixture
def nodes(clock, exchange):
    nodes = [Node(name, clock, exchange) for name in ("aaaaaaaa", "bbbbbbbb", "cccccccc")]
    pass_time(clock, FIRST + 0.4)
    return nodes


def pass_time(clock, seconds):
    for _ in range(round(seconds * 10) + 1):
        clock.advance(0.1)


def test_a_member_is_seen_from_every_process(nodes, clock):
    one, two, _ = nodes
    ann, bob = one.client(), two.client()
    subscribe(ann, "presence-a", ANN)
    clock.advance(0)
    got(ann)
    told = subscribe(bob, "presence-a", BOB)[0]
    assert told["data"] == here(ANN, BOB)
    clock.advance(0)
    assert [event["data"] for event in got(ann)] == [BOB]
    assert [node.members() for node in nodes] == [["1", "2"]] * 3
    two.leave(bob)
    assert [event["data"] for event in got(ann)] == [{"user_id": "2"}]
    assert [node.members() for node in nodes] == [["1"]] * 3


def test_a_user_with_connections_in_two_processes_comes_and_goes_once(nodes, clock):
    one, two, three = nodes
    ann, first, second = one.client(), two.client(), three.client()
    subscribe(ann, "presence-a", ANN)
    for client in (first, second):
        clock.advance(0)
        subscribe(client, "presence-a", BOB)
    clock.advance(0)
    assert len(got(ann)) == 1
    two.leave(first)
    assert got(ann) == []
    three.leave(second)
    assert len(got(ann)) == 1
    named = [(name, about.get("user_id")) for node in nodes for name, about in node.told.events]
    for event in [("member_added", "2"), ("member_removed", "2")]:
        assert named.count(event) == 1


def test_a_channel_is_full_over_all_processes(nodes, clock):
    for node, user in zip(nodes, "123", strict=True):
        subscribe(node.client(), "presence-a", {"user_id": user})
        clock.advance(0)
    (told,) = subscribe(nodes[0].client(), "presence-a", {"user_id": "4"})
    assert told["data"]["type"] == "LimitReached"


def test_a_process_that_comes_later_hears_who_is_there(nodes, clock, exchange):
    for number in range(3):
        subscribe(nodes[0].client(), f"presence-{number}", ANN)
    late = Node("dddddddd", clock, exchange)
    assert late.members("presence-1") == []
    pass_time(clock, FIRST + 0.4)
    assert late.members("presence-1") == ["1"]


def test_a_process_that_stops_takes_its_members_with_it(nodes, clock):
    one, two, _ = nodes
    ann = one.client()
    subscribe(ann, "presence-a", ANN)
    clock.advance(0)
    subscribe(two.client(), "presence-a", BOB)
    clock.advance(0)
    got(ann)
    two.applications.stop()
    clock.advance(0)
    assert [event["data"] for event in got(ann)] == [{"user_id": "2"}]


def test_a_process_that_dies_takes_its_members_with_it_and_one_tells(nodes, clock):
    one, two, three = nodes
    ann = one.client()
    subscribe(ann, "presence-a", ANN)
    clock.advance(0)
    subscribe(two.client(), "presence-a", BOB)
    clock.advance(0)
    got(ann)
    two.application._neighbours._beat.cancel()
    pass_time(clock, SILENCE + BEAT + 1)
    assert [event["data"] for event in got(ann)] == [{"user_id": "2"}]
    named = [name for node in (one, three) for name, _ in node.told.events]
    assert named.count("member_removed") == 1


def test_what_was_missed_is_made_up_for(nodes, clock):
    one, two, _ = nodes
    neighbours = two.application._neighbours
    publish, neighbours._all.publish = neighbours._all.publish, lambda *_: _Nothing()
    bob = two.client()
    subscribe(bob, "presence-a", BOB)
    neighbours._all.publish = publish
    clock.advance(0)
    assert one.members() == []
    pass_time(clock, BEAT + 0.5)
    assert one.members() == ["2"]


class _Nothing:
    def addErrback(self, _function):
        """Lose it."""


def test_what_is_not_understood_is_dropped(nodes, clock):
    for payload in (b"", b"[]", b"{}", b'{"node":"x","say":"count","seq":1}', b'{"node":"x"}'):
        nodes[0].channels.publish("3;::::nodes", Message(payload))
    clock.advance(0)
    subscribe(nodes[1].client(), "presence-a", ANN)
    clock.advance(0)
    assert nodes[0].members() == ["1"]


def test_events_users_and_the_last_event_reach_other_processes(nodes, clock):
    one, two, three = nodes
    ann, bob = one.client(), two.client()
    for client in (ann, bob):
        subscribe(client, "chat")
    sign_in(ann, id="7")
    clock.advance(0)
    three.trigger("chat", except_id=ann.connection_id)
    three.trigger("#server-to-user-7")
    pass_time(clock, 0.2)
    assert [event["event"] for event in got(bob)] == ["e"]
    assert [event["channel"] for event in got(ann)] == ["#server-to-user-7"]
    three.trigger("cache-a")
    pass_time(clock, 0.2)
    assert subscribe(one.client(), "cache-a")[1]["event"] == "e"
    three.application.terminate("7")
    pass_time(clock, 0.2)
    assert got(ann)[-1][:2] == ("close", 4009)


def test_a_client_event_reaches_members_in_other_processes(nodes, clock):
    ann, bob = nodes[0].client(), nodes[1].client()
    for client, person in ((ann, ANN), (bob, BOB)):
        subscribe(client, "presence-a", person)
        clock.advance(0)
    got(bob)
    say(ann, "client-x", {"y": 1}, channel="presence-a")
    clock.advance(0)
    assert [(event["event"], event["user_id"]) for event in got(bob)] == [("client-x", "1")]


def test_channels_of_all_processes_are_listed(nodes, clock):
    for node in nodes:
        subscribe(node.client(), "chat")
    found = []
    ensureDeferred(nodes[0].application.occupied("")).addCallback(found.append)
    pass_time(clock, 0.4)
    assert found == [{"chat": 3}]
    nodes[1].application._neighbours.push = lambda _message: True
    ensureDeferred(nodes[0].application.occupied("ch")).addCallback(found.append)
    pass_time(clock, PATIENCE + 0.2)
    assert found[1] == {"chat": 2}
