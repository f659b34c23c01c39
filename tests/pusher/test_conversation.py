"""wsgate.pusher.conversation and application: what clients get, and may."""

import json

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from tests.fakes import FakePeer, FakePool, arrival
from wsgate import cgi
from wsgate.channels import ChannelLimits, Channels
from wsgate.gateway import QueueLimits, Route
from wsgate.http1 import RequestHead
from wsgate.pusher.app import App
from wsgate.pusher.application import Application
from wsgate.pusher.calls import Trigger
from wsgate.pusher.conversation import AT_ONCE, PusherConversation, TurnedAway
from wsgate.pusher.signatures import signature
from wsgate.timeouts import Timeouts

APP = {"id": "3", "key": "key", "secret": b"secret", "client_events": True}


class Told:
    """Webhooks that remember."""

    def __init__(self):
        self.events = []

    def tell(self, name, **about):
        self.events.append((name, about))

    def begins(self, name, *key, **about):
        self.events.append((name, about))

    ends = begins


class House:
    """An application, and its clients by name."""

    def __init__(self, limits=None, **app):
        self.clock = Clock()
        self.channels = Channels(self.clock, limits)
        self.told = Told()
        self.application = Application(
            App(**{**APP, **app}),
            self.channels,
            self.clock.seconds,
            self.told,
            Timeouts(self.clock),
        )
        self.route = Route(path="/app/key", script=cgi.Script("", "", "/"), pool=FakePool())
        self.count = 0

    def client(self, target=b"/app/key?protocol=7&client=js", opened=True, limits=None):
        self.count += 1
        client = PusherConversation(
            self.application,
            lambda function: self.clock.callLater(0, function),
            self.route,
            arrival(
                FakePeer(),
                limits=limits,
                connection_id=f"{self.count:032x}",
                head=RequestHead(b"GET", target, b"HTTP/1.1", ()),
            ),
        )
        self.channels.add(client)
        if opened:
            client.opened()
            got(client)
        return client

    def leave(self, client):
        self.channels.remove(client)
        client.connection_lost()

    def trigger(self, name="e", data="{}", channels=("c",), except_id=None):
        asked = Trigger(name, data, channels, except_id, frozenset())
        ensureDeferred(self.application.trigger(asked))
        self.clock.advance(0)


@pytest.fixture
def house():
    return House()


def got(client):
    """The events that a client got since the last look, `data` decoded, and what else happened."""
    did, client._peer.did = client._peer.did, []
    found = []
    for step in did:
        if step[0] == "push":
            event = json.loads(step[1])
            data = event.get("data")
            if isinstance(data, str):
                event["data"] = json.loads(data)
            found.append(event)
        elif step != "idle":
            found.append(step)
    return found


def say(client, event, data=None, **more):
    client.message_received(json.dumps({"event": event, "data": data, **more}).encode(), False)
    return got(client)


def auth(client, channel, channel_data=None):
    parts = [client.socket_id, channel] + ([] if channel_data is None else [channel_data])
    return "key:" + signature(b"secret", ":".join(parts).encode())


def subscribe(client, channel, person=None):
    data = {"channel": channel}
    if person is not None:
        data["channel_data"] = json.dumps(person)
    if channel.startswith(("private-", "presence-")):
        data["auth"] = auth(client, channel, data.get("channel_data"))
    return say(client, "pusher:subscribe", data)


def sign_in(client, **user):
    data = json.dumps(user)
    signed = "key:" + signature(b"secret", f"{client.socket_id}::user::{data}".encode())
    return say(client, "pusher:signin", {"auth": signed, "user_data": data})


def succeeded(channel, data=None):
    return {
        "event": "pusher_internal:subscription_succeeded",
        "channel": channel,
        "data": data or {},
    }


def error(code):
    def is_error(event):
        return event["event"] == "pusher:error" and event["data"]["code"] == code

    return is_error


# -- opening


def test_the_first_event_names_the_socket(house):
    client = house.client(opened=False)
    assert client.open().result.subprotocol is None
    client.opened()
    assert got(client) == [
        {
            "event": "pusher:connection_established",
            "data": {"socket_id": client.socket_id, "activity_timeout": 30},
        }
    ]


@pytest.mark.parametrize(
    "query", [b"", b"?protocol=5", b"?protocol=7&flash=false", b"?" + b"a&" * 200]
)
def test_protocols_five_to_seven_or_none_named_are_spoken(house, query):
    client = house.client(b"/app/key" + query, opened=False)
    client.opened()
    assert got(client)[0]["event"] == "pusher:connection_established"


def test_another_protocol_is_told_and_closed(house):
    client = house.client(b"/app/key?protocol=4", opened=False)
    client.opened()
    told, close = got(client)
    assert error(4007)(told)
    assert close == ("close", 4007, "Unsupported protocol version")


def test_an_unknown_application_is_told_and_closed():
    route = Route(path="/", script=cgi.Script("", "", "/"), pool=FakePool())
    peer = FakePeer()
    client = TurnedAway(route, arrival(peer, connection_id="a" * 32))
    client.open()
    client.opened()
    event, close = got(client)
    assert error(4001)(event)
    assert close[:2] == ("close", 4001)


def test_a_ping_is_answered(house):
    client = house.client()
    assert say(client, "pusher:ping", {}) == [{"event": "pusher:pong", "data": {}}]
    assert say(client, "pusher:pong", {}) == []
    assert say(client, "something:else", {}) == []


@pytest.mark.parametrize("payload", [b"hello", b"{}", b'{"event":"pusher:subscribe"}'])
def test_what_is_no_message_is_told_and_the_connection_stays(house, payload):
    client = house.client()
    client.message_received(payload, False)
    (told,) = got(client)
    assert error(4200)(told)
    client.message_received(b'{"event":"pusher:ping"}', True)
    assert error(4200)(got(client)[0])
    assert say(client, "pusher:ping")


# -- channels


def test_a_subscriber_of_a_public_channel_gets_its_events(house):
    client, other = house.client(), house.client()
    assert subscribe(client, "chat") == [succeeded("chat")]
    house.trigger("new", '{"x":1}', ("chat",))
    assert got(client) == [{"event": "new", "channel": "chat", "data": {"x": 1}}]
    assert got(other) == []
    assert say(client, "pusher:unsubscribe", {"channel": "chat"}) == []
    house.trigger("new", "{}", ("chat",))
    assert got(client) == []


def test_subscribing_twice_is_harmless(house):
    client = house.client()
    subscribe(client, "chat")
    assert subscribe(client, "chat") == [succeeded("chat")]
    house.trigger("new", "{}", ("chat",))
    assert len(got(client)) == 1


def test_the_connection_that_caused_an_event_is_left_out(house):
    client, other = house.client(), house.client()
    for one in (client, other):
        subscribe(one, "chat")
    house.trigger("new", "{}", ("chat",), except_id=client.connection_id)
    assert got(client) == []
    assert len(got(other)) == 1


def test_a_private_channel_needs_the_applications_signature(house):
    client, other = house.client(), house.client()
    assert subscribe(client, "private-a") == [succeeded("private-a")]
    for wrong in ("", "key:0", auth(other, "private-a"), auth(client, "private-b")):
        (told,) = say(client, "pusher:subscribe", {"channel": "private-b2", "auth": wrong})
        assert told["event"] == "pusher:subscription_error"
        assert told["channel"] == "private-b2"
        assert (told["data"]["type"], told["data"]["status"]) == ("AuthError", 401)
    house.trigger("e", "{}", ("private-b2",))
    assert got(client) == []


def test_an_encrypted_channel_is_as_a_private_one_and_its_data_stays_as_it_is(house):
    client = house.client()
    assert subscribe(client, "private-encrypted-a") == [succeeded("private-encrypted-a")]
    data = '{"nonce":"LVY4","ciphertext":"Ml5z"}'
    house.trigger("e", data, ("private-encrypted-a",))
    assert got(client)[0]["data"] == json.loads(data)


@pytest.mark.parametrize("name", ["", "a b", "x" * 165, "#server-to-user-", "a:b", "é"])
def test_a_name_that_no_channel_may_have_is_refused(house, name):
    client = house.client()
    (told,) = say(client, "pusher:subscribe", {"channel": name})
    assert told["event"] == "pusher:subscription_error"
    assert client.channels == frozenset()


def test_too_many_channels_are_refused(house):
    house = House(ChannelLimits(channels_per_connection=2))
    client = house.client()
    assert subscribe(client, "a") == [succeeded("a")]
    assert subscribe(client, "b") == [succeeded("b")]
    (told,) = subscribe(client, "c")
    assert told["data"]["type"] == "LimitReached"
    assert house.application.refusals == 1


def test_applications_do_not_hear_each_other(house):
    other = Application(App(**{**APP, "id": "33"}), house.channels, house.clock.seconds)
    client = house.client()
    subscribe(client, "chat")
    ensureDeferred(other.trigger(Trigger("e", "{}", ("chat",), None, frozenset())))
    house.clock.advance(0)
    assert got(client) == []


def test_a_name_as_long_as_may_be_works_with_any_app_id():
    house = House(id="x" * 64)
    client = house.client()
    name = "private-" + "n" * 156
    assert subscribe(client, name) == [succeeded(name)]
    house.trigger("e", "{}", (name,))
    assert got(client)[0]["channel"] == name


def counts(*clients):
    name = "pusher_internal:subscription_count"
    return [
        [e["data"]["subscription_count"] for e in got(client) if e["event"] == name]
        for client in clients
    ]


def test_subscribers_may_be_told_how_many_they_are_once_for_all_changes_of_a_second():
    house = House(subscription_counts=True)
    one, two, three = (house.client() for _ in range(3))
    for client in (one, two, three):
        subscribe(client, "chat")
    subscribe(one, "presence-a", ANN)
    assert counts(one, two, three) == [[], [], []]
    house.clock.advance(1.2)
    assert counts(one, two, three) == [[3], [3], [3]]
    say(three, "pusher:unsubscribe", {"channel": "chat"})
    house.leave(two)
    house.clock.advance(1.2)
    assert counts(one, two, three) == [[1], [], []]
    house.leave(one)
    house.leave(three)
    house.clock.advance(1.2)
    assert house.application._counting._of == house.application._counting._changed == {}


def test_without_being_asked_for_no_count_is_told(house):
    client = house.client()
    subscribe(client, "chat")
    house.clock.advance(5)
    assert got(client) == []


# -- presence

ANN = {"user_id": 1, "user_info": {"name": "Ann"}}
BOB = {"user_id": "2", "user_info": {"name": "Bob"}}


def here(*people):
    hash_ = {str(person["user_id"]): person.get("user_info") for person in people}
    return {"presence": {"count": len(people), "ids": list(hash_), "hash": hash_}}


def test_members_are_told_who_is_there_who_comes_and_who_goes(house):
    ann, bob = house.client(), house.client()
    assert subscribe(ann, "presence-a", ANN) == [succeeded("presence-a", here(ANN))]
    assert subscribe(bob, "presence-a", BOB) == [succeeded("presence-a", here(ANN, BOB))]
    added = {"event": "pusher_internal:member_added", "channel": "presence-a", "data": BOB}
    assert got(ann) == [added]
    say(bob, "pusher:unsubscribe", {"channel": "presence-a"})
    removed = {"event": "pusher_internal:member_removed", "channel": "presence-a"}
    assert got(ann) == [{**removed, "data": {"user_id": "2"}}]
    assert got(bob) == []


def test_a_second_connection_of_a_user_comes_and_goes_unnoticed(house):
    ann, first, second = house.client(), house.client(), house.client()
    subscribe(ann, "presence-a", ANN)
    subscribe(first, "presence-a", BOB)
    got(ann)
    assert subscribe(second, "presence-a", BOB) == [succeeded("presence-a", here(ANN, BOB))]
    house.leave(first)
    assert got(ann) == []
    house.leave(second)
    assert [event["data"] for event in got(ann)] == [{"user_id": "2"}]
    house.leave(ann)
    assert len(house.application.presence) == 0
    assert house.application.presence._channels_of == {}


def test_a_member_that_subscribes_again_counts_once(house):
    ann, bob = house.client(), house.client()
    subscribe(ann, "presence-a", ANN)
    subscribe(bob, "presence-a", BOB)
    assert subscribe(bob, "presence-a", BOB) == [succeeded("presence-a", here(ANN, BOB))]
    house.leave(bob)
    assert len(got(ann)) == 2
    assert list(house.application.presence.members("presence-a")) == ["1"]


def test_a_presence_channel_takes_as_many_users_as_may_be():
    house = House(max_presence_members=1)
    ann, bob, again = house.client(), house.client(), house.client()
    subscribe(ann, "presence-a", ANN)
    (told,) = subscribe(bob, "presence-a", BOB)
    assert (told["data"]["type"], told["data"]["status"]) == ("LimitReached", 4100)
    assert bob.channels == frozenset()
    assert subscribe(again, "presence-a", ANN)[0]["event"].endswith("succeeded")


@pytest.mark.parametrize(("size", "taken"), [(100, True), (101, False)])
def test_what_is_said_of_a_member_has_a_limit(size, taken):
    house = House(max_presence_member_size=100)
    person = {"user_id": "1", "user_info": "x" * (size - 2)}
    (told,) = subscribe(house.client(), "presence-a", person)
    assert told["event"].endswith("succeeded") is taken


@pytest.mark.parametrize("person", [None, {}, {"user_id": ""}, {"user_id": [1]}])
def test_a_member_needs_a_user_id(house, person):
    (told,) = subscribe(house.client(), "presence-a", person)
    assert (told["data"]["type"], told["data"]["status"]) == ("InvalidData", 400)


# -- client events


def typing(client, channel, data=None):
    return say(client, "client-typing", data or {"on": True}, channel=channel)


def test_a_client_event_goes_to_the_others_with_the_members_id(house):
    ann, bob = house.client(), house.client()
    subscribe(ann, "presence-a", ANN)
    subscribe(bob, "presence-a", BOB)
    got(ann)
    assert typing(ann, "presence-a") == []
    said = {"event": "client-typing", "channel": "presence-a", "data": {"on": True}}
    assert got(bob) == [{**said, "user_id": "1"}]
    assert house.application.client_events == 1


def test_a_client_cannot_say_who_it_is_or_what_only_the_server_says(house):
    ann, bob = house.client(), house.client()
    for client, person in ((ann, ANN), (bob, BOB)):
        subscribe(client, "presence-a", person)
    got(ann)
    told = {"user_id": "9", "user_info": {}}
    for event in ("pusher_internal:member_added", "pusher:error", "created", "client"):
        assert say(bob, event, told, channel="presence-a", user_id="1") == []
    assert got(ann) == []
    say(bob, "client-x", {}, channel="presence-a", user_id="1", socket_id=ann.socket_id)
    assert got(ann) == [{"event": "client-x", "channel": "presence-a", "data": {}, "user_id": "2"}]


def test_client_events_need_the_setting():
    house = House(client_events=False)
    client = house.client()
    subscribe(client, "private-a")
    assert error(4301)(typing(client, "private-a")[0])


@pytest.mark.parametrize("channel", ["chat", "private-encrypted-a", "cache-a"])
def test_client_events_are_for_private_and_presence_channels(house, channel):
    client, other = house.client(), house.client()
    for one in (client, other):
        subscribe(one, channel)
        got(one)
    assert error(4301)(typing(client, channel)[0])
    assert got(other) == []


def test_client_events_are_for_subscribers(house):
    client, other = house.client(), house.client()
    subscribe(other, "private-a")
    assert error(4301)(typing(client, "private-a")[0])
    assert got(other) == []


def test_ten_client_events_a_second_are_taken(house):
    client = house.client()
    subscribe(client, "private-a")
    for _ in range(10):
        assert typing(client, "private-a") == []
    assert error(4301)(typing(client, "private-a")[0])
    house.clock.advance(1)
    assert typing(client, "private-a") == []


@pytest.mark.parametrize(("size", "taken"), [(50, True), (51, False)])
def test_the_data_of_a_client_event_has_a_limit(size, taken):
    house = House(max_event_size=50)
    client = house.client()
    subscribe(client, "private-a")
    assert (typing(client, "private-a", "x" * (size - 2)) == []) is taken
    assert error(4301)(say(client, "client-" + "x" * 194, 1, channel="private-a")[0])
    assert say(client, "client-" + "x" * 193, 1, channel="private-a") == []


# -- users


def test_a_signed_in_user_gets_what_is_sent_to_it(house):
    client, other = house.client(), house.client()
    (told,) = sign_in(client, id="42", name="Ann")
    assert told["event"] == "pusher:signin_success"
    assert json.loads(told["data"]["user_data"]) == {"id": "42", "name": "Ann"}
    channel = "#server-to-user-42"
    assert say(client, "pusher:subscribe", {"channel": channel}) == [succeeded(channel)]
    house.trigger("hello", '"you"', (channel,))
    assert got(client) == [{"event": "hello", "channel": channel, "data": "you"}]
    (refused,) = say(other, "pusher:subscribe", {"channel": channel})
    assert refused["event"] == "pusher:subscription_error"
    say(client, "pusher:unsubscribe", {"channel": channel})
    house.trigger("hello", '"you"', (channel,))
    assert len(got(client)) == 1


@pytest.mark.parametrize("user", [{}, {"id": ""}, {"id": "a b"}, {"id": None}, {"id": "x" * 129}])
def test_a_user_without_a_good_id_is_closed(house, user):
    client = house.client()
    told, close = sign_in(client, **user)
    assert error(4009)(told)
    assert close[:2] == ("close", 4009)


def test_a_wrong_signature_of_a_user_is_closed(house):
    client = house.client()
    told, close = say(client, "pusher:signin", {"auth": "key:0", "user_data": '{"id":"1"}'})
    assert error(4009)(told)
    assert close[:2] == ("close", 4009)
    assert client.user is None


def test_a_client_cannot_become_another_user(house):
    client = house.client()
    sign_in(client, id="1")
    assert sign_in(client, id="1")[0]["event"] == "pusher:signin_success"
    assert sign_in(client, id="2")[-1][:2] == ("close", 4009)


def test_all_connections_of_a_user_are_closed(house):
    one, two, other = house.client(), house.client(), house.client()
    for client, user in ((one, "1"), (two, "1"), (other, "2")):
        sign_in(client, id=user)
    house.application.terminate("1")
    house.clock.advance(0)
    for client in (one, two):
        told, close = got(client)
        assert error(4009)(told)
        assert close[:2] == ("close", 4009)
    assert got(other) == []


# -- cache channels


def test_who_comes_later_to_a_cache_channel_gets_its_last_event(house):
    early, late = house.client(), house.client()
    assert subscribe(early, "cache-a") == [
        succeeded("cache-a"),
        {"event": "pusher:cache_miss", "channel": "cache-a", "data": {}},
    ]
    house.trigger("e", "1", ("cache-a",))
    house.trigger("e", "2", ("cache-a",))
    assert subscribe(late, "cache-a") == [
        succeeded("cache-a"),
        {"event": "e", "channel": "cache-a", "data": 2},
    ]
    house.clock.advance(1801)
    assert subscribe(house.client(), "cache-a")[1]["event"] == "pusher:cache_miss"


# -- fairness, ends and counts


def test_a_client_has_so_many_messages_in_a_turn_and_no_more(house):
    client = house.client(limits=QueueLimits(4, 1000))
    for _ in range(AT_ONCE + 4):
        client.message_received(b'{"event":"pusher:ping"}', False)
    answers = got(client)
    assert len(answers) == AT_ONCE + 1
    assert answers[-1] == "pause"
    assert not client.is_idle
    house.clock.advance(0)
    assert len(got(client)) == 4 + 1
    assert client.is_idle
    tally = house.route.tally
    assert (tally.received, tally.answered) == (AT_ONCE + 4, AT_ONCE + 4)


def test_who_is_told_of_many_members_waits_for_its_next_turn(house):
    for number in range(AT_ONCE):
        subscribe(house.client(), "presence-a", {"user_id": str(number)})
    client = house.client()
    for _ in range(3):
        subscribe(client, "presence-a", {"user_id": "x"})
    assert client.queue_length == 2
    house.clock.advance(0)
    assert client.queue_length == 0


def test_who_comes_and_goes_before_many_connections_waits_for_its_next_turn(house):
    for _ in range(AT_ONCE):
        subscribe(house.client(), "presence-a", {"user_id": "one"})
    client = house.client()
    for _ in range(2):
        subscribe(client, "presence-a", {"user_id": "x"})
    assert client.queue_length == 1
    house.clock.advance(0)
    for _ in range(2):
        say(client, "pusher:unsubscribe", {"channel": "presence-a"})
    assert client.queue_length == 1
    house.clock.advance(0)
    assert client.queue_length == 0


def test_while_a_client_takes_nothing_its_messages_wait(house):
    client = house.client()
    client.output_paused()
    assert say(client, "pusher:ping") == []
    client.output_resumed()
    assert got(client) == [{"event": "pusher:pong", "data": {}}]


def test_every_message_is_counted_also_those_of_a_client_that_left(house):
    client = house.client()
    for _ in range(AT_ONCE + 3):
        client.message_received(b'{"event":"pusher:ping"}', False)
    house.leave(client)
    client.message_received(b'{"event":"pusher:ping"}', False)
    house.clock.advance(1)
    tally = house.route.tally
    assert (tally.received, tally.answered, tally.gone) == (AT_ONCE + 4, AT_ONCE, 4)


def test_the_script_is_told_what_happens(house):
    ann, bob = house.client(), house.client()
    subscribe(ann, "presence-a", ANN)
    subscribe(bob, "cache-b")
    typing(ann, "presence-a")
    sign_in(bob, id="9")
    house.leave(ann)
    house.leave(bob)
    about = {"channel": "presence-a", "user_id": "1"}
    sent = {**about, "event": "client-typing", "data": '{"on":true}', "socket_id": ann.socket_id}
    assert house.told.events == [
        ("channel_occupied", {"channel": "presence-a"}),
        ("member_added", about),
        ("channel_occupied", {"channel": "cache-b"}),
        ("cache_miss", {"channel": "cache-b"}),
        ("client_event", sent),
        ("channel_vacated", {"channel": "presence-a"}),
        ("member_removed", about),
        ("channel_vacated", {"channel": "cache-b"}),
    ]
