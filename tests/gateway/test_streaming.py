"""A streamed answer in a conversation, from the records of the backend to the client's messages."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs

from tests.fakes import FakePeer, arrival
from tests.fastcgi.fakes import Network, end, stderr, stdout
from wsgate import cgi
from wsgate.gateway import Conversation, QueueLimits, Route, StreamLimits
from wsgate.gateway.streaming import AT_ONCE

HEAD = b"Content-Type: text/plain\nWsgate-Stream: lines\n\n"
PARTS = HEAD.replace(b"lines", b"parts")


class Stage:
    """A conversation that has asked one message of a real pool over a fake network."""

    def __init__(self, limits=None, asks=True, pool=None, **rules):
        self.network = Network(**{"max_in_flight": 4, "max_streams": 2, **(pool or {})})
        self.peer = FakePeer()
        self.route = Route(
            path="/",
            script=cgi.Script("/w.php", "/w.php", "/"),
            pool=self.network.pool,
            streams=limits or StreamLimits(),
            **rules,
        )
        self.conversation = Conversation(
            self.route, arrival(self.peer, limits=QueueLimits(8, 1000))
        )
        if asks:
            self.ask()

    def ask(self, message=b"go"):
        self.conversation.message_received(message, False)
        if self.network.endpoint.attempts:
            self.network.endpoint.accept()

    def says(self, *records):
        """The backend says this in one read."""
        self.network.endpoint.receive(b"".join(records))

    @property
    def transport(self):
        return self.network.endpoint.transports[-1]

    @property
    def sent(self):
        """The payloads of all messages, ends of streams decoded."""
        return [
            json.loads(did[0]) if did[0].startswith((b'{"stream"', b'{"error"')) else did[0]
            for did in self.peer.did
            if isinstance(did, tuple) and did[0] != "close"
        ]

    def balance(self):
        tally = self.route.tally
        self.network.check_accounts()
        assert tally.received == tally.answered + tally.refused + tally.gone
        return tally.answered, tally.refused, tally.gone, tally.streamed


def over(messages, number=1, **error):
    mark = {"stream": "end", "message_id": f"id:{number}", "messages": messages}
    if error:
        mark["error"] = {**error, "message_id": f"id:{number}"}
    return mark


LOST = {"status": 502, "reason": "the backend closed the connection"}
TOO_LARGE = {"status": 502, "reason": "the answer is too large"}
TOO_LONG = {"status": 504, "reason": "the backend took too long"}
BAD = {"status": 502, "reason": "bad answer from the backend"}


def test_each_line_is_sent_when_it_is_whole_and_the_end_says_how_many_there_were():
    s = Stage()
    s.says(stdout(HEAD + b"one\ntw"))
    assert s.sent == [b"one"]
    s.says(stdout(b"o\nthree"))
    assert s.sent == [b"one", b"two"]
    s.says(end())
    assert s.sent == [b"one", b"two", b"three", over(3)]
    assert s.peer.did[-1] == "idle"
    assert s.balance() == (1, 0, 0, 3)


def test_the_end_is_this_text_to_the_byte():
    s = Stage()
    s.says(stdout(HEAD + b"one\n"), end())
    assert s.peer.did[:2] == [
        (b"one", False),
        (b'{"stream":"end","message_id":"id:1","messages":1}', False),
    ]
    s = Stage()
    s.says(stdout(HEAD + b"one\n"))
    s.network.endpoint.lose()
    assert s.peer.did[1][0] == (
        b'{"stream":"end","message_id":"id:1","messages":1,"error":{"status":502,'
        b'"reason":"the backend closed the connection","message_id":"id:1"}}'
    )


def test_parts_are_the_records_and_binary_by_their_content_type():
    s = Stage()
    s.says(stdout(PARTS.replace(b"text/plain", b"image/png") + b"\x89\n"), stdout(b"\xff"), end())
    assert s.peer.did[:2] == [(b"\x89\n", True), (b"\xff", True)]
    # The end is text, so that it can be told from them.
    assert s.peer.did[2][1] is False
    assert s.sent[2] == over(2)


def test_a_stream_without_any_message_has_an_end():
    for records in ([stdout(HEAD), end()], [stdout(HEAD) + end()]):
        s = Stage()
        for record in records:
            s.says(record)
        assert s.sent == [over(0)]


BODIES = st.lists(
    st.sampled_from([b"\n", b"\r\n", b"a", b"bc", "ü".encode(), b"\xff"]), min_size=1, max_size=20
).map(b"".join)
ENDS = st.sampled_from(["whole", "lost", "no end", "garbage", "died"])
FATAL = stderr(b"PHP message: PHP Fatal error: oh")


@given(
    st.sampled_from([HEAD, PARTS]),
    st.lists(BODIES, max_size=5),
    ENDS,
    st.lists(st.integers(0, 300), max_size=8),
)
def test_any_cut_of_the_bytes_gives_the_same_messages_and_the_same_end(head, bodies, how, places):
    records = [stdout(head), *map(stdout, bodies)]
    data = b"".join(records) + {"garbage": b"garbage!", "died": FATAL}.get(how, b"")
    data += end() if how in ("whole", "died") else b""
    places = sorted({min(place, len(data)) for place in places} | {0, len(data)})

    def play(ends):
        s = Stage(StreamLimits(messages=6, size=40, message_size=10))
        for a, b in itertools.pairwise(ends):
            s.says(data[a:b])
        if how == "lost":
            s.network.endpoint.lose()
        elif how == "no end":
            s.network.advance(31, step=0.5)
        s.balance()
        return s.sent

    whole = play([0, len(data)])
    assert play(places) == whole
    assert whole[-1]["stream"] == "end"
    assert whole[-1]["messages"] == len(whole) - 1
    if how != "whole":
        assert "error" in whole[-1]


@pytest.mark.parametrize("how", ["line", "after the header", "no END_REQUEST", "in END_REQUEST"])
def test_a_stream_that_is_cut_off_never_gives_half_a_line(how):
    s = Stage()
    s.says(stdout(HEAD))
    messages = 0
    if how != "after the header":
        s.says(stdout(b"one\nha"))
        messages = 1
    if how == "no END_REQUEST":
        s.says(stdout(b"lf"), stdout(b""))
    if how == "in END_REQUEST":
        s.says(end()[:-1])
    s.network.endpoint.lose()
    assert s.sent == [b"one"] * messages + [over(messages, **LOST)]
    assert s.balance() == (0, 1, 0, messages)


@pytest.mark.parametrize("whole", [True, False])
def test_a_line_that_is_not_utf8_ends_the_stream_behind_the_lines_before_it(whole):
    s = Stage()
    records = [HEAD + b"one\ntwo\n", b"\xff\nfour\n"]
    if whole:
        s.says(stdout(b"".join(records)), end())
    else:
        s.says(*map(stdout, records))
        assert s.transport.disconnected
    assert s.sent == [b"one", b"two", over(2, **BAD)]
    assert s.balance() == (0, 1, 0, 2)


@pytest.mark.parametrize(
    ("limits", "body", "good", "limit"),
    [
        (StreamLimits(messages=2), b"a\nb\n", 2, "stream_messages"),
        (StreamLimits(size=4), b"a\nb\n", 2, "stream_bytes"),
        (StreamLimits(message_size=3), b"abc\n", 1, None),
    ],
)
def test_a_stream_may_reach_each_limit_and_not_pass_it(limits, body, good, limit):
    s = Stage(limits)
    s.says(stdout(HEAD + body))
    s.says(end())
    assert s.sent[-1] == over(good)
    s = Stage(limits)
    s.says(stdout(HEAD + body))
    s.says(stdout(b"wxyz\n"))
    assert s.sent[-1] == over(good, **TOO_LARGE)
    assert s.transport.disconnected
    assert dict(s.peer.channels._hits) == ({limit: 1} if limit else {})


def test_a_stream_that_lasts_too_long_is_ended_and_counted():
    s = Stage(StreamLimits(timeout=5.0))
    s.says(stdout(HEAD + b"one\n"))
    s.network.advance(4.9)
    assert s.sent == [b"one"]
    s.network.advance(0.3)
    assert s.sent == [b"one", over(1, **TOO_LONG)]
    assert s.peer.channels._hits["stream_timeout"] == 1


def test_a_script_that_dies_ends_its_stream_with_an_error_of_ours():
    s = Stage()
    s.says(stdout(HEAD + b"one\nhalf"), stderr(b"PHP message: PHP Fatal error: secret"))
    with capturedLogs() as logs:
        s.says(end(255))
    assert s.sent == [b"one", over(1, status=500, reason="the script failed")]
    assert [event["log_level"].name for event in logs] == ["error"]


def test_where_errors_close_a_failed_stream_closes():
    s = Stage(on_error="close")
    s.says(stdout(HEAD + b"one\n"))
    s.network.endpoint.lose()
    assert s.peer.did == [
        (b"one", False),
        ("close", 1011, "the backend closed the connection"),
        "idle",
    ]


def test_a_close_of_the_scripts_own_follows_the_end():
    s = Stage()
    s.says(stdout(b"Wsgate-Close: 4001 bye\n" + HEAD + b"one\n"))
    assert s.sent == [b"one"]
    s.says(end())
    assert s.peer.did[2:] == [("close", 4001, "bye"), "idle"]


def test_what_the_head_asks_for_is_done_before_the_first_message_and_nothing_is_published():
    s = Stage()
    head = b"Wsgate-Set: a=b\nWsgate-User: 7\nWsgate-Publish: room\nWsgate-What: x\n" + HEAD
    with capturedLogs() as logs:
        s.says(stdout(head + b"one\n"))
    said = " ".join(event["text"] for event in logs)
    assert "wsgate-what: no such header" in said
    assert "a stream is for its sender alone" in said
    assert s.conversation.user == "7"
    s.says(end())
    s.ask()
    assert b"WSGATE_VAR_Ab" in s.transport.value()


def test_a_stream_beyond_max_streams_is_overloaded_and_does_nothing_else():
    s = Stage(pool={"max_streams": 0})
    s.says(stdout(b"Wsgate-User: 7\n" + HEAD + b"one\n"))
    assert s.sent == [
        {"error": {"status": 503, "reason": "overloaded, try again later", "message_id": "id:1"}}
    ]
    assert s.conversation.user is None
    assert s.transport.disconnected
    assert s.balance() == (0, 1, 0, 0)


def test_what_is_asked_while_a_stream_goes_on_waits_for_its_end():
    s = Stage(pool={"keep_connections": True})
    s.says(stdout(HEAD + b"one\n"))
    s.ask(b"second")
    s.says(stdout(b"two\n"))
    assert s.transport.value().count(b"second") == 0
    s.says(end())
    assert s.transport.value().count(b"second") == 1
    s.says(stdout(b"X: y\n\nplain"), end())
    assert s.sent == [b"one", b"two", over(2), b"plain"]
    assert s.balance() == (2, 0, 0, 2)


# --- a slow client


def test_a_client_that_takes_nothing_holds_the_backend_up_and_gets_all_of_it_later():
    s = Stage()
    s.says(stdout(HEAD + b"one\n"))
    s.conversation.output_paused()
    assert s.transport.producerState == "paused"
    # What was read by then waits.
    s.says(stdout(b"two\nthree\n"))
    assert s.sent == [b"one"]
    s.conversation.output_resumed()
    assert s.sent == [b"one", b"two", b"three"]
    assert s.transport.producerState == "producing"
    s.says(end())
    assert s.sent[-1] == over(3)


def test_the_end_waits_behind_what_a_slow_client_has_not_taken():
    for last in (end(), None):
        s = Stage()
        s.says(stdout(HEAD + b"one\n"))
        s.conversation.output_paused()
        s.says(stdout(b"two\n"))
        if last is None:
            s.network.endpoint.lose()
        else:
            s.says(last)
        assert s.sent == [b"one"]
        assert not s.conversation.is_idle
        s.conversation.output_resumed()
        assert s.sent == [b"one", b"two", over(2, **({} if last else LOST))]
        assert s.conversation.is_idle


def test_a_stream_that_begins_while_the_client_takes_nothing_waits():
    s = Stage()
    s.conversation.output_paused()
    s.says(stdout(HEAD + b"one\n"))
    assert s.sent == []
    assert s.transport.producerState == "paused"
    s.conversation.output_resumed()
    assert s.sent == [b"one"]


def test_a_long_message_of_a_stream_stops_the_others_until_it_is_out():
    s = Stage()
    send = s.peer.send_message

    def send_and_pause(payload, is_binary):
        send(payload, is_binary)
        if payload == b"long":
            s.conversation.output_paused()

    s.peer.send_message = send_and_pause
    s.says(stdout(HEAD + b"one\nlong\nthree\n"))
    assert s.sent == [b"one", b"long"]
    s.conversation.output_resumed()
    assert s.sent == [b"one", b"long", b"three"]


def test_many_short_messages_are_sent_over_several_turns_with_the_backend_held_up():
    s = Stage()
    s.says(stdout(HEAD + b"x\n" * (2 * AT_ONCE + 1)))
    assert len(s.sent) == AT_ONCE
    assert s.transport.producerState == "paused"
    for turns in (2, 2):
        (turn,) = s.peer.soon
        s.peer.soon.clear()
        turn()
        assert len(s.sent) <= turns * AT_ONCE + 1
    assert len(s.sent) == 2 * AT_ONCE + 1
    assert not s.peer.soon
    assert s.transport.producerState == "producing"
    s.says(end())
    assert s.sent[-1] == over(2 * AT_ONCE + 1)


def test_a_turn_that_comes_when_the_client_has_gone_does_nothing():
    s = Stage()
    s.says(stdout(HEAD + b"x\n" * 100))
    (turn,) = s.peer.soon
    s.conversation.connection_lost()
    turn()
    assert len(s.sent) == AT_ONCE
    assert s.balance() == (0, 0, 1, AT_ONCE)


# --- a client that leaves


def test_a_client_that_is_lost_ends_its_stream_and_the_place_is_free():
    s = Stage()
    s.says(stdout(HEAD + b"one\n"))
    s.ask(b"never asked")
    with capturedLogs() as logs:
        s.conversation.connection_lost()
    assert logs == []
    assert s.transport.disconnected
    assert s.network.pool.streams.open == s.network.pool.in_flight == 0
    assert s.balance() == (0, 0, 2, 1)
    assert s.sent == [b"one"]


def test_a_client_that_wants_to_go_gets_no_more_of_a_stream_but_the_answers_behind_it():
    s = Stage(pool={"keep_connections": True})
    s.says(stdout(HEAD + b"one\n"))
    s.ask(b"second")
    s.conversation.leave()
    assert s.network.endpoint.transports[0].disconnected
    s.network.endpoint.accept()
    s.says(stdout(b"X: y\n\nplain"), end())
    assert s.sent == [b"one", b"plain"]
    assert s.peer.did[-1] == "idle"
    assert s.balance() == (1, 0, 1, 1)


def test_a_stream_that_begins_when_the_client_wants_to_go_ends_at_once():
    s = Stage()
    s.conversation.leave()
    s.says(stdout(HEAD + b"one\n"))
    assert s.transport.disconnected
    assert s.sent == []
    assert s.peer.did == ["idle"]
    assert s.balance() == (0, 0, 1, 0)


def test_a_stream_that_begins_when_the_client_has_gone_ends_at_once():
    s = Stage()
    s.conversation.connection_lost()
    s.says(stdout(HEAD + b"one\n"))
    assert s.transport.disconnected
    assert s.network.pool.streams.open == 0
    assert s.balance() == (0, 0, 1, 0)


def test_a_connection_that_is_closed_by_somebody_ends_its_stream():
    s = Stage()
    s.says(stdout(HEAD + b"one\n"))
    s.conversation.close(4000, "kicked")
    assert s.transport.disconnected
    assert s.peer.did[1:] == [("close", 4000, "kicked"), "idle"]
    assert s.balance() == (0, 0, 1, 1)


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize("has_ended", [False, True])
def test_a_stream_that_is_given_up_says_so_even_to_a_slow_client(is_slow, has_ended):
    s = Stage()
    s.says(stdout(HEAD + b"one\n"))
    if is_slow:
        s.conversation.output_paused()
        s.says(stdout(b"two\n"))
    if has_ended:
        s.says(end())
    s.network.pool.stop()
    s.conversation.give_up()
    if has_ended and not is_slow:
        assert s.sent == [b"one", over(1)]
    else:
        assert s.sent[:1] == [b"one"]
        assert s.sent[-1]["messages"] == 1
        assert s.sent[-1]["error"] == {**TOO_LONG, "message_id": "id:1"}
    assert s.conversation.is_idle
    assert sum(s.balance()[:3]) == 1
