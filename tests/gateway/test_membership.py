"""wsgate.gateway.membership: what an answer's actions do to a conversation and to others."""

import pytest
from twisted.logger import capturedLogs, formatEvent

from tests.fakes import FakeMember, FakePeer, FakePool, arrival
from wsgate import cgi
from wsgate.channels import ChannelLimits
from wsgate.fastcgi import decode_params, encode_params
from wsgate.gateway import Conversation, Route


class Client:
    """A conversation that is a member of its peer's channels."""

    def __init__(self, query=b""):
        self.pool, self.peer = FakePool(), FakePeer()
        self.channels = self.peer.channels
        self.route = Route(path="/", script=cgi.Script("/w", "/w", "/"), pool=self.pool)
        params = encode_params([(b"QUERY_STRING", query), (b"REQUEST_URI", b"/a?" + query)])
        self.conversation = Conversation(self.route, arrival(self.peer, params))
        self.channels.add(self.conversation)
        self.logged = []

    def ask(self, *headers, body=b"hi", status=200):
        """Send a message, which PHP answers with these headers; what the socket was told."""
        self.peer.did.clear()
        self.conversation.message_received(b"?", False)
        lines = (f"Status: {status}".encode(), *(h.encode() for h in headers))
        with capturedLogs() as logs:
            self.pool.answer(body, b"\r\n".join(lines))
        self.logged = [formatEvent(event) for event in logs]
        return [did for did in self.peer.did if did != "idle"]

    def params(self):
        """What PHP is told with the next message."""
        self.conversation.message_received(b"?", False)
        params = decode_params(self.pool.requests[-1].params)
        self.pool.answer()
        return params


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def other(client):
    """Somebody else in room a."""
    found = FakeMember("other")
    client.channels.add(found)
    client.channels.subscribe(found, "a")
    return found


def test_an_answer_subscribes_and_unsubscribes(client):
    assert client.ask("Wsgate-Subscribe: a, b") == [(b"hi", False)]
    assert client.conversation.channels == {"a", "b"}
    client.ask("Wsgate-Unsubscribe: a, c", status=204, body=b"")
    assert client.conversation.channels == {"b"}
    assert client.logged == []


def test_a_publish_goes_to_subscribers_and_not_to_the_sender(client, other):
    assert client.ask("Wsgate-Publish: a") == []
    assert other.got == [b"hi"]
    assert client.route.tally.answered == 1


def test_the_sender_gets_its_own_as_a_subscriber_unless_it_is_left_out(client, other):
    assert client.ask("Wsgate-Subscribe: a", "Wsgate-Publish: a") == [("push", b"hi", False)]
    assert client.ask("Wsgate-Publish: a; except-self", "Content-Type: image/png") == []
    assert other.got == [b"hi", b"hi"]


def test_leaving_and_publishing_in_one_answer_does_not_reach_the_sender(client, other):
    client.ask("Wsgate-Subscribe: a")
    assert client.ask("Wsgate-Publish: a", "Wsgate-Unsubscribe: a") == []
    assert other.got == [b"hi"]


def test_a_close_comes_last(client, other):
    did = client.ask("Wsgate-Close: 4001 bye", "Wsgate-Subscribe: a", "Wsgate-Publish: a")
    assert did == [("push", b"hi", False), ("close", 4001, "bye")]


def test_a_publish_without_a_body_is_warned_about(client, other):
    client.ask("Wsgate-Publish: a", status=204, body=b"")
    assert other.got == []
    assert "Wsgate-Publish: the answer has no body" in client.logged[0]
    client.ask("Wsgate-Publish: a", body=b"")
    assert other.got == [b""]


def test_a_user_is_bound_and_php_is_told(client):
    client.ask("Wsgate-User: 42")
    assert client.conversation.user == "42"
    assert client.params()[b"WSGATE_USER"] == b"42"
    client.ask("Wsgate-User:")
    assert b"WSGATE_USER" not in client.params()
    client.channels.bind_user(client.conversation, "Zoë")
    assert client.params()[b"WSGATE_USER"] == "Zoë".encode()


def test_variables_come_back_until_they_are_forgotten(client):
    client.ask("Wsgate-Set: Room=a", "Wsgate-Set: name=Zoë", "Wsgate-User: 42")
    params = client.params()
    assert params[b"WSGATE_VAR_ROOM"] == b"a"
    assert params[b"WSGATE_VAR_NAME"] == "Zoë".encode()
    assert params[b"WSGATE_USER"] == b"42"
    assert params[b"REQUEST_URI"] == b"/a?"
    client.ask("Wsgate-Set: ROOM=b", "Wsgate-Set: name=")
    params = client.params()
    assert params[b"WSGATE_VAR_ROOM"] == b"b"
    assert b"WSGATE_VAR_NAME" not in params


def test_variables_stay_when_the_route_becomes_another(client):
    client.ask("Wsgate-Set: room=a")
    script = cgi.Script("/other", "/other", "/")
    client.route.become(Route(path="/", script=script, pool=client.pool))
    params = client.params()
    assert (params[b"SCRIPT_FILENAME"], params[b"WSGATE_VAR_ROOM"]) == (b"/other", b"a")


def test_params_are_encoded_when_they_change_and_not_with_each_message(client):
    changes = []
    client.conversation.__class__ = type(
        "Told", (Conversation,), {"__slots__": (), "params_changed": lambda _: changes.append(1)}
    )
    client.ask("Wsgate-Set: a=1", "Wsgate-Set: b=2")
    client.ask("Wsgate-Set: a=1", "Wsgate-Set: c=", "Wsgate-User:")
    client.ask("Wsgate-Subscribe: a")
    assert changes == [1]
    client.ask("Wsgate-User: 42")
    client.ask("Wsgate-User: 42")
    assert changes == [1, 1]


def test_as_many_variables_are_kept_as_may_be_and_not_one_more(client):
    client.channels.limits = ChannelLimits(variables_per_connection=2)
    client.ask("Wsgate-Set: a=1", "Wsgate-Set: b=1", "Wsgate-Set: c=1", "Wsgate-Set: b=2")
    params = client.params()
    assert (params[b"WSGATE_VAR_B"], params.get(b"WSGATE_VAR_C")) == (b"2", None)
    (line,) = client.logged
    assert "Wsgate-Set: C is not kept" in line
    assert "limits.variables_per_connection" in line


def test_variables_have_as_many_bytes_as_they_may_and_not_one_more(client):
    client.channels.limits = ChannelLimits(variable_bytes_per_connection=10)
    client.ask("Wsgate-Set: a=12345678é")
    assert b"WSGATE_VAR_A" not in client.params()
    client.ask("Wsgate-Set: a=1234567é", "Wsgate-Set: b=1")
    assert client.params()[b"WSGATE_VAR_A"] == "1234567é".encode()
    assert "limits.variable_bytes_per_connection" in client.logged[0]


def test_a_subscription_too_many_is_warned_about_and_the_rest_is_done(client):
    client.channels.limits = ChannelLimits(channels_per_connection=1)
    assert client.ask("Wsgate-Subscribe: a, b") == [(b"hi", False)]
    assert client.conversation.channels == {"a"}
    assert "Wsgate-Subscribe: this connection has 1 channels already" in client.logged[0]


def test_a_script_that_failed_does_nothing(client, other):
    client.ask("Wsgate-Subscribe: a", "Wsgate-Publish: a", status=500)
    assert client.conversation.channels == set()
    assert other.got == []


@pytest.mark.parametrize("end", ["abandon", "close"])
def test_what_is_published_reaches_the_others_also_when_the_client_has_left(client, other, end):
    client.conversation.message_received(b"?", False)
    if end == "abandon":
        client.channels.remove(client.conversation)
        client.conversation.connection_lost()
    else:
        client.conversation.close(4000, "")
    client.peer.did.clear()
    client.pool.answer(b"hi", b"Wsgate-Publish: a; except-self\r\nWsgate-Subscribe: a")
    assert other.got == [b"hi"]
    assert client.conversation.channels == set()
    assert not [did for did in client.peer.did if did != "idle"]
    assert client.route.tally.gone == 1


def test_connections_share_what_most_do_not_have(client):
    client.ask("Wsgate-Set: a=1", "Wsgate-Subscribe: a", "Wsgate-User: 42")
    fresh = Client().conversation
    assert (fresh.user, fresh.channels) == (None, frozenset())
    assert fresh._kept.variables == {}


def test_an_operator_sees_no_query_and_no_variable():
    client = Client(b"token=secret")
    client.ask("Wsgate-Set: key=secret", "Wsgate-Subscribe: b, a", "Wsgate-User: 42")
    info = client.conversation.info()
    assert "secret" not in str(info)
    assert info["path"] == "/a"
    assert (info["user"], info["channels"], info["queue"]) == ("42", ["a", "b"], 0)


def test_where_a_client_wants_to_go_on_is_in_its_query():
    client = Client(b"a=b&last=e:1&last=f%3A2&xlast=g:3&last")
    assert client.conversation.places == ("e:1", "f:2", "")
    assert len(Client(b"last=x&" * 100).conversation.places) == 64
