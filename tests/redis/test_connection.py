"""wsgate.redis.connection, with a Redis of the test's words."""

import pytest
from twisted.internet.task import Clock

from tests.deferreds import outcome
from tests.fakes import Transport
from wsgate.redis.connection import RedisConnection
from wsgate.redis.errors import RedisRefused, RedisUnanswered
from wsgate.redis.url import Address, parse
from wsgate.silence import PATIENCE


@pytest.fixture
def clock():
    return Clock()


def connected(clock, address=None):
    pushed, ended = [], []
    one = RedisConnection(clock, address or Address("h"), "me", pushed.append, ended.append)
    one.makeConnection(Transport())
    one.pushes, one.ends = pushed, ended
    return one


def greeted(clock):
    one = connected(clock)
    one.dataReceived(b"%0\r\n+PONG\r\n")
    assert one.greeted.called
    one.transport.clear()
    return one


def test_it_introduces_itself_with_password_and_database(clock):
    one = connected(clock, parse("redis://ann:pw@h/3"))
    assert one.transport.value().replace(b"\r\n", b" ") == (
        b"*7 $5 HELLO $1 3 $4 AUTH $3 ann $2 pw $7 SETNAME $2 me *2 $6 SELECT $1 3 *1 $4 PING "
    )


def test_answers_come_in_order_of_the_questions(clock):
    one = greeted(clock)
    first, second = one.ask("GET", "a"), one.ask("GET", b"\xff")
    one.dataReceived(b"$1\r\nx\r\n-ERR n")
    assert outcome(first) == b"x"
    one.dataReceived(b"o\r\n")
    assert isinstance(outcome(second), RedisRefused)


def test_messages_of_channels_come_between_answers(clock):
    one = greeted(clock)
    asked = one.ask("PING")
    one.dataReceived(b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nd\r\n+PONG\r\n")
    assert (one.pushes, outcome(asked)) == ([[b"message", b"c", b"d"]], b"PONG")


@pytest.mark.parametrize(
    "answers", [b"-WRONGPASS no\r\n", b"-NOPROTO old\r\n", b"%0\r\n-LOADING wait\r\n"]
)
def test_a_greeting_that_is_refused_ends_it(clock, answers):
    one = connected(clock)
    one.dataReceived(answers)
    assert isinstance(outcome(one.greeted), RedisRefused)
    assert one.transport.aborted


@pytest.mark.parametrize("data", [b"HTTP/1.1 400\r\n", b"+OK\r\n+too much\r\n"])
def test_what_is_not_redis_ends_it(clock, data):
    one = greeted(clock)
    one.ask("PING").addErrback(lambda _: None)
    one.dataReceived(data)
    assert one.transport.aborted


def test_what_is_owed_fails_when_it_is_lost(clock):
    one = greeted(clock)
    asked = one.ask("GET", "a")
    one.connectionLost()
    assert isinstance(outcome(asked), RedisUnanswered)
    assert one.ends == ["the connection was lost"]
    assert not clock.getDelayedCalls()


def test_one_that_does_not_answer_is_given_up(clock):
    one = greeted(clock)
    one.ask("GET", "a").addErrback(lambda _: None)
    clock.pump([1] * PATIENCE)
    assert not one.transport.aborted
    clock.advance(1)
    assert one.transport.aborted


def test_a_quiet_one_is_asked_whether_it_is_there(clock):
    one = greeted(clock)
    clock.advance(1)
    assert b"PING" in one.transport.value()
    one.dataReceived(b"+PONG\r\n")
    clock.pump([1] * 20)
    assert one.transport.aborted, "nothing more was answered"
