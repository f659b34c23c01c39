"""What asks Redis or memcached before the first connect: sent when it is there, unless late."""

import pytest
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from tests.deferreds import outcome
from tests.fakes import Transport
from wsgate.config.stores import StoreSettings
from wsgate.stores import StoreAway, StoreFull, StoreTimeout
from wsgate.stores.memcached import MemcachedStore
from wsgate.stores.redis import RedisStore
from wsgate.stores.store import Recipe
from wsgate.timeouts import Timeouts

TIMEOUT = 0.5

LATE = TIMEOUT + 0.2
"""Past the deadline and the resolution of `Timeouts`."""


class Case:
    """A store that was started, and a server that is there when the test says so."""

    def __init__(self, **more):
        self.reactor = MemoryReactorClock()
        timeouts = Timeouts(self.reactor)
        settings = StoreSettings(name="s", url=self.url, timeout=TIMEOUT, **more)
        self.store = self.kind(self.reactor, timeouts, Recipe(settings))
        self.store.start()

    def connect(self):
        """The server takes the connection and greets; what was sent to it after that."""
        protocol = self.reactor.unixClients[-1][1].buildProtocol(None)
        self.transport = Transport()
        protocol.makeConnection(self.transport)
        self.transport.clear()
        self.protocol = protocol
        protocol.dataReceived(self.greeting)
        return self.sent()

    def sent(self):
        """What was sent since the last look."""
        data = self.transport.value()
        self.transport.clear()
        return data

    def refuse(self):
        self.reactor.unixClients[-1][1].clientConnectionFailed(
            None, Failure(ConnectionRefusedError())
        )


class Redis(Case):
    kind, url = RedisStore, "unix:///redis"
    greeting = b"%0\r\n+PONG\r\n"

    def ask(self, key):
        return self.store.ask("GET", key)


class Memcached(Case):
    kind, url = MemcachedStore, "memcached+unix:///memcached"
    greeting = b"VERSION 1.6\r\n"

    def ask(self, key):
        return self.store.get(key)


@pytest.fixture(params=[Redis, Memcached])
def case(request):
    return request.param


def test_what_is_late_before_the_first_connect_is_not_sent_when_it_comes(case):
    at = case()
    late = at.ask("late")
    at.reactor.advance(LATE)
    assert isinstance(outcome(late), StoreTimeout)
    at.ask("good").addErrback(lambda _: None)
    sent = at.connect()
    assert b"late" not in sent
    assert b"good" in sent


def test_what_is_late_does_not_wait_any_more(case):
    at = case(waiting=2)
    late = [at.ask("a"), at.ask("b")]
    assert isinstance(outcome(at.ask("c")), StoreFull)
    assert at.store.waiting == 2
    at.reactor.advance(LATE)
    assert [type(outcome(one)) for one in late] == [StoreTimeout, StoreTimeout]
    assert at.store.waiting == 0
    assert outcome(at.ask("d")) is None
    assert at.store.waiting == 1
    assert at.store.outcomes["late"] == 2


def test_what_is_late_hears_nothing_of_a_connect_in_vain(case):
    at = case()
    late = at.ask("late")
    at.reactor.advance(LATE)
    waits = at.ask("good")
    at.refuse()
    assert isinstance(outcome(late), StoreTimeout)
    assert isinstance(outcome(waits), StoreAway)
    assert at.store.waiting == 0
    assert (at.store.outcomes["late"], at.store.outcomes["away"]) == (1, 1)


def test_what_was_sent_and_is_late_waits_until_it_is_answered(case):
    at = case()
    late = at.ask("late")
    assert b"late" in at.connect()
    at.reactor.advance(LATE)
    assert isinstance(outcome(late), StoreTimeout)
    assert at.store.waiting == 1
    at.protocol.dataReceived(b"$-1\r\n" if case is Redis else b"END\r\n")
    assert at.store.waiting == 0
    assert at.store.outcomes["late"] == 1


def test_the_answers_of_others_stay_theirs(case):
    at = case()
    at.ask("late").addErrback(lambda _: None)
    at.reactor.advance(LATE)
    good = at.ask("good")
    at.connect()
    at.protocol.dataReceived(
        b"$3\r\nyes\r\n" if case is Redis else b"VALUE good 0 3\r\nyes\r\nEND\r\n"
    )
    assert outcome(good) == b"yes"


NO_SCRIPT = b"-NOSCRIPT No matching script. Please use EVAL.\r\n"


def test_a_script_that_redis_has_lost_is_sent_once_more():
    at = Redis()
    asked = at.store.run("return 1", ["k"])
    assert b"EVALSHA" in at.connect()
    at.protocol.dataReceived(NO_SCRIPT)
    assert b"return 1" in at.sent()
    at.protocol.dataReceived(b":1\r\n")
    assert outcome(asked) == 1


def test_one_that_is_late_when_redis_says_so_is_not_sent_once_more():
    at = Redis()
    asked = at.store.run("return 1", ["k"])
    at.connect()
    at.reactor.advance(LATE)
    assert isinstance(outcome(asked), StoreTimeout)
    at.protocol.dataReceived(NO_SCRIPT)
    assert at.sent() == b""
    assert at.store.waiting == 0
    assert at.store.outcomes["late"] == 1
