"""wsgate.gateway.eventful: PHP is asked who may come in."""

import pytest
from twisted.logger import capturedLogs, formatEvent

from tests.fakes import FakePeer, FakePool
from wsgate import cgi
from wsgate.fastcgi import Lane, QueueFull, ResponseTimeout
from wsgate.gateway import (
    Accepted,
    EventfulConversation,
    QueueLimits,
    RefusedByBackend,
    Route,
)
from wsgate.gateway.route import subprotocol_params
from wsgate.http1 import RequestHead

OFFERS = RequestHead(b"GET", b"/", b"HTTP/1.1", ((b"sec-websocket-protocol", b"v1, v2"),))


class Meeting:
    """One client at the door of a route with `events`."""

    def __init__(self, *events, subprotocol=None, on_error="reply"):
        self.pool, self.peer = FakePool(), FakePeer()
        self.route = Route(
            path="/",
            script=cgi.Script("/w.php", "/w.php", "/"),
            pool=self.pool,
            events=frozenset(events or ("connect", "message")),
            make_conversation=EventfulConversation,
            on_error=on_error,
        )
        params = b"PARAMS" + subprotocol_params(subprotocol)
        self.conversation = self.route.converse(
            "id", params, self.peer, QueueLimits(2, 100), OFFERS, subprotocol
        )
        self.results = []
        self.answer = self.conversation.open()
        if self.answer is not None:
            self.answer.addBoth(self.results.append)

    @property
    def error(self):
        return self.results[0].value


def test_a_route_without_connect_lets_everybody_in_at_once():
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


@pytest.mark.parametrize("events", [("connect",), ("connect", "disconnect"), ("disconnect",)])
def test_without_the_event_a_message_closes_and_says_why(events):
    meeting = Meeting(*events)
    before = len(meeting.pool.requests)
    meeting.conversation.message_received(b"x", False)
    meeting.conversation.message_received(b"x", False)
    assert meeting.peer.did == [("close", 1008, "this path takes no messages")]
    assert len(meeting.pool.requests) == before
    assert (meeting.route.tally.received, meeting.route.tally.gone) == (2, 2)
