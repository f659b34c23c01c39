"""wsgate.grip.answer: what PHP's events mean."""

import pytest

from wsgate import cgi
from wsgate.gateway import Accepted, RefusedByBackend
from wsgate.gateway.actions import Close
from wsgate.gateway.answer import NotAnAnswer, ScriptFailed, ScriptMissing
from wsgate.grip.answer import Say, deeds, opening, read_answer
from wsgate.grip.control import Detach, Subscribe
from wsgate.grip.events import OPEN, Event


def read(body=b"", *headers, kind=b"application/websocket-events", stderr=b""):
    head = [b"Content-Type: " + kind, *headers]
    return read_answer(b"\r\n".join(head) + b"\r\n\r\n" + body, stderr)


def test_events_are_read():
    assert read(b"OPEN\r\nTEXT 2\r\nhi\r\n").events == (OPEN, Event("TEXT", b"hi"))


@pytest.mark.parametrize(
    "kind",
    [
        b"application/websocket-events; charset=UTF-8",
        b"Application/WebSocket-Events",
        b"application/websocket-events ;charset=x",
    ],
)
def test_parameters_and_case_of_the_type_do_not_matter(kind):
    assert read(b"OPEN\r\n", kind=kind).events == (OPEN,)


def test_nothing_at_all_is_no_event():
    assert read_answer(b"Status: 204\r\n\r\n").events == ()
    assert read(kind=b"text/html").events == ()


@pytest.mark.parametrize(
    ("stdout", "stderr", "error"),
    [
        (b"Content-Type: text/html\r\n\r\nOPEN\r\n", b"", NotAnAnswer),
        (b"X: y\r\n\r\nOPEN\r\n", b"", NotAnAnswer),
        (b"Status: 201\r\n\r\n", b"", NotAnAnswer),
        (b"Status: 302\r\n\r\n", b"", NotAnAnswer),
        (b"Status: 404\r\n\r\nno", b"", NotAnAnswer),
        (b"Status: 404\r\n\r\nno", b"Primary script unknown", ScriptMissing),
        (b"Status: 500\r\n\r\n", b"", ScriptFailed),
        (b"Status: 200\r\n\r\n", b"PHP message: PHP Fatal error: x", ScriptFailed),
        (b"no header", b"", cgi.MalformedResponse),
    ],
)
def test_what_is_no_answer(stdout, stderr, error):
    with pytest.raises(error):
        read_answer(stdout, stderr)


def test_a_warning_of_php_in_front_of_the_events_is_shown_in_the_log():
    with pytest.raises(NotAnAnswer, match="no event at byte 0: b'<br />"):
        read(b"<br />\nWarning: oops\nOPEN\r\n")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"60", 60.0),
        (b"20", 20.0),
        (b"19", 20.0),
        (b"1", 20.0),
        (b"0", 0.0),
        (b"-5", 0.0),
        (b"soon", 0.0),
        (b"", 0.0),
        (b"86400", 86400.0),
        (b"999999999", 86400.0),
    ],
)
def test_the_keep_alive_interval(value, seconds):
    assert read(b"", b"Keep-Alive-Interval: " + value).keep_alive == seconds


def test_without_the_header_the_interval_stays():
    assert read().keep_alive is None


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        (b"grip", b"m:"),
        (b"GRIP", b"m:"),
        (b'grip; message-prefix="x-"', b"x-"),
        (b'grip; message-prefix=""', b""),
        (b"grip;message-prefix=y", b"y"),
        (b"permessage-deflate, grip", b"m:"),
        (b"gripper", None),
        (b"", None),
    ],
)
def test_the_extension_and_its_prefix(value, prefix):
    assert read(b"", b"Sec-WebSocket-Extensions: " + value).prefix == prefix


def test_what_is_to_be_kept():
    answer = read(b"", b"Set-Meta-User: alice", b"Set-Meta-Room:", b"Set-Cookie: a=b")
    assert answer.meta == (("user", "alice"), ("room", ""))
    assert ("set-cookie", "a=b") in answer.headers


def open_with(stdout, offered=(), subprotocol=None, stderr=b""):
    return opening(stdout, stderr, frozenset(offered), subprotocol)


TYPE = b"Content-Type: application/websocket-events\r\n"


def test_open_lets_the_client_in_with_what_the_answer_says_to_browsers():
    answer, accepted = open_with(
        TYPE + b"Set-Cookie: a=b\r\nX-Powered-By: PHP\r\nSet-Meta-User: x\r\n"
        b"Keep-Alive-Interval: 60\r\nSec-WebSocket-Extensions: grip\r\nX-Room: 5\r\n"
        b"Sec-WebSocket-Accept: forged\r\nConnection: close\r\nGrip-Sig: x\r\n\r\n"
        b"OPEN\r\nCLOSE\r\n"
    )
    assert accepted == Accepted((("Set-Cookie", "a=b"), ("X-Room", "5")), None)
    assert (answer.keep_alive, answer.prefix) == (60.0, b"m:")
    assert answer.events == (OPEN, Event("CLOSE"))


def test_php_may_take_a_subprotocol_that_was_offered():
    stdout = TYPE + b"Sec-WebSocket-Protocol: v2\r\n\r\nOPEN\r\n"
    assert open_with(stdout, ["v1", "v2"], "v1")[1].subprotocol == "v2"
    assert open_with(stdout, ["v1"], "v1")[1].subprotocol is None
    assert open_with(TYPE + b"\r\nOPEN\r\n", ["v1"], "v1")[1].subprotocol == "v1"


@pytest.mark.parametrize("body", [b"", b"CLOSE\r\n", b"TEXT 0\r\n\r\nOPEN\r\n", b"OPEN\n"])
def test_whoever_does_not_say_open_first_lets_nobody_in(body):
    with pytest.raises(NotAnAnswer):
        open_with(TYPE + b"\r\n" + body)


def test_an_answer_of_another_type_lets_nobody_in_and_is_not_shown():
    with pytest.raises(NotAnAnswer, match="the answer is text/html, not"):
        open_with(b"Content-Type: text/html\r\n\r\n<h1>secret</h1>")


def test_a_refusal_is_phps_own():
    with pytest.raises(RefusedByBackend) as error:
        open_with(b"Status: 401\r\nWWW-Authenticate: Basic\r\n\r\nwho?")
    assert (error.value.status, error.value.body) == (401, b"who?")
    with pytest.raises(ScriptFailed):
        open_with(b"Status: 500\r\n\r\n", stderr=b"PHP message: PHP Fatal error: x")


def text(content):
    return Event("TEXT", content)


def test_with_the_extension_the_prefix_is_taken_off_and_control_messages_act():
    found, warnings = deeds(
        (
            text(b'c:{"type":"subscribe","channel":"a"}'),
            text(b"m:hello"),
            Event("BINARY", b"m:\xff"),
            Event("BINARY", b"m:"),
            text(b'c:{"type":"detach"}'),
        ),
        b"m:",
    )
    assert found == [
        Subscribe("a"),
        Say(b"hello", False),
        Say(b"\xff", True),
        Say(b"", True),
        Detach(),
    ]
    assert warnings == []


def test_without_the_extension_everything_is_for_the_client():
    found, _ = deeds((text(b"c:{}"), text(b"m:x"), text(None)), None)
    assert found == [Say(b"c:{}", False), Say(b"m:x", False), Say(b"", False)]


def test_what_has_no_prefix_and_what_cannot_be_followed_is_left_out_with_a_warning():
    events = (text(b"x"), Event("BINARY", b"c:{}"), text(b"c:{"), text(b"m:y"))
    found, warnings = deeds(events, b"m:")
    assert found == [Say(b"y", False)]
    assert [warning.partition(" ")[0] for warning in warnings] == ["a", "a", "control"]


def test_an_empty_prefix_fits_everything():
    assert deeds((text(b"x"), text(b"c:{}")), b"")[0] == [Say(b"x", False)]


@pytest.mark.parametrize(
    ("event", "close"),
    [
        (Event("CLOSE"), Close(1000, "")),
        (Event("CLOSE", b"\x00\x00"), Close(1000, "")),
        (Event("CLOSE", b"\x03\xed"), Close(1000, "")),
        (Event("CLOSE", b"\x03\xee"), Close(1000, "")),
        (Event("CLOSE", b"\x0f\xa1bye"), Close(4001, "bye")),
        (Event("DISCONNECT"), Close(1011, "")),
    ],
)
def test_a_close_ends_it_and_nothing_comes_after(event, close):
    assert deeds((text(b"a"), event, text(b"b")), None)[0] == [Say(b"a", False), close]


def test_pings_and_unknown_events_are_passed_over():
    events = (Event("PING", b"x"), Event("PONG"), Event("NEWS", b"x"))
    assert deeds(events, None) == ([], [])


@pytest.mark.parametrize("events", [(OPEN,), (text(b"ok"), OPEN), (text(b"\xff"),)])
def test_what_makes_the_whole_answer_bad(events):
    with pytest.raises(NotAnAnswer):
        deeds(events, None)


def test_the_prefix_does_not_hide_text_that_is_not_utf_8():
    with pytest.raises(NotAnAnswer, match="not UTF-8 at its byte 0"):
        deeds((text(b"m:\xff"),), b"m:")
