"""wsgate.gateway.eventful: PHP is asked who may come in."""

from functools import partial

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from tests.fakes import FakeBook, FakeMember, FakePeer, FakePool
from wsgate import cgi
from wsgate.fastcgi import Lane, QueueFull, ResponseCutOff, ResponseTimeout
from wsgate.gateway import (
    Accepted,
    Arrival,
    DepartureLimits,
    EventfulConversation,
    QueueLimits,
    RefusedByBackend,
    Register,
    Route,
)
from wsgate.gateway.register import Sequence
from wsgate.gateway.route import subprotocol_params
from wsgate.http1 import RequestHead
from wsgate.timeouts import Timeouts

OFFERS = RequestHead(b"GET", b"/", b"HTTP/1.1", ((b"sec-websocket-protocol", b"v1, v2"),))


class Meeting:
    """One client at the door of a route with `events`."""

    def __init__(self, *events, subprotocol=None, on_error="reply"):
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.book = FakeBook()
        self.register = Register(
            self.book, Timeouts(self.clock), self.clock.seconds, DepartureLimits()
        )
        self.pool, self.peer = FakePool(), FakePeer()
        self.route = Route(
            path="/",
            script=cgi.Script("/w.php", "/w.php", "/"),
            pool=self.pool,
            events=frozenset(events or ("connect", "message")),
            make_conversation=partial(EventfulConversation, self.register),
            on_error=on_error,
        )
        params = b"PARAMS" + subprotocol_params(subprotocol)
        self.conversation = self.route.converse(
            Arrival("id", params, self.peer, QueueLimits(2, 100), OFFERS, subprotocol)
        )
        self.results = []
        self.answer = self.conversation.open()
        if self.answer is not None:
            self.answer.addBoth(self.results.append)

    def let_in(self):
        """Up to the 101."""
        self.book.write()
        self.pool.answer()
        self.conversation.opened()

    def told(self) -> list[bytes]:
        """What PHP was asked, but for messages."""
        self.book.write()
        return [
            event
            for request in self.pool.requests
            for event in (b"connect", b"disconnect")
            if b"WSGATE_EVENT" + event in request.params
        ]

    @property
    def error(self):
        return self.results[0].value


def test_a_route_that_asks_for_messages_alone_since_a_reload_lets_everybody_in_at_once():
    assert Meeting("message").answer is None


def test_connect_is_a_get_without_body_in_the_lane_of_connects():
    meeting = Meeting()
    (request,) = meeting.pool.requests
    assert request.stdin == b""
    for part in (b"REQUEST_METHODGET", b"WSGATE_EVENTconnect", b"CONTENT_LENGTH0", b"PARAMS"):
        assert part in request.params
    assert meeting.pool.lanes == [Lane.CONNECT]


def test_nothing_is_decided_until_php_has_answered():
    meeting = Meeting()
    assert meeting.results == []
    meeting.pool.answer()
    assert meeting.results == [Accepted((), None)]


def test_what_php_said_is_sent_once_the_handshake_is_answered():
    meeting = Meeting()
    meeting.pool.answer(b"welcome")
    assert meeting.peer.did == []
    meeting.conversation.opened()
    assert meeting.peer.did == [(b"welcome", False), "idle"]


def test_an_empty_answer_is_no_message():
    meeting = Meeting()
    meeting.pool.answer(b"")
    meeting.conversation.opened()
    assert meeting.peer.did == ["idle"]


def test_a_body_that_is_no_message_is_an_error_of_the_first_message():
    meeting = Meeting()
    with capturedLogs() as events:
        meeting.pool.answer(b"\xff")
        meeting.conversation.opened()
    assert b'"status":502' in meeting.peer.did[0][0]
    assert "not UTF-8" in formatEvent(events[0])


def test_a_close_in_the_answer_follows_the_first_message():
    meeting = Meeting()
    meeting.pool.answer(b"bye", header=b"Content-Type: text/plain\r\nWsgate-Close: 4001 no")
    meeting.conversation.opened()
    assert meeting.peer.did == [(b"bye", False), ("close", 4001, "no"), "idle"]


def test_a_refusal_is_phps_own():
    meeting = Meeting()
    meeting.pool.answer(b"who are you", header=b"Status: 403")
    assert isinstance(meeting.error, RefusedByBackend)
    assert (meeting.error.status, meeting.error.body) == (403, b"who are you")


def test_a_failure_of_the_backend_is_logged_and_refuses():
    meeting = Meeting()
    with capturedLogs() as events:
        meeting.pool.fail(ResponseTimeout("30 s"))
    assert isinstance(meeting.error, ResponseTimeout)
    assert formatEvent(events[0]) == "connect of id: 30 s"


def test_what_the_pool_logs_itself_is_not_logged_for_each_connect():
    meeting = Meeting()
    with capturedLogs() as events:
        meeting.pool.fail(QueueFull("full"))
    assert events == []


def test_a_bug_is_logged_with_its_traceback():
    meeting = Meeting()
    with capturedLogs() as events:
        meeting.pool.fail(ZeroDivisionError("what"))
    assert "log_failure" in events[0]


def test_messages_have_the_subprotocol_that_php_took():
    meeting = Meeting(subprotocol="v1")
    assert b"WSGATE_SUBPROTOCOLv1" in meeting.pool.requests[0].params
    meeting.pool.answer(header=b"Sec-WebSocket-Protocol: v2")
    assert meeting.results == [Accepted((), "v2")]
    meeting.conversation.message_received(b"x", False)
    assert b"WSGATE_SUBPROTOCOLv2" in meeting.pool.requests[1].params
    assert b"WSGATE_SUBPROTOCOLv1" not in meeting.pool.requests[1].params


def test_a_subprotocol_that_was_not_offered_is_a_warning():
    meeting = Meeting(subprotocol="v1")
    with capturedLogs() as events:
        meeting.pool.answer(header=b"Sec-WebSocket-Protocol: v3")
    assert meeting.results == [Accepted((), None)]
    assert "not one of those that the client offered" in formatEvent(events[0])


def test_what_php_logs_on_connect_is_in_our_log():
    with capturedLogs() as events:
        Meeting().pool.answer(stderr=b"PHP message: careful")
    assert "PHP says: PHP message: careful" in formatEvent(events[0])


def test_a_client_that_leaves_while_its_connect_waits_is_never_asked_about():
    meeting = Meeting()
    meeting.conversation.connection_lost(1006, "")
    assert meeting.pool.cancelled == meeting.pool.requests
    assert len(meeting.results) == 1


def test_a_client_that_leaves_while_php_decides_does_not_disturb_php():
    meeting = Meeting()
    meeting.pool.is_waiting = False
    meeting.conversation.connection_lost(1006, "")
    assert meeting.results == []
    meeting.pool.answer()
    assert meeting.results == [Accepted((), None)]


ALL = ("connect", "message", "disconnect")


def test_php_is_asked_only_once_the_journal_has_who_comes():
    meeting = Meeting(*ALL)
    assert meeting.pool.requests == []
    assert not meeting.book.entries["id"].accepted
    meeting.book.write()
    assert meeting.told() == [b"connect"]


def test_who_is_let_in_is_in_the_journal_until_php_has_heard_of_the_end():
    meeting = Meeting(*ALL)
    meeting.let_in()
    assert meeting.book.entries["id"].accepted
    assert meeting.register.open == 1
    meeting.conversation.connection_lost(4001, "böse")
    assert meeting.told() == [b"connect", b"disconnect"]
    assert meeting.register.open == 0
    assert meeting.pool.lanes[-1] == Lane.DISCONNECT
    params = meeting.pool.requests[-1].params
    for part in ("CODE4001", "REASONböse", "WSGATE_ACCEPTEDyes", "WSGATE_ATTEMPT1", "PARAMS"):
        assert part.encode() in params
    assert meeting.book.entries
    meeting.pool.answer()
    assert meeting.book.entries == {}
    assert meeting.register.departures.outcomes["delivered"] == 1


@pytest.mark.parametrize("status", [200, 204, 302, 404, 410])
def test_php_has_heard_whatever_it_thinks_of_it(status):
    meeting = Meeting(*ALL)
    meeting.let_in()
    meeting.conversation.connection_lost(1000, "")
    meeting.book.write()
    meeting.pool.answer(header=b"Status: %d" % status)
    assert meeting.book.entries == {}


def test_who_is_refused_leaves_no_trace():
    meeting = Meeting(*ALL)
    meeting.book.write()
    meeting.pool.answer(header=b"Status: 403")
    assert isinstance(meeting.error, RefusedByBackend)
    assert meeting.book.entries == {}
    assert meeting.register.open == 0


def test_a_connect_that_never_ran_leaves_no_trace():
    meeting = Meeting(*ALL)
    meeting.book.write()
    meeting.pool.fail(QueueFull("x"))
    assert meeting.book.entries == {}
    assert meeting.told() == [b"connect"]


def test_a_connect_whose_answer_is_lost_may_have_been_accepted():
    meeting = Meeting(*ALL)
    meeting.book.write()
    meeting.pool.fail(ResponseCutOff("x"))
    assert isinstance(meeting.error, ResponseCutOff)
    assert meeting.told() == [b"connect", b"disconnect"]
    assert b"WSGATE_ACCEPTEDunknown" in meeting.pool.requests[-1].params


def test_a_script_that_died_after_200_may_have_accepted():
    meeting = Meeting(*ALL)
    meeting.book.write()
    meeting.pool.answer(stderr=b"PHP message: PHP Fatal error:  x")
    assert meeting.told() == [b"connect", b"disconnect"]


def test_a_client_that_leaves_while_php_decides_has_left_when_it_has():
    meeting = Meeting(*ALL)
    meeting.book.write()
    meeting.pool.is_waiting = False
    meeting.conversation.connection_lost(1006, "")
    assert meeting.told() == [b"connect"]
    meeting.pool.answer()
    assert meeting.told() == [b"connect", b"disconnect"]
    assert b"WSGATE_ACCEPTEDyes" in meeting.pool.requests[-1].params


def test_a_client_that_leaves_before_php_is_asked_leaves_no_trace():
    meeting = Meeting(*ALL)
    meeting.conversation.connection_lost(1006, "")
    meeting.book.write()
    assert meeting.pool.requests == []
    assert meeting.book.entries == {}
    assert len(meeting.results) == 1


def test_without_connect_who_comes_is_let_in_once_the_journal_has_it():
    meeting = Meeting("message", "disconnect", subprotocol="v1")
    assert meeting.results == []
    meeting.book.write()
    assert meeting.results == [Accepted((), "v1")]
    meeting.conversation.connection_lost(1000, "")
    assert meeting.told() == [b"disconnect"]


def test_the_disconnect_waits_for_the_last_message_that_php_has():
    meeting = Meeting(*ALL)
    meeting.let_in()
    meeting.conversation.message_received(b"slow", False)
    meeting.conversation.message_received(b"never", False)
    meeting.pool.is_waiting = False
    meeting.conversation.connection_lost(1001, "")
    assert meeting.told() == [b"connect"]
    assert meeting.book.entries["id"].code == 1001
    meeting.pool.answer(b"to nobody")
    assert meeting.told() == [b"connect", b"disconnect"]
    assert [request.stdin for request in meeting.pool.requests] == [b"", b"slow", b""]
    assert meeting.peer.did == ["idle"]


def test_what_the_script_says_to_others_is_published_before_its_client_has_left():
    meeting = Meeting(*ALL)
    meeting.let_in()
    listener = FakeMember("listener")
    meeting.peer.channels.add(listener)
    meeting.peer.channels.subscribe(listener, "room")
    meeting.conversation.message_received(b"slow", False)
    meeting.pool.is_waiting = False
    meeting.conversation.connection_lost(1001, "")
    meeting.pool.answer(b"Ada says", header=b"Content-Type: text/plain\r\nWsgate-Publish: room")
    meeting.clock.advance(1)
    assert listener.got == [b"Ada says"]
    assert meeting.told() == [b"connect", b"disconnect"]


def test_so_is_what_it_says_when_it_lets_in_who_has_left():
    meeting = Meeting(*ALL)
    meeting.book.write()
    listener = FakeMember("listener")
    meeting.peer.channels.add(listener)
    meeting.peer.channels.subscribe(listener, "room")
    meeting.pool.is_waiting = False
    meeting.conversation.connection_lost(1001, "")
    meeting.pool.answer(b"Ada is here", header=b"Content-Type: text/plain\r\nWsgate-Publish: room")
    meeting.clock.advance(1)
    assert listener.got == [b"Ada is here"]
    assert meeting.told() == [b"connect", b"disconnect"]


def test_also_for_one_that_fails():
    meeting = Meeting(*ALL)
    meeting.let_in()
    meeting.conversation.message_received(b"slow", False)
    meeting.pool.is_waiting = False
    meeting.conversation.abandon()
    meeting.conversation.connection_lost(1001, "")
    meeting.pool.fail(ResponseTimeout("x"))
    assert meeting.told() == [b"connect", b"disconnect"]


def test_but_not_for_one_that_was_taken_back():
    meeting = Meeting(*ALL)
    meeting.let_in()
    meeting.conversation.message_received(b"waits", False)
    meeting.conversation.connection_lost(1001, "")
    assert meeting.told() == [b"connect", b"disconnect"]


def test_the_disconnect_knows_the_user_that_php_has_bound():
    meeting = Meeting(*ALL)
    meeting.let_in()
    meeting.conversation.user = "42"
    assert b"WSGATE_USER42" in meeting.book.entries["id"].params
    meeting.conversation.connection_lost(1000, "")
    meeting.conversation.user = None
    assert meeting.told() == [b"connect", b"disconnect"]
    assert b"WSGATE_USER42" in meeting.pool.requests[-1].params


def test_every_connect_is_counted_by_what_became_of_it():
    accepted, refused, failed, gone = (Meeting() for _ in range(4))
    accepted.pool.answer()
    refused.pool.answer(header=b"Status: 403")
    failed.pool.fail(QueueFull("x"))
    gone.conversation.connection_lost(1006, "")
    counted = [dict(one.register.connects) for one in (accepted, refused, failed, gone)]
    outcomes = ("accepted", "refused", "failed", "gone")
    assert counted == [{("/", outcome): 1} for outcome in outcomes]


def test_every_event_has_the_sequence_of_its_connection():
    meeting = Meeting(*ALL)
    meeting.let_in()
    meeting.conversation.message_received(b"x", False)
    meeting.pool.answer()
    meeting.conversation.connection_lost(1000, "")
    meeting.book.write()
    assert len(meeting.pool.requests) == 3
    for request in meeting.pool.requests:
        assert b"WSGATE_SEQUENCE1000000000000" in request.params


def test_the_sequence_grows_even_if_the_clock_does_not():
    clock = [5.0, 5.0, 4.0, 6.0]
    sequence = Sequence(lambda: clock.pop(0))
    assert [sequence() for _ in range(4)] == [5_000_000, 5_000_001, 5_000_002, 6_000_000]


@pytest.mark.parametrize("events", [("connect",), ("connect", "disconnect"), ("disconnect",)])
def test_without_the_event_a_message_closes_and_says_why(events):
    meeting = Meeting(*events)
    before = len(meeting.pool.requests)
    meeting.conversation.message_received(b"x", False)
    meeting.conversation.message_received(b"x", False)
    assert meeting.peer.did == [("close", 1008, "this path takes no messages")]
    assert len(meeting.pool.requests) == before
    assert (meeting.route.tally.received, meeting.route.tally.gone) == (2, 2)
