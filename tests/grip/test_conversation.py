"""wsgate.grip.conversation: what PHP is asked, what the client gets, and that nothing is lost."""

import json
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from tests.fakes import FakePeer, FakePool
from wsgate import cgi
from wsgate.channels import ChannelLimits, Channels, Message
from wsgate.fastcgi import Lane, QueueFull, Response, ResponseCutOff, decode_params
from wsgate.gateway import Accepted, Arrival, QueueLimits, RefusedByBackend, Route
from wsgate.gateway.route import subprotocol_params
from wsgate.grip.dialect import Grip
from wsgate.grip.events import OPEN, Event, decode_events, encode_events
from wsgate.grip.sharing import MAX_BATCH
from wsgate.grip.signing import Key, Signature
from wsgate.http1 import RequestHead
from wsgate.timeouts import Timeouts

HEAD = RequestHead(b"GET", b"/chat", b"HTTP/1.1", ((b"sec-websocket-protocol", b"v1, v2"),))
GRIP = b"Sec-WebSocket-Extensions: grip"


class FakeRegister:
    """Counts openings, and the ends that are under way."""

    def __init__(self, clock):
        self.timeouts = Timeouts(clock)
        self.connects = Counter()
        self.departures = self
        self.under_way = 0

    def begin_elsewhere(self):
        self.under_way += 1

    def end_elsewhere(self):
        self.under_way -= 1


class Held:
    """A key that stays."""

    def __init__(self, key):
        self.key = key


def text(content):
    return Event("TEXT", content)


class Talk:
    """One client of a route in this dialect, let in unless `opens` says otherwise."""

    def __init__(
        self,
        opens=(OPEN,),
        *headers,
        on_error="reply",
        limits=None,
        channels=None,
        **shared,
    ):
        self.clock, self.pool, self.peer = Clock(), FakePool(), FakePeer()
        self.hits = Counter()
        self.peer.channels = self.channels = Channels(
            self.clock, channels or ChannelLimits(), self.hits
        )
        self.register = FakeRegister(self.clock)
        self.grip = Grip(self.register, **shared)
        self.route = Route(
            path="/",
            script=cgi.Script("/w.php", "/w.php", "/"),
            pool=self.pool,
            make_conversation=self.grip,
            on_error=on_error,
        )
        self.conversation = self.route.converse(
            Arrival(
                "id",
                subprotocol_params("v1"),
                self.peer,
                limits or QueueLimits(16, 10**6),
                HEAD,
                "v1",
            )
        )
        self.opened = []
        self.conversation.open().addBoth(self.opened.append)
        if opens is not None:
            self.answer(*opens, headers=headers)
            self.channels.add(self.conversation)
            self.conversation.opened()
            self.peer.did.clear()

    def answer(self, *events, headers=(), stderr=b""):
        header = b"\r\n".join([b"Content-Type: application/websocket-events", *headers])
        self.pool.answer(encode_events(events), header=header, stderr=stderr)

    def say(self, *contents):
        for content in contents:
            self.conversation.message_received(content, False)

    @property
    def asked(self):
        """The events of each request so far, but for the first."""
        return [decode_events(request.stdin) for request in self.pool.requests[1:]]

    @property
    def balance(self):
        tally = self.route.tally
        return tally.received, tally.answered, tally.refused, tally.gone


def params_of(request):
    return decode_params(request.params)


# -- opening


def test_open_is_asked_before_anything_else_in_the_lane_of_connects():
    talk = Talk(None)
    (request,) = talk.pool.requests
    assert request.stdin == b"OPEN\r\n"
    assert talk.pool.lanes == [Lane.CONNECT]
    params = params_of(request)
    assert params[b"REQUEST_METHOD"] == b"POST"
    assert params[b"CONTENT_TYPE"] == b"application/websocket-events"
    assert params[b"CONTENT_LENGTH"] == b"6"
    assert params[b"HTTP_ACCEPT"] == b"application/websocket-events"
    assert params[b"HTTP_CONNECTION_ID"] == b"id"
    assert params[b"HTTP_SEC_WEBSOCKET_EXTENSIONS"] == b"grip"
    assert params[b"SCRIPT_FILENAME"] == b"/w.php"
    assert b"HTTP_GRIP_SIG" not in params
    assert talk.opened == []


def test_php_lets_the_client_in_and_what_it_says_follows_the_101():
    talk = Talk(None)
    talk.answer(
        OPEN,
        text(b'c:{"type":"subscribe","channel":"room1"}'),
        text(b"m:welcome"),
        headers=(GRIP, b"Set-Cookie: a=b"),
    )
    assert talk.opened == [Accepted((("Set-Cookie", "a=b"),), "v1")]
    assert talk.peer.did == []
    talk.channels.add(talk.conversation)
    talk.conversation.opened()
    assert talk.peer.did == [(b"welcome", False), "idle"]
    assert talk.conversation.channels == {"room1"}


def test_a_refusal_is_phps_own():
    talk = Talk(None)
    talk.pool.answer(b"no", header=b"Status: 403")
    assert isinstance(talk.opened[0].value, RefusedByBackend)
    talk.conversation.connection_lost(1006, "")
    assert talk.asked == []


def test_an_answer_that_is_no_events_refuses_and_says_why_in_the_log():
    talk = Talk(None)
    with capturedLogs() as logs:
        talk.pool.answer(b"<br />Warning", header=b"Content-Type: text/html")
    assert "the answer is text/html, not application/websocket-events" in formatEvent(logs[0])
    assert len(talk.opened) == 1


def test_bad_events_behind_open_refuse_before_the_101():
    talk = Talk(None)
    talk.answer(OPEN, text(b"\xff"))
    assert not isinstance(talk.opened[0], Accepted)


def test_a_client_that_leaves_while_open_waits_is_never_asked_about():
    talk = Talk(None)
    talk.conversation.connection_lost(1006, "")
    assert talk.pool.cancelled == talk.pool.requests
    assert len(talk.opened) == 1
    assert talk.asked == []


def test_a_client_that_leaves_while_php_lets_it_in_is_a_disconnect():
    talk = Talk(None)
    talk.pool.is_waiting = False
    talk.conversation.connection_lost(1006, "")
    talk.answer(OPEN)
    assert talk.asked == [[Event("DISCONNECT")]]


def test_a_signature_comes_with_every_request():
    now = 1_700_000_000.0
    signature = Signature(Held(Key("HS256", b"x" * 32)), "pushpin", lambda: now)
    talk = Talk(signature=signature)
    talk.say(b"hi")
    sent = [params_of(request)[b"HTTP_GRIP_SIG"] for request in talk.pool.requests]
    assert sent == [signature.token()] * 2


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"Content-Type: application/websocket-events\r\n\r\nOPEN\r\n", "accepted"),
        (b"Status: 403\r\n\r\n", "refused"),
        (b"Status: 500\r\n\r\n", "refused"),
        (b"Content-Type: text/html\r\n\r\nhello", "failed"),
        (None, "gone"),
    ],
)
def test_openings_are_counted_by_what_came_of_them(answer, outcome):
    talk = Talk(None)
    with capturedLogs():
        if answer is None:
            talk.conversation.connection_lost(1006, "")
        else:
            talk.pool.turns.pop(0).callback(Response(answer, b"", 0))
    assert talk.register.connects == {("/", outcome): 1}


def test_after_a_reload_open_connections_have_the_new_signature_and_script():
    old, new = (
        Signature(Held(Key("HS256", letter * 32)), "pushpin", lambda: 1.7e9)
        for letter in (b"a", b"b")
    )
    talk = Talk(signature=old)
    talk.route.become(
        Route(
            path="/",
            script=cgi.Script("/n.php", "/n.php", "/"),
            pool=talk.pool,
            make_conversation=Grip(talk.register, signature=new),
        )
    )
    talk.say(b"hi")
    params = params_of(talk.pool.requests[-1])
    assert params[b"HTTP_GRIP_SIG"] == new.token()
    assert params[b"SCRIPT_FILENAME"] == b"/n.php"


# -- messages


def test_messages_that_come_meanwhile_go_together():
    talk = Talk()
    talk.say(b"1", b"2")
    talk.conversation.message_received(b"\xff", True)
    assert talk.asked == [[text(b"1")]]
    talk.answer(text(b"one"))
    assert talk.asked[1:] == [[text(b"2"), Event("BINARY", b"\xff")]]
    talk.answer(text(b"two"), Event("BINARY", b"three"))
    assert talk.peer.did == [(b"one", False), (b"two", False), (b"three", True), "idle"]
    assert talk.balance == (3, 3, 0, 0)
    ids = [params_of(request).get(b"WSGATE_MESSAGE_ID") for request in talk.pool.requests]
    assert ids == [None, b"id:1", b"id:2"]


def test_a_batch_has_its_bytes_and_one_message_may_be_longer():
    half = b"x" * (MAX_BATCH // 2)
    talk = Talk()
    talk.say(b"0", half, half, b"1", b"y" * (MAX_BATCH + 1), b"2")
    sizes = []
    for _ in range(4):
        talk.answer()
        sizes.append([len(event.content) for event in talk.asked[-1]])
    assert sizes == [[MAX_BATCH // 2] * 2, [1], [MAX_BATCH + 1], [1]]


def test_reading_pauses_as_in_every_dialect():
    talk = Talk(limits=QueueLimits(2, 10**6))
    talk.say(b"1", b"2")
    assert talk.peer.did == []
    talk.say(b"3")
    assert talk.peer.did == ["pause"]
    talk.answer()
    assert talk.peer.did == ["pause", "resume"]
    assert talk.asked[-1] == [text(b"2"), text(b"3")]


def test_an_answer_of_events_is_never_a_stream():
    talk = Talk()
    head = bytearray(b"Wsgate-Stream: lines\r\n\r\none\n")
    assert talk.conversation.streaming(head) is False


def test_a_failed_request_is_one_error_and_refuses_all_its_messages():
    talk = Talk()
    talk.say(b"1", b"2", b"3")
    talk.answer()
    with capturedLogs():
        talk.pool.fail(ResponseCutOff("lost"))
    ((payload, _), idle) = talk.peer.did
    assert json.loads(payload)["error"]["message_id"] == "id:2"
    assert idle == "idle"
    assert talk.balance == (3, 1, 2, 0)


def test_on_error_close_closes():
    talk = Talk(on_error="close")
    talk.say(b"1")
    talk.pool.fail(QueueFull("full"))
    assert talk.peer.did == [("close", 1013, "overloaded, try again later"), "idle"]


@pytest.mark.parametrize(
    "body",
    [b"TEXT 2\r\nok\r\nTEXT 1\r\n\xff\r\n", b"TEXT 2\r\nok\r\n\n", b"TEXT 2\r\nok\r\nOPEN\r\n"],
)
def test_nothing_of_a_bad_answer_is_delivered(body):
    talk = Talk()
    talk.say(b"1")
    with capturedLogs():
        talk.pool.answer(body, header=b"Content-Type: application/websocket-events")
    (payload, _), _ = talk.peer.did
    assert json.loads(payload)["error"]["status"] == 502
    assert talk.balance == (1, 0, 1, 0)


def test_204_answers_without_a_message():
    talk = Talk()
    talk.say(b"1")
    talk.pool.answer(header=b"Status: 204")
    assert talk.peer.did == ["idle"]
    assert talk.balance == (1, 1, 0, 0)


def test_a_close_of_php_ends_it_and_php_hears_nothing_more():
    talk = Talk()
    talk.say(b"1", b"2")
    talk.answer(text(b"bye"), Event("CLOSE", b"\x0f\xa1done"), text(b"never"))
    assert talk.peer.did == [(b"bye", False), ("close", 4001, "done"), "idle"]
    talk.conversation.connection_lost(4001, "done")
    assert len(talk.asked) == 1
    assert talk.balance == (2, 1, 0, 1)


# -- control messages and what is kept


def control(**message):
    return text(b"c:" + json.dumps(message).encode())


def test_channels_come_and_go_and_have_the_routes_prefix():
    talk = Talk((OPEN,), GRIP, prefix="app-")
    talk.say(b"1")
    talk.answer(control(type="subscribe", channel="a"), control(type="subscribe", channel="b/c"))
    assert talk.conversation.channels == {"app-a", "app-b=2Fc"}
    talk.say(b"2")
    talk.answer(control(type="unsubscribe", channel="a"))
    assert talk.conversation.channels == {"app-b=2Fc"}
    talk.channels.publish("app-b=2Fc", Message(b"news"))
    assert talk.peer.did[-1] == ("push", b"news", False)


def test_what_cannot_be_followed_is_a_warning_and_the_rest_happens():
    talk = Talk((OPEN,), GRIP)
    talk.say(b"1")
    with capturedLogs() as logs:
        talk.answer(
            control(type="subscribe", channel="x" * 165), control(type="fly"), text(b"m:ok")
        )
    said = [formatEvent(log) for log in logs]
    assert any("subscribe: " in line for line in said)
    assert any("type 'fly' is not supported" in line for line in said)
    assert talk.peer.did == [(b"ok", False), "idle"]
    assert talk.balance == (1, 1, 0, 0)


def test_without_the_extension_control_messages_are_text():
    talk = Talk()
    talk.say(b"1")
    talk.answer(control(type="subscribe", channel="a"))
    assert talk.peer.did[0] == (b'c:{"type": "subscribe", "channel": "a"}', False)
    assert talk.conversation.channels == frozenset()


def test_meta_comes_back_with_every_request():
    talk = Talk((OPEN,), b"Set-Meta-User: alice")
    talk.say(b"1")
    assert params_of(talk.pool.requests[-1])[b"HTTP_META_USER"] == b"alice"
    talk.answer(headers=(b"Set-Meta-User:", b"Set-Meta-Room: 5"))
    talk.say(b"2")
    params = params_of(talk.pool.requests[-1])
    assert params[b"HTTP_META_ROOM"] == b"5"
    assert b"HTTP_META_USER" not in params


def test_too_much_meta_is_a_warning_and_counted():
    talk = Talk(channels=ChannelLimits(variables_per_connection=1))
    talk.say(b"1")
    with capturedLogs() as logs:
        talk.answer(headers=(b"Set-Meta-A: 1", b"Set-Meta-B: 2"))
    assert "variables_per_connection" in formatEvent(logs[0])
    assert talk.hits == {"variables_per_connection": 1}
    talk.say(b"2")
    assert b"HTTP_META_A" not in params_of(talk.pool.requests[-1])


def test_after_detach_php_hears_the_close_and_nothing_more_and_the_client_stays():
    talk = Talk((OPEN,), GRIP)
    talk.say(b"1", b"2")
    talk.answer(control(type="subscribe", channel="a"), control(type="detach"))
    assert talk.asked[1:] == [[Event("CLOSE")]]
    assert talk.pool.lanes[-1] is Lane.DISCONNECT
    talk.say(b"3")
    talk.answer()
    talk.say(b"4")
    talk.channels.publish("a", Message(b"news"))
    assert talk.peer.did == ["idle", ("push", b"news", False)]
    talk.conversation.connection_lost(1000, "")
    assert len(talk.asked) == 2
    assert talk.balance == (4, 1, 0, 3)


def test_a_keep_alive_for_the_client_comes_when_nothing_else_did():
    talk = Talk((OPEN,), GRIP)
    talk.say(b"1")
    talk.answer(control(type="keep-alive", content="{}", timeout=30))
    talk.peer.did.clear()
    talk.clock.advance(20)
    talk.conversation.push(Message(b"x"))
    talk.clock.pump([1] * 29)
    assert talk.peer.did == [("push", b"x", False)]
    talk.clock.pump([1] * 2)
    assert talk.peer.did[1:] == [("push", b"{}", False)]
    talk.conversation.connection_lost(1006, "")
    talk.answer()
    talk.clock.pump([10] * 10)
    assert len(talk.peer.did) == 2


def test_a_delayed_message_is_sent_later_or_when_it_is_flushed():
    talk = Talk((OPEN,), GRIP)
    talk.say(b"1")
    talk.answer(
        control(type="send-delayed", content="a"),
        control(type="send-delayed", content="b", timeout=5),
    )
    talk.peer.did.clear()
    talk.clock.advance(4.9)
    assert talk.peer.did == []
    talk.clock.advance(0.2)
    assert talk.peer.did == [("push", b"b", False)]
    talk.say(b"2")
    talk.answer(control(type="send-delayed", content="c"), control(type="flush-delayed"))
    assert talk.peer.did[1] == ("push", b"c", False)


# -- the interval


def test_an_idle_connection_is_asked_without_events_at_its_interval():
    talk = Talk((OPEN,), b"Keep-Alive-Interval: 30")
    talk.clock.pump([1] * 31)
    assert talk.asked == [[]]
    talk.answer(text(b"still here?"))
    assert talk.peer.did == [(b"still here?", False), "idle"]
    assert talk.balance == (0, 0, 0, 0)
    talk.clock.pump([1] * 20)
    talk.say(b"1")
    talk.answer()
    talk.clock.pump([1] * 29)
    assert len(talk.asked) == 2
    talk.clock.pump([1] * 2)
    assert talk.asked[2:] == [[]]


def test_a_failed_keep_alive_says_nothing_to_the_client_and_comes_again():
    talk = Talk((OPEN,), b"Keep-Alive-Interval: 30")
    talk.clock.pump([1] * 31)
    with capturedLogs():
        talk.pool.fail(ResponseCutOff("lost"))
    assert talk.peer.did == ["idle"]
    talk.clock.pump([1] * 31)
    assert talk.asked == [[], []]


def test_no_timer_is_left_behind_when_php_closes():
    talk = Talk((OPEN,), b"Keep-Alive-Interval: 86400")
    talk.say(b"1")
    talk.answer(Event("CLOSE"))
    assert len(talk.register.timeouts) == 0


def test_the_interval_ends_when_php_says_so_and_with_the_connection():
    talk = Talk((OPEN,), b"Keep-Alive-Interval: 30")
    talk.say(b"1")
    talk.answer(headers=(b"Keep-Alive-Interval: 0",))
    talk.clock.pump([10] * 20)
    assert len(talk.asked) == 1
    other = Talk((OPEN,), b"Keep-Alive-Interval: 30")
    other.conversation.connection_lost(1000, "")
    other.answer()
    other.clock.pump([10] * 20)
    assert len(other.asked) == 1


# -- the end


@pytest.mark.parametrize(
    ("code", "reason", "event"),
    [
        (1000, "bye", Event("CLOSE", b"\x03\xe8bye")),
        (1005, "", Event("CLOSE")),
        (1006, "", Event("DISCONNECT")),
    ],
)
def test_php_hears_how_the_client_left(code, reason, event):
    talk = Talk()
    talk.conversation.connection_lost(code, reason)
    assert talk.asked == [[event]]
    assert talk.pool.lanes[-1] is Lane.DISCONNECT


def test_the_end_comes_after_the_request_in_flight_and_what_waits_is_gone():
    talk = Talk()
    talk.say(b"1", b"2")
    talk.pool.is_waiting = False
    talk.conversation.connection_lost(1006, "")
    assert len(talk.asked) == 1
    talk.answer(text(b"too late"))
    assert talk.asked[1:] == [[Event("DISCONNECT")]]
    assert talk.peer.did == []
    assert talk.balance == (2, 0, 0, 2)


def test_a_request_that_was_not_sent_is_taken_back_and_the_end_is_told_at_once():
    talk = Talk()
    talk.say(b"1")
    talk.conversation.connection_lost(1006, "")
    assert talk.asked[-1] == [Event("DISCONNECT")]
    assert talk.balance == (1, 0, 0, 1)


def test_whatever_php_answers_to_the_end_is_passed_over():
    for stdout in (b"Status: 500\r\n\r\n<html>", b"nonsense", b"\r\n\r\n"):
        talk = Talk()
        talk.conversation.connection_lost(1006, "")
        with capturedLogs() as logs:
            talk.pool.turns.pop(0).callback((stdout, b"PHP message: PHP Fatal error: x", 0, False))
        assert logs == []
        assert talk.peer.did == []


def test_an_end_that_php_could_not_be_told_is_logged():
    talk = Talk()
    talk.conversation.connection_lost(1006, "")
    with capturedLogs() as logs:
        talk.pool.fail(ResponseCutOff("lost"))
    assert len(logs) == 1
    assert talk.peer.did == []


def test_a_close_of_the_gateway_is_told_too():
    talk = Talk()
    talk.conversation.close(4000, "away with you")
    talk.conversation.connection_lost(4000, "away with you")
    assert talk.asked == [[Event("CLOSE", b"\x0f\xa0away with you")]]


def test_draining_tells_the_end_once():
    talk = Talk()
    talk.conversation.abandon()
    talk.conversation.connection_lost(1001, "")
    talk.conversation.connection_lost(1001, "")
    assert talk.asked == [[Event("CLOSE", b"\x03\xe9")]]


class Accounting(RuleBasedStateMachine):
    """Whatever happens in whatever order, no message is lost, doubled or out of order."""

    def __init__(self):
        super().__init__()
        self.talk = Talk((OPEN,), GRIP, b"Keep-Alive-Interval: 20", limits=QueueLimits(3, 50))
        self.sent = 0
        self.lost = False

    @rule(size=st.integers(0, 60))
    def message(self, size):
        if not self.lost:
            self.sent += 1
            self.talk.say(b"%03d" % self.sent + b"x" * size)

    @precondition(lambda self: self.talk.pool.turns)
    @rule(how=st.sampled_from(["ok", "fails", "nonsense", "detach", "empty"]))
    def answer(self, how):
        talk = self.talk
        with capturedLogs():
            if how == "ok":
                talk.answer(text(b"m:a"), text(b"m:b"))
            elif how == "fails":
                talk.pool.fail(ResponseCutOff("lost"))
            elif how == "nonsense":
                talk.pool.answer(b"nonsense")
            elif how == "detach":
                talk.answer(control(type="detach"))
            else:
                talk.answer()

    @rule(paused=st.booleans())
    def output(self, paused):
        if paused:
            self.talk.conversation.output_paused()
        else:
            self.talk.conversation.output_resumed()

    @rule(seconds=st.integers(1, 30))
    def time(self, seconds):
        self.talk.clock.pump([1] * seconds)

    @rule(code=st.sampled_from([1000, 1005, 1006]))
    def leave(self, code):
        if not self.lost:
            self.lost = True
            self.talk.pool.is_waiting = False
            self.talk.conversation.connection_lost(code, "")

    @invariant()
    def at_most_one_request_is_in_flight(self):
        assert len(self.talk.pool.turns) <= 1

    @invariant()
    def messages_are_asked_in_order_and_none_twice(self):
        events = [event for batch in self.talk.asked for event in batch]
        numbers = [int(event.content[:3]) for event in events if event.name == "TEXT"]
        assert numbers == sorted(set(numbers))

    @invariant()
    def the_end_is_told_once_and_last(self):
        ends = [
            index
            for index, batch in enumerate(self.talk.asked)
            if batch and batch[0].name != "TEXT"
        ]
        assert ends in ([], [len(self.talk.asked) - 1])
        if self.lost and not self.talk.pool.turns:
            assert len(ends) == 1
            assert self.talk.register.under_way == 0

    @invariant()
    def a_stop_waits_for_the_end(self):
        talk = self.talk
        if self.lost and talk.pool.turns:
            assert talk.register.under_way == 1

    @invariant()
    def every_message_is_somewhere(self):
        received, answered, refused, gone = self.talk.balance
        conversation = self.talk.conversation
        waiting = len(conversation._queue) + (conversation._batch if conversation._in_flight else 0)
        assert received == self.sent == answered + refused + gone + waiting


AccountingTest = Accounting.TestCase
