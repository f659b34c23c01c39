"""wsgate.gateway.answer: what the client gets."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel

from wsgate import cgi, fastcgi
from wsgate.gateway import is_sendable
from wsgate.gateway.actions import Actions, Close, Publish, Subscribe
from wsgate.gateway.answer import (
    FAILURES,
    INTERNAL,
    KNOWN_HEADS,
    NoAnswer,
    NotAnAnswer,
    Reply,
    ScriptFailed,
    ScriptMissing,
    failure_of,
    reply_to_failure,
    reply_to_response,
)


def reply(*lines: bytes, body: bytes = b"", stderr: bytes = b"") -> Reply:
    return reply_to_response(b"\n".join((b"X: y", *lines)) + b"\n\n" + body, stderr)[0]


def test_a_body_becomes_one_message_typed_by_its_content_type():
    assert reply(body=b"hi") == Reply(b"hi", False)
    assert reply(b"Content-Type: image/png", body=b"\xff") == Reply(b"\xff", True)


def test_an_empty_body_becomes_an_empty_message():
    assert reply() == Reply(b"", False)


def test_204_becomes_nothing():
    assert reply(b"Status: 204 No Content", body=b"") == Reply(None)


@pytest.mark.parametrize("status", [b"400", b"404", b"403", b"422", b"499"])
def test_a_4xx_with_a_body_of_the_scripts_own_is_an_answer(status):
    assert reply(b"Status: " + status, body=b"no") == Reply(b"no", False)


@pytest.mark.parametrize("status", [500, 503, 599])
def test_a_5xx_is_a_failure_with_its_status(status):
    with pytest.raises(ScriptFailed) as caught:
        reply(b"Status: %d" % status, body=b"secret")
    assert failure_of(caught.value).status == status


@pytest.mark.parametrize(
    ("status", "body", "stderr"),
    [
        (b"404", b"File not found.\n", b"Primary script unknown"),
        (b"404", b"No input file specified.\n", b""),
        (b"403", b"Access denied.\n", b"Access to the script '/x' has been denied (see security."),
    ],
)
def test_a_missing_script_is_told_from_the_scripts_own_404(status, body, stderr):
    with pytest.raises(ScriptMissing) as caught:
        reply(b"Status: " + status, body=body, stderr=stderr)
    assert failure_of(caught.value).status == int(status)


@pytest.mark.parametrize("lines", [[b"Location: /x"], [b"Status: 301"], [b"Status: 404"]])
def test_a_redirect_or_an_empty_4xx_is_no_answer(lines):
    with pytest.raises(NotAnAnswer):
        reply(*lines)


def test_a_script_that_died_gives_no_answer_even_if_part_of_one_went_out():
    with pytest.raises(ScriptFailed) as caught:
        reply(body=b"half an ans", stderr=b"PHP message: PHP Fatal error:  Uncaught Exception")
    assert failure_of(caught.value).status == 500
    assert reply(body=b"whole", stderr=b"PHP message: PHP Warning:  x") == Reply(b"whole", False)


def test_a_compressed_body_is_no_answer():
    with pytest.raises(NotAnAnswer, match="compressed"):
        reply(b"Content-Encoding: gzip", body=b"\x1f\x8b")
    assert reply(b"Content-Encoding: identity", body=b"x") == Reply(b"x", False)


def test_text_that_is_not_utf8_is_no_answer_and_says_where():
    with pytest.raises(NotAnAnswer, match="not UTF-8 at byte 2"):
        reply(body=b"ab\xff")


@given(st.binary())
def test_whatever_php_sends_never_becomes_an_invalid_text_message(output):
    try:
        got, _ = reply_to_response(output)
    except (cgi.MalformedResponse, ScriptFailed, ScriptMissing, NotAnAnswer):
        return
    if got.payload is not None and not got.is_binary:
        got.payload.decode()


@pytest.mark.parametrize(
    ("value", "close"),
    [
        (b"4001 good bye", Close(4001, "good bye")),
        (b"1000", Close(1000, "")),
        ("4000 später".encode(), Close(4000, "später")),
    ],
)
def test_wsgate_close_closes_after_the_answer(value, close):
    assert reply(b"Wsgate-Close: " + value, body=b"hi") == Reply(b"hi", False, close)


@pytest.mark.parametrize("value", [b"", b"abc", b"1005", b"1006", b"999", b"5000", b"40000 x"])
def test_an_invalid_close_code_still_closes_and_is_warned_about(value):
    got, warnings = reply_to_response(b"Wsgate-Close: " + value + b"\n\nhi")
    assert got.close == Close(1000, "")
    assert len(warnings) == 1


@pytest.mark.parametrize("status", [b"500", b"301", b"404"])
def test_wsgate_close_is_followed_where_there_is_no_answer_too(status):
    with pytest.raises(NoAnswer) as caught:
        reply_to_response(b"Wsgate-Close: 4001 bye\nStatus: " + status + b"\n\n")
    sent = reply_to_failure(caught.value, "id:1", "reply")
    assert b'"error"' in sent.payload
    assert sent.close == Close(4001, "bye")
    assert reply_to_failure(caught.value, "id:1", "close") == Reply(None, close=sent.close)


def test_unknown_wsgate_headers_are_warned_about():
    assert reply_to_response(b"Wsgate-Nope: 1\n\n")[1] == ("wsgate-nope: no such header is known",)


def test_actions_come_with_an_answer_also_with_none_to_send():
    actions = Actions(subscribe=(Subscribe("a"),))
    assert reply(b"Wsgate-Subscribe: a", body=b"hi") == Reply(b"hi", False, None, actions)
    assert reply(b"Status: 204", b"Wsgate-Subscribe: a") == Reply(None, False, None, actions)
    assert reply(b"Status: 422", b"Wsgate-Subscribe: a", body=b"no").actions == actions
    assert reply(b"Wsgate-Publish: a", body=b"hi").actions.publish == (Publish(("a",)),)


def test_an_answer_with_actions_is_never_taken_for_a_known_one():
    before = dict(KNOWN_HEADS)
    reply(b"Wsgate-Subscribe: a", body=b"hi")
    assert before == KNOWN_HEADS


def test_only_codes_an_endpoint_may_send_are_sendable():
    reserved = {1004, 1005, 1006, 1015}
    expected = {*range(1000, 1015), *range(3000, 5000)} - reserved
    assert {code for code in range(6000) if is_sendable(code)} == expected


ERRORS = [
    (fastcgi.QueueFull, 503, "overloaded, try again later", 1013, None),
    (fastcgi.QueueTimeout, 503, "overloaded, try again later", 1013, LogLevel.warn),
    (fastcgi.CircuitOpen, 502, "the backend is not available", 1011, None),
    (fastcgi.BackendBusy, 503, "overloaded, try again later", 1013, LogLevel.warn),
    (fastcgi.ApplicationOverloaded, 503, "overloaded, try again later", 1013, LogLevel.warn),
    (fastcgi.PoolStopped, 503, "shutting down", 1013, LogLevel.info),
    (fastcgi.BackendUnavailable, 502, "the backend is not available", 1011, LogLevel.error),
    (fastcgi.ResponseNeverReceived, 502, "the backend closed the connection", 1011, LogLevel.error),
    (fastcgi.ResponseCutOff, 502, "the backend closed the connection", 1011, LogLevel.error),
    (fastcgi.ResponseTimeout, 504, "the backend took too long", 1011, LogLevel.error),
    (fastcgi.RequestTimeout, 504, "the backend took too long", 1011, LogLevel.error),
    (fastcgi.ResponseTooLarge, 502, "the answer is too large", 1011, LogLevel.error),
    (fastcgi.ProtocolError, 502, "bad answer from the backend", 1011, LogLevel.error),
    (cgi.MalformedResponse, 502, "bad answer from the backend", 1011, LogLevel.error),
    (NotAnAnswer, 502, "bad answer from the backend", 1011, LogLevel.error),
    (RuntimeError, 500, "internal error", 1011, LogLevel.critical),
]


@pytest.mark.parametrize(("cls", "status", "reason", "code", "level"), ERRORS)
def test_each_failure_has_its_reply_its_close_code_and_its_log_level(
    cls, status, reason, code, level
):
    error = cls("secret details")
    assert failure_of(error).level is level
    sent = reply_to_failure(error, "id:1", "reply")
    assert json.loads(sent.payload) == {
        "error": {"status": status, "reason": reason, "message_id": "id:1"}
    }
    assert sent.close is None
    assert reply_to_failure(error, "id:1", "close") == Reply(None, close=Close(code, reason))


def test_every_error_of_the_fastcgi_room_has_a_row():
    def leaves(cls):
        return [leaf for sub in cls.__subclasses__() for leaf in leaves(sub)] or [cls]

    for cls in leaves(fastcgi.FastCGIError):
        assert failure_of(cls("x")) is not INTERNAL, cls
        assert cls in FAILURES


def test_a_body_that_is_known_to_be_utf8_is_not_looked_at_again():
    # It is not, so that whoever looks would refuse it.
    output = b"X: y\n\n\xff"
    assert reply_to_response(output, is_utf8=True)[0] == Reply(b"\xff", False)
    with pytest.raises(NotAnAnswer):
        reply_to_response(output)
