"""wsgate.pusher.api and serving: the HTTP API, on a connection that was a client's."""

import hashlib
import json
from urllib.parse import quote, urlencode

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.fakes import FakePeer, arrival
from tests.pusher.test_conversation import ANN, sign_in
from tests.pusher.test_conversation import subscribe as join
from wsgate import cgi
from wsgate.channels import Channels
from wsgate.gateway import Route
from wsgate.http1 import RequestHead
from wsgate.pusher import ApiFactory, App, Applications, Served
from wsgate.pusher.signatures import request_signature
from wsgate.websocket import GatewayFactory, WebSocketOptions

NOW = 1_700_000_000
APP = App(id="3", key="key", secret=b"secret", max_event_size=1000)


class House:
    def __init__(self, *apps):
        self.clock = Clock()
        self.factory = GatewayFactory(
            self.clock, [], WebSocketOptions(new_connections_per_address=5)
        )
        self.channels: Channels = self.factory.channels
        self.applications = Applications(self.clock, self.channels, lambda: NOW)
        self.applications.serve(Served(app, None, None) for app in apps or (APP,))
        self.api = self.factory.plain_http = ApiFactory(self.clock, self.applications, lambda: NOW)
        self.count = 0

    def client(self, app_id="3"):
        """A client, with no socket."""
        self.count += 1
        route = Route(path="/", script=cgi.Script("", "", "/"), pool=None)
        head = RequestHead(b"GET", b"/app/key", b"HTTP/1.1", ())
        client = self.applications.converse(
            app_id, route, arrival(FakePeer(), connection_id=f"{self.count:032x}", head=head)
        )
        self.channels.add(client)
        return client

    def connect(self):
        transport = Transport()
        protocol = self.factory.buildProtocol(None)
        protocol.makeConnection(transport)
        return transport

    def raw(self, request, transport=None):
        """(status, headers, body) of the answer to `request`."""
        transport = transport or self.connect()
        transport.clear()
        transport.protocol.dataReceived(request)
        self.clock.advance(0)
        return parsed(transport.value())

    def ask(self, method, path, value=None, *, prefix="", **query):
        body = b"" if value is None else json.dumps(value).encode()
        return self.raw(request(method, path, body, prefix=prefix, **query))


class Transport(StringTransport):
    """A socket that knows whom it serves."""

    def __init__(self):
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", 1))
        self.dataBuffer = b""
        self.offset = 0

    def registerProducer(self, producer, streaming):
        if not hasattr(self, "protocol"):
            self.producer = producer

    def unregisterProducer(self):
        self.producer = None


def parsed(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    text = body.decode()
    if headers.get("content-type") == "application/json":
        return int(lines[0].split()[1]), headers, json.loads(text)
    return int(lines[0].split()[1]) if lines[0] else 0, headers, text


def request(method, path, body=b"", *, prefix="", now=NOW, secret=b"secret", key="key", **query):
    query = {"auth_key": key, "auth_timestamp": str(now), "auth_version": "1.0", **query}
    if body:
        query["body_md5"] = hashlib.md5(body).hexdigest()
    query["auth_signature"] = request_signature(secret, method, path, query.items())
    lines = f"{method} {prefix}{quote(path)}?{urlencode(query)} HTTP/1.1\r\nHost: h\r\n"
    return f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture(autouse=True)
def _know_protocol(monkeypatch):
    def make_connection(self, transport):
        transport.protocol = self
        return original(self, transport)

    original = Protocol.makeConnection
    monkeypatch.setattr(
        "wsgate.websocket.protocol.GatewayProtocol.makeConnection", make_connection, raising=False
    )


@pytest.fixture
def house():
    return House()


def subscribe(client, *channels):
    for channel in channels:
        said = {"event": "pusher:subscribe", "data": {"channel": channel}}
        client.message_received(json.dumps(said).encode(), False)
    client._peer.did.clear()


def events(client):
    did, client._peer.did = client._peer.did, []
    return [json.loads(step[1]) for step in did if step[0] == "push"]


EVENT = {"name": "e", "data": '{"x":1}', "channels": ["a", "b"]}


def test_an_event_goes_to_its_channels(house):
    client, other = house.client(), house.client()
    subscribe(client, "a")
    subscribe(other, "b", "c")
    status, headers, body = house.ask("POST", "/apps/3/events", EVENT)
    assert (status, body) == (200, {})
    assert headers["content-type"] == "application/json"
    assert events(client) == [{"event": "e", "channel": "a", "data": '{"x":1}'}]
    assert [event["channel"] for event in events(other)] == ["b"]


def test_the_socket_that_caused_an_event_is_left_out(house):
    client, other = house.client(), house.client()
    subscribe(client, "a")
    subscribe(other, "a")
    assert house.ask("POST", "/apps/3/events", {**EVENT, "socket_id": client.socket_id})[0] == 200
    assert events(client) == []
    assert len(events(other)) == 1


def test_an_event_may_ask_about_its_channels(house):
    subscribe(house.client(), "a")
    asked = {**EVENT, "info": "subscription_count,user_count"}
    assert house.ask("POST", "/apps/3/events", asked)[2] == {
        "channels": {"a": {"subscription_count": 1}, "b": {"subscription_count": 0}}
    }


def test_a_batch_goes_out_in_order(house):
    client = house.client()
    subscribe(client, "a")
    batch = [{"name": f"e{i}", "data": str(i), "channel": "a"} for i in range(10)]
    assert house.ask("POST", "/apps/3/batch_events", {"batch": batch})[::2] == (200, {})
    assert [event["event"] for event in events(client)] == [f"e{i}" for i in range(10)]
    batch[3]["info"] = "subscription_count"
    found = house.ask("POST", "/apps/3/batch_events", {"batch": batch})[2]["batch"]
    assert found == [{}] * 3 + [{"subscription_count": 1}] + [{}] * 6


def test_nothing_of_a_wrong_batch_goes_out(house):
    client = house.client()
    subscribe(client, "a")
    batch = [{"name": "e", "data": "", "channel": "a"}, {"name": "e", "data": 1, "channel": "a"}]
    status, headers, text = house.ask("POST", "/apps/3/batch_events", {"batch": batch})
    assert status == 400
    assert headers["content-type"].startswith("text/plain")
    assert text == "An event needs data, which must be a string (JSON, mostly)\n"
    assert events(client) == []


def test_channels_are_listed_with_their_subscribers(house):
    assert house.ask("GET", "/apps/3/channels")[::2] == (200, {"channels": {}})
    subscribe(house.client(), "a", "private-no", "ab")
    subscribe(house.client(), "a")
    assert house.ask("GET", "/apps/3/channels")[2] == {
        "channels": {"a": {"subscription_count": 2}, "ab": {"subscription_count": 1}}
    }
    found = house.ask("GET", "/apps/3/channels", filter_by_prefix="ab", info="user_count")[2]
    assert found == {"channels": {"ab": {"subscription_count": 1}}}


def test_a_channel_is_occupied_or_not(house):
    subscribe(house.client(), "a")
    told = house.ask("GET", "/apps/3/channels/a")
    assert told[::2] == (200, {"occupied": True, "subscription_count": 1})
    told = house.ask("GET", "/apps/3/channels/presence-b", info="user_count")
    assert told[2] == {"occupied": False, "subscription_count": 0, "user_count": 0}
    assert house.ask("GET", "/apps/3/channels/a b")[0] == 400


def test_users_of_a_presence_channel_are_listed(house):
    join(house.client(), "presence-a", ANN)
    assert house.ask("GET", "/apps/3/channels/presence-a/users")[2] == {"users": [{"id": "1"}]}
    assert house.ask("GET", "/apps/3/channels/presence-b/users")[2] == {"users": []}
    assert house.ask("GET", "/apps/3/channels/a/users")[0] == 400


def test_connections_of_a_user_are_terminated(house):
    client = house.client()
    sign_in(client, id="42")
    assert house.ask("POST", "/apps/3/users/42/terminate_connections", {})[::2] == (200, {})
    assert ("close", 4009, "You got disconnected by the app.") in client._peer.did


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/apps/4/channels", 404),
        ("GET", "/apps/3/nothing", 404),
        ("GET", "/apps/3/events", 405),
        ("POST", "/apps/3/channels", 405),
    ],
)
def test_what_is_not_there_is_said(house, method, path, status):
    assert house.ask(method, path)[0] == status


# -- who may ask


def test_an_unsigned_request_is_refused_before_its_body_is_there(house):
    whole = request("POST", "/apps/3/events", json.dumps(EVENT).encode(), secret=b"wrong")
    head = whole[: whole.index(b"\r\n\r\n") + 4]
    status, _, text = house.raw(head)
    assert status == 401
    assert text.startswith("Invalid signature")


def test_a_body_is_no_longer_than_a_batch_may_be(house):
    most = 10 * 2 * 1000 + 65536
    for length, status in ((most, 0), (most + 1, 413)):
        signed = request("POST", "/apps/3/events", b"x").split(b"\r\n")[0]
        head = signed + b"\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length
        assert house.raw(head)[0] == status


def test_a_request_of_another_time_is_refused(house):
    assert house.raw(request("GET", "/apps/3/channels", now=NOW - 601))[0] == 401


def test_a_kept_connection_serves_further_requests(house):
    transport = house.connect()
    for _ in range(3):
        assert house.raw(request("GET", "/apps/3/channels"), transport)[0] == 200


def test_a_request_in_pieces_is_put_together(house):
    transport = house.connect()
    whole = request("POST", "/apps/3/events", json.dumps(EVENT).encode())
    for byte in whole:
        transport.protocol.dataReceived(bytes([byte]))
    house.clock.advance(0)
    assert parsed(transport.value())[0] == 200


def test_what_is_before_the_path_is_not_signed():
    house = House(App(id="3", key="key", secret=b"secret", prefix="/ws"))
    assert house.ask("GET", "/apps/3/channels", prefix="/ws")[0] == 200
    # Without it, it is no request for the API.
    assert house.ask("GET", "/apps/3/channels")[0] == 404


def test_other_plain_requests_are_answered_as_before(house):
    assert house.raw(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")[0] == 404
    assert house.raw(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")[0] == 405


def test_a_connection_of_the_api_is_forgotten_with_its_end(house):
    transport = house.connect()
    house.raw(request("GET", "/apps/3/channels"), transport)
    assert len(house.api.connections) == len(house.factory.connections) == 1
    assert len(house.factory.under_way) == 0
    transport.protocol.connectionLost(Failure(ConnectionDone()))
    assert len(house.api.connections) == len(house.factory.connections) == 0
    assert house.factory.census.total == 0


def test_who_signs_may_connect_as_often_as_it_likes(house):
    for _ in range(50):
        assert house.ask("GET", "/apps/3/channels")[0] == 200


def test_who_does_not_sign_may_not(house):
    bad = request("GET", "/apps/3/channels", secret=b"wrong")
    statuses = [house.raw(bad)[0] for _ in range(12)]
    assert statuses == [401] * 10 + [503] * 2


def test_there_are_so_many_connections_and_no_more(house):
    house.api._limits = house.api._limits._replace(connections=2)
    good = request("POST", "/apps/3/events", json.dumps(EVENT).encode())
    for _ in range(2):
        house.connect().protocol.dataReceived(good[:-1])
    assert house.raw(good)[0] == 503
    # One that says nothing gives way after a second.
    house.clock.advance(1)
    assert house.raw(good)[0] == 200


def test_an_application_that_is_served_no_more_is_unknown(house):
    house.applications.serve([])
    assert house.applications.find("3") is None
    assert not house.api.takes(RequestHead(b"GET", b"/apps/3/channels", b"HTTP/1.1", ()))


# -- clients of no application


def test_a_client_of_an_unknown_key_is_let_in_to_be_told(house):
    assert house.factory.route_for("/app/unknown").make_conversation is not None
    assert house.factory.route_for("/other") is None
