"""wsgate.redis.client: connects, and connects again; the endpoint is the test's."""

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock

from tests.deferreds import outcome
from tests.fakes import Transport
from wsgate.redis import Address, RedisAway, RedisRefused, Script
from wsgate.redis.client import RedisClient

GREETING = b"%0\r\n+PONG\r\n"


class Endpoint:
    def __init__(self):
        self.attempts = []

    def connect(self, factory):
        self.factory = factory
        self.attempts.append(Deferred(lambda d: None))
        return self.attempts[-1]

    def succeed(self):
        protocol = self.factory.buildProtocol(None)
        protocol.makeConnection(Transport())
        self.attempts[-1].callback(protocol)
        return protocol

    def fail(self):
        self.attempts[-1].errback(ConnectionRefusedError())


class Told:
    def __init__(self):
        self.events = []

    def up(self):
        self.events.append("up")

    def down(self, why):
        self.events.append(f"down: {why}")

    def failed(self, why):
        self.events.append("failed")

    def pushed(self, message):
        self.events.append(message)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client(clock):
    told, endpoint = Told(), Endpoint()
    client = RedisClient(clock, Address("h"), "me", told, endpoint)
    client.told, client.endpoint = told, endpoint
    client.start()
    return client


def greeted(client):
    connection = client.endpoint.succeed()
    connection.dataReceived(GREETING)
    connection.transport.clear()
    return connection


def test_what_is_asked_before_redis_is_there_fails_at_once(client):
    assert isinstance(outcome(client.ask("PING")), RedisAway)
    connection = client.endpoint.succeed()
    assert not client.is_up
    connection.dataReceived(GREETING)
    assert client.is_up
    assert client.told.events == ["up"]


def test_who_waits_for_the_first_attempt_hears_when_it_is_over(client, clock):
    waits = client.first_attempt()
    connection = client.endpoint.succeed()
    assert not waits.called
    connection.dataReceived(GREETING)
    assert waits.called
    assert client.first_attempt() is None
    connection.connectionLost()
    assert client.first_attempt() is None


def test_who_does_not_wait_any_more_is_not_told(client):
    waits, stays = client.first_attempt(), client.first_attempt()
    waits.cancel()
    assert isinstance(outcome(waits), CancelledError)
    client.endpoint.succeed().dataReceived(GREETING)
    assert stays.called
    assert client.is_up


@pytest.mark.parametrize("end", ["failed", "ended while greeting", "stopped"])
def test_an_attempt_in_vain_is_over_too(client, clock, end):
    waits = client.first_attempt()
    if end == "failed":
        client.endpoint.fail()
    elif end == "stopped":
        client.stop()
    else:
        client.endpoint.succeed().connectionLost()
    assert waits.called
    assert client.first_attempt() is None


def test_it_tries_again_with_growing_pauses(client, clock):
    for attempts in range(1, 4):
        assert len(client.endpoint.attempts) == attempts
        client.endpoint.fail()
        clock.advance(2.5)
    assert client.told.events == ["failed"] * 3
    greeted(client)
    assert client.told.events[-1] == "up"


def test_it_comes_back_after_a_loss(client, clock):
    connection = greeted(client)
    asked = client.ask("GET", "a")
    connection.connectionLost()
    assert "went" not in str(outcome(asked))
    assert client.told.events == ["up", "down: the connection was lost"]
    assert isinstance(outcome(client.ask("PING")), RedisAway)
    clock.advance(2.5)
    greeted(client)
    assert client.connects == 2


def test_a_script_that_redis_does_not_know_is_sent_whole_once(client):
    connection = greeted(client)
    ran = client.run(Script("return 1"), ("key",), "argument")
    assert b"EVALSHA" in connection.transport.value()
    connection.dataReceived(b"-NOSCRIPT no\r\n")
    assert b"return 1" in connection.transport.value()
    connection.dataReceived(b"-NOSCRIPT again\r\n")
    assert isinstance(outcome(ran), RedisRefused)


@pytest.mark.parametrize("state", ["waiting", "connecting", "greeting", "up"])
def test_a_stop_ends_it_in_any_state_and_leaves_no_timer(client, clock, state):
    if state == "waiting":
        client.endpoint.fail()
    connection = None
    if state in ("greeting", "up"):
        connection = greeted(client) if state == "up" else client.endpoint.succeed()
    stopped = client.stop()
    if connection is not None:
        assert connection.transport.aborted
        connection.connectionLost()
    assert stopped.called
    assert not clock.getDelayedCalls()
    clock.advance(10)
    assert len(client.endpoint.attempts) == 1
