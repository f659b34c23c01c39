"""wsgate.gateway.conversation: order, limits, and every message accounted for."""

import json

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import FakePeer, FakePool, arrival
from wsgate import cgi
from wsgate.fastcgi import QueueFull, ResponseCutOff
from wsgate.gateway import Conversation, QueueLimits, Route

TWO = QueueLimits(2, 100)


def talk(limits=TWO, **rules) -> tuple:
    pool, peer = FakePool(), FakePeer()
    route = Route(path="/", script=cgi.Script("/w.php", "/w.php", "/"), pool=pool, **rules)
    return pool, peer, route, Conversation(route, arrival(peer, b"PARAMS", limits))


def balance(route: Route) -> tuple[int, int, int, int]:
    tally = route.tally
    return tally.received, tally.answered, tally.refused, tally.gone


def test_messages_are_asked_one_at_a_time_and_answered_in_order():
    pool, peer, route, conversation = talk()
    conversation.message_received(b"one", False)
    conversation.message_received(b"two", True)
    assert [request.stdin for request in pool.requests] == [b"one"]
    pool.answer(b"1")
    assert [request.stdin for request in pool.requests] == [b"one", b"two"]
    pool.answer(b"2")
    assert peer.did == [(b"1", False), (b"2", False), "idle"]
    assert balance(route) == (2, 2, 0, 0)


def test_each_request_carries_the_connections_params_and_its_own():
    pool, _, _, conversation = talk()
    conversation.message_received(b"[1]", False)
    params = pool.requests[0].params
    assert params.startswith(talk()[2].params + b"PARAMS")
    for part in (b"application/json", b"WSGATE_MESSAGE_IDid:1", b"WSGATE_OPCODEtext"):
        assert part in params
    pool.answer()
    conversation.message_received(b"\xff", True)
    for part in (b"application/octet-stream", b"WSGATE_MESSAGE_IDid:2", b"WSGATE_OPCODEbinary"):
        assert part in pool.requests[1].params


def test_what_waits_is_taken_back_from_the_pool_that_has_it_also_after_a_reload():
    pool, _, route, conversation = talk()
    conversation.message_received(b"waits", False)
    newer = FakePool()
    route.become(Route(path="/", script=cgi.Script("/n.php", "/n.php", "/"), pool=newer))
    conversation.connection_lost()
    assert pool.cancelled == pool.requests
    assert newer.cancelled == []
    assert balance(route) == (1, 0, 0, 1)


def test_reading_pauses_when_the_queue_holds_its_limit_and_not_before():
    pool, peer, _, conversation = talk(QueueLimits(2, 100))
    conversation.message_received(b"in flight", False)
    conversation.message_received(b"a", False)
    assert "pause" not in peer.did
    conversation.message_received(b"b", False)
    assert peer.did == ["pause"]
    pool.answer(b"1")
    assert peer.did == ["pause", (b"1", False), "resume"]


def test_reading_pauses_when_the_queue_holds_its_bytes():
    _, peer, _, conversation = talk(QueueLimits(50, 10))
    conversation.message_received(b"x" * 1000, False)
    conversation.message_received(b"x" * 9, False)
    assert peer.did == []
    conversation.message_received(b"x", False)
    assert peer.did == ["pause"]


def test_a_client_that_takes_no_answers_starts_no_requests():
    pool, peer, _, conversation = talk()
    conversation.output_paused()
    conversation.message_received(b"one", False)
    assert pool.requests == []
    conversation.output_resumed()
    assert len(pool.requests) == 1
    conversation.output_paused()
    conversation.message_received(b"two", False)
    pool.answer(b"1")
    assert len(pool.requests) == 1
    assert peer.did == [(b"1", False)]


def test_204_sends_nothing_and_counts_as_answered():
    pool, peer, route, conversation = talk()
    conversation.message_received(b"x", False)
    pool.answer(header=b"Status: 204 No Content")
    assert peer.did == ["idle"]
    assert balance(route) == (1, 1, 0, 0)


def test_wsgate_close_is_sent_after_the_answer_and_what_waits_is_gone():
    pool, peer, route, conversation = talk()
    conversation.message_received(b"x", False)
    conversation.message_received(b"never asked", False)
    pool.answer(b"bye", header=b"Wsgate-Close: 4001 done")
    assert peer.did == [(b"bye", False), ("close", 4001, "done"), "idle"]
    assert len(pool.requests) == 1
    conversation.message_received(b"too late", False)
    assert balance(route) == (3, 1, 0, 2)


def test_a_client_that_leaves_lets_its_request_finish_and_its_queue_go():
    pool, peer, route, conversation = talk()
    conversation.message_received(b"x", False)
    conversation.message_received(b"y", False)
    conversation.connection_lost()
    assert len(pool.cancelled) == 1
    assert peer.did == []
    assert balance(route) == (2, 0, 0, 2)


class ConversationFailureTests(SynchronousTestCase):
    def test_a_failure_is_answered_with_an_error_and_the_next_message_is_asked(self):
        pool, peer, route, conversation = talk()
        conversation.message_received(b"x", False)
        conversation.message_received(b"y", False)
        pool.fail(ResponseCutOff("lost", stderr=b"PHP Fatal error: secret"))
        (payload, is_binary), *rest = peer.did
        assert not is_binary
        assert json.loads(payload)["error"] == {
            "status": 502,
            "reason": "the backend closed the connection",
            "message_id": "id:1",
        }
        assert rest == []
        pool.answer(b"2")
        assert peer.did[1:] == [(b"2", False), "idle"]
        assert balance(route) == (2, 1, 1, 0)

    def test_on_error_close_closes(self):
        pool, peer, route, conversation = talk(on_error="close")
        conversation.message_received(b"x", False)
        pool.fail(QueueFull("full"))
        assert peer.did == [("close", 1013, "overloaded, try again later"), "idle"]
        assert balance(route) == (1, 0, 1, 0)

    def test_a_malformed_answer_is_an_error_and_its_bytes_stay_here(self):
        pool, peer, route, conversation = talk()
        conversation.message_received(b"x", False)
        pool.answer(b"secret", header=b"no header")
        assert b"secret" not in peer.did[0][0]
        assert json.loads(peer.did[0][0])["error"]["status"] == 502
        assert balance(route) == (1, 0, 1, 0)

    def test_what_php_logged_about_its_failure_is_in_the_log_with_the_messages_id(self):
        pool, _, _, conversation = talk()
        with capturedLogs() as logs:
            conversation.message_received(b"x", False)
            pool.answer(header=b"Status: 500", stderr=b"PHP message: Fatal\nerror")
        (line,) = [formatEvent(event) for event in logs]
        assert line == (
            "message id:1: the script answered with status 500; "
            "PHP says: PHP message: Fatal | error"
        )

    def test_an_exception_nobody_foresaw_is_logged_and_answered_with_500(self):
        pool, peer, _, conversation = talk()
        conversation.message_received(b"x", False)
        pool.fail(RuntimeError("a bug"))
        assert json.loads(peer.did[0][0])["error"]["status"] == 500
        assert len(self.flushLoggedErrors(RuntimeError)) == 1

    def test_a_peer_that_fails_to_send_costs_the_connection_and_not_the_gateway(self):
        pool, peer, _, conversation = talk()
        peer.send_message = None  # calling it raises TypeError
        conversation.message_received(b"x", False)
        pool.answer(b"1")
        assert peer.did == [("close", 1011, "internal error")]
        assert len(self.flushLoggedErrors(TypeError)) == 1


def test_failures_at_once_do_not_nest_without_end():
    pool, peer, route, conversation = talk(QueueLimits(1000, 10**6))
    conversation.message_received(b"first", False)
    for _ in range(200):
        conversation.message_received(b"x", False)
    pool.ask = lambda _, turn: turn.errback(QueueFull("full"))
    pool.answer(b"1")
    assert balance(route) == (201, 1, 200, 0)
    assert peer.did.count("idle") == 1


class Accounting(RuleBasedStateMachine):
    """Whatever happens in whatever order, no message is lost, doubled or out of order."""

    def __init__(self):
        super().__init__()
        self.pool, self.peer, self.route, self.conversation = talk(QueueLimits(3, 50))
        self.sent = 0
        self.lost = False

    @rule(size=st.integers(0, 60))
    def message(self, size):
        self.sent += 1
        self.conversation.message_received(b"%03d" % self.sent + b"x" * size, False)

    @precondition(lambda self: self.pool.turns)
    @rule(fails=st.booleans())
    def answer(self, fails):
        if self.lost:
            self.pool.turns.clear()
        elif fails:
            self.pool.fail(ResponseCutOff("lost"))
        else:
            self.pool.answer(b"ok")

    @rule(paused=st.booleans())
    def output(self, paused):
        if paused:
            self.conversation.output_paused()
        else:
            self.conversation.output_resumed()

    @rule()
    def leave(self):
        self.lost = True
        self.conversation.connection_lost()

    @invariant()
    def at_most_one_request_is_in_flight(self):
        assert len(self.pool.turns) <= 1

    @invariant()
    def requests_are_in_order_and_none_twice(self):
        numbers = [int(request.stdin[:3]) for request in self.pool.requests]
        assert numbers == sorted(set(numbers))

    @invariant()
    def every_message_is_somewhere(self):
        received, answered, refused, gone = balance(self.route)
        waiting = len(self.conversation._queue) + self.conversation._in_flight
        assert received == self.sent == answered + refused + gone + waiting


AccountingTest = Accounting.TestCase


@pytest.mark.parametrize(
    ("payload", "binary", "content_type"),
    [
        (b"{}", False, "application/json"),
        (b"[", False, "application/json"),
        (b" {}", False, "application/x-www-form-urlencoded"),
        (b"", False, "application/x-www-form-urlencoded"),
        (b"{}", True, "application/octet-stream"),
    ],
)
def test_the_content_type_follows_the_first_byte(payload, binary, content_type):
    assert talk()[2].content_type(payload, binary) == content_type


def test_a_route_may_fix_both_content_types():
    route = talk(text_content_type="text/plain", binary_content_type="image/png")[2]
    assert route.content_type(b"{}", False) == "text/plain"
    assert route.content_type(b"{}", True) == "image/png"
