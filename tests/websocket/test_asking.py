"""wsgate.websocket.asking: the handshake waits while its conversation decides."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from tests.websocket.test_protocol import CLOSE, HANDSHAKE, TEXT, Gateway, frame
from wsgate.fastcgi import (
    BackendUnavailable,
    PoolStopped,
    QueueFull,
    ResponseTimeout,
)
from wsgate.gateway import Accepted, Conversation, RefusedByBackend
from wsgate.websocket import GOING_AWAY
from wsgate.websocket.asking import KEPT
from wsgate.websocket.draining import OPENING_GRACE


class Undecided(Conversation):
    """Lets the client in when the test says so."""

    def __init__(self, route, arrival):
        super().__init__(route, arrival)
        self.answer = Deferred()
        self.told = []

    def open(self):
        return self.answer

    def opened(self):
        self.told.append("opened")
        self._peer.send_message(b"first", False)

    def connection_lost(self, code, reason):
        super().connection_lost(code, reason)
        self.told.append((code, reason))


class Door(Gateway):
    """A gateway whose one route lets nobody in without being asked."""

    def __init__(self, *headers: bytes, **options):
        super().__init__(**options)
        self.route.make_conversation = self._make
        self.open(*headers)

    def _make(self, *arguments):
        self.asked = Undecided(*arguments)
        return self.asked

    def open(self, *headers: bytes, rest=b""):
        self.receive(HANDSHAKE % b"".join(header + b"\r\n" for header in headers) + rest)

    def decide(self, accepted=None):
        if accepted is None:
            accepted = Accepted()
        if isinstance(accepted, Exception):
            self.asked.answer.errback(accepted)
        else:
            self.asked.answer.callback(accepted)
        self.settle()

    def lose(self):
        self.protocol.connectionLost(Failure(ConnectionDone()))


def test_no_word_to_the_client_until_it_is_decided():
    door = Door()
    assert door.sent() == b""
    door.decide()
    assert door.sent().startswith(b"HTTP/1.1 101 ")
    assert door.factory.counts.accepted == 1


def test_the_first_message_comes_right_behind_the_101():
    door = Door()
    door.decide()
    head, _, rest = door.sent().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert rest == b"\x81\x05first"


@pytest.mark.parametrize("compression", [False, True])
def test_cookies_and_subprotocol_are_in_the_101(compression):
    door = Door(b"Sec-WebSocket-Protocol: v1, v7", compression=compression)
    cookies = (("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"))
    door.decide(Accepted(cookies, "v7"))
    head = door.sent().partition(b"\r\n\r\n")[0]
    assert head.count(b"Set-Cookie: ") == 2
    assert b"\r\nSet-Cookie: a=1; Path=/\r\n" in head
    assert b"\r\nSec-WebSocket-Protocol: v7\r\n" in head


@pytest.mark.parametrize("compression", [False, True])
def test_a_cookie_in_any_letters_goes_out_as_it_came(compression):
    door = Door(compression=compression)
    door.decide(Accepted((("Set-Cookie", "a=ä".encode().decode("latin-1")),), None))
    assert b"\r\nSet-Cookie: a=\xc3\xa4\r\n" in door.sent()


def test_compression_is_negotiated_all_the_same():
    door = Door(b"Sec-WebSocket-Extensions: permessage-deflate", compression=True)
    door.decide()
    assert b"Sec-WebSocket-Extensions: permessage-deflate" in door.sent()


def test_the_handshakes_own_time_is_over_when_its_head_is_complete():
    door = Door(handshake_timeout=10.0)
    assert len(door.factory.under_way) == 0
    door.clock.advance(60)
    assert not door.transport.disconnecting
    door.decide()
    assert door.sent().startswith(b"HTTP/1.1 101 ")


def test_what_the_client_says_meanwhile_is_taken_up_afterwards():
    door = Door()
    door.receive(frame(TEXT, b"early"))
    assert door.pool.requests == []
    door.decide()
    assert [request.stdin for request in door.pool.requests] == [b"early"]


def test_so_is_what_came_with_the_handshake():
    door = Door()
    door.connect()
    door.open(rest=frame(TEXT, b"early"))
    assert door.pool.requests == []
    door.decide()
    assert [request.stdin for request in door.pool.requests] == [b"early"]


@pytest.mark.parametrize(("size", "is_read"), [(KEPT - 1, True), (KEPT, False)])
def test_a_client_that_says_too_much_is_not_read_until_it_is_let_in(size, is_read):
    door = Door()
    message = frame(TEXT, bytes(size - 8))
    assert len(message) == size
    door.receive(message)
    assert (door.transport.producerState == "producing") == is_read
    door.decide()
    assert door.transport.producerState == "producing"
    assert len(door.pool.requests) == 1


@pytest.mark.parametrize(
    ("error", "status", "later"),
    [
        (QueueFull("x"), b"503", True),
        (PoolStopped("x"), b"503", True),
        (BackendUnavailable("x"), b"502", False),
        (ResponseTimeout("x", stderr=b"secret"), b"504", False),
        (ZeroDivisionError("secret"), b"500", False),
    ],
)
def test_a_failure_gets_the_status_of_the_table_and_not_the_backends_text(error, status, later):
    door = Door()
    door.decide(error)
    answer = door.sent()
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert (b"\r\nRetry-After: " in answer) == later
    assert b"secret" not in answer
    assert door.transport.disconnecting
    assert door.factory.counts.refused[int(status)] == 1
    assert door.factory.counts.accepted == 0


def test_a_refusal_is_what_php_says():
    door = Door()
    headers = (("Location", "/login"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))
    door.decide(RefusedByBackend(302, headers, b"log in"))
    assert door.sent() == (
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
        b"Content-Length: 6\r\nConnection: close\r\n\r\nlog in"
    )
    assert door.transport.disconnecting
    assert door.factory.counts.refused[302] == 1


@pytest.mark.parametrize(("length", "is_given"), [(1000, True), (1001, False)])
def test_a_body_as_long_as_push_buffer_is_given_and_a_longer_one_is_not(length, is_given):
    door = Door(push_buffer=1000)
    headers = (("Content-Type", "text/html"), ("Set-Cookie", "a=1"))
    door.decide(RefusedByBackend(403, headers, b"x" * length))
    head, _, body = door.transport.value().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 ")
    assert b"Set-Cookie: a=1" in head
    assert (b"text/html" in head) is is_given
    assert body == (b"x" * length if is_given else b"Refused\n")
    assert door.factory.counts.limits["push_buffer"] == (not is_given)
    assert door.factory.counts.refused[403] == 1


def test_a_refused_client_that_does_not_read_is_dropped_in_time():
    door = Door(handshake_timeout=10.0)
    door.decide(RefusedByBackend(403, (), b"no"))
    door.clock.advance(10.2)
    assert door.transport.aborted


def test_a_client_that_leaves_is_told_to_its_conversation_and_hears_nothing():
    door = Door()
    door.lose()
    assert door.asked.told == [(1006, "")]
    door.decide()
    assert door.sent() == b""
    assert door.asked.told == [(1006, "")]
    assert door.factory.connections == set()


def test_a_refusal_of_a_client_that_has_left_is_nobodys_matter():
    door = Door()
    door.lose()
    with capturedLogs() as events:
        door.decide(ResponseTimeout("x"))
    assert events == []


def test_a_stop_turns_away_who_still_waits():
    door = Door()
    door.factory.drain(GOING_AWAY)
    door.clock.advance(OPENING_GRACE)
    answer = door.sent()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: " in answer
    assert door.asked.told == [(1006, "")]
    door.decide()
    assert door.sent() == b""


def test_who_is_let_in_during_a_stop_is_closed_at_once():
    door = Door()
    door.factory.drain(GOING_AWAY)
    door.decide()
    assert door.sent().startswith(b"HTTP/1.1 101 ")
    assert door.protocol.state == door.protocol.STATE_CLOSING


def test_who_waits_for_a_path_that_is_served_no_more_is_turned_away():
    door = Door()
    door.factory.change_routes([], 0)
    door.clock.advance(OPENING_GRACE)
    assert door.sent().startswith(b"HTTP/1.1 503 ")


def test_a_limit_on_messages_holds_for_these_too():
    door = Door(messages_per_second=1)
    door.decide()
    door.sent()
    door.receive(frame(TEXT, b"1") + frame(TEXT, b"2"))
    assert len(door.pool.requests) == 1
    door.lose()
    assert door.asked.told == ["opened", (1006, "")]


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"\x0f\xa1later", (4001, "later")),
        (b"\x03\xe8", (1000, "")),
        (b"", (1005, "")),
        (b"\x03\xed", (1006, "")),
    ],
)
def test_the_conversation_hears_how_the_client_left(payload, told):
    door = Door()
    door.decide()
    door.receive(frame(CLOSE, payload))
    door.lose()
    assert door.asked.told == ["opened", told]
