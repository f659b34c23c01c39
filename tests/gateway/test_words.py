"""wsgate.gateway.words: no word of a hook breaks HTTP or WebSocket, and a refusal stays one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.gateway.words import fit_close, refusal_at_the_door, refusal_of_message
from wsgate.hooks import Close, Refuse

ATTACKS = [
    ("X-User", "bob\r\nSet-Cookie: session=evil"),
    ("X-User", "bob\nSet-Cookie: x"),
    ("X-User", "bob\r\n\r\n<script>"),
    ("X-User", "bob\0"),
    ("X-User", "bob\x0b"),
    ("X-User", "ü\u2028"),
    ("X-User\r\nSet-Cookie", "x"),
    ("X User", "x"),
    ("X-User:", "x"),
    ("", "x"),
    ("Content-Length", "0"),
    ("content-length", "0"),
    ("Transfer-Encoding", "chunked"),
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Accept", "x"),
    ("X-User", b"bytes"),
    (b"X-User", "x"),
    ("X-User", 7),
    "X-User: x",
    ("a", "b", "c"),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_a_header_that_could_break_http_is_left_out_and_the_client_still_refused(attack):
    good = ("WWW-Authenticate", 'Bearer realm="ü"')
    refusal, left_out = refusal_at_the_door(Refuse(401, "no", (attack, good)))
    assert refusal.status == 401
    assert refusal.headers == (good, ("Content-Type", "text/plain; charset=utf-8"))
    assert len(left_out) == 1
    assert left_out[0].isprintable()


@pytest.mark.parametrize("status", [200, 101, 204, 299, 600, 0, -1, True, "401", None, 2**70])
def test_a_status_that_does_not_refuse_is_403(status):
    assert refusal_at_the_door(Refuse(status))[0].status == 403
    assert json.loads(refusal_of_message(Refuse(status), "id:1"))["error"]["status"] == 403


@pytest.mark.parametrize("status", [300, 401, 429, 503, 599])
def test_others_stay(status):
    assert refusal_at_the_door(Refuse(status))[0].status == status


def test_the_reason_is_text_in_one_line():
    refusal, _ = refusal_at_the_door(Refuse(reason="not\r\nyou\x1b[2J"))
    assert refusal.body == b"Not  you [2J\n"
    error = json.loads(refusal_of_message(Refuse(reason="not\r\nyou"), "id:1"))["error"]
    assert error == {"status": 403, "reason": "not  you", "message_id": "id:1"}


@pytest.mark.parametrize("reason", [None, 7, "", b"x"])
def test_a_reason_that_is_none_is_refused(reason):
    assert refusal_at_the_door(Refuse(reason=reason))[0].body == b"Refused\n"


def test_a_body_of_one_s_own_is_sent_as_it_is():
    refusal, _ = refusal_at_the_door(Refuse(302, "", (("Location", "/login"),), b"go"))
    assert (refusal.headers, refusal.body) == ((("Location", "/login"),), b"go")


def test_a_304_has_no_body():
    assert refusal_at_the_door(Refuse(304, body=b"x"))[0].body == b""
    assert refusal_at_the_door(Refuse(304))[0].body == b""


@given(st.builds(Refuse, st.integers(), st.text(), st.lists(st.tuples(st.text(), st.text()))))
def test_whatever_a_refusal_says_its_head_is_well_formed(said):
    refusal, _ = refusal_at_the_door(said)
    assert 300 <= refusal.status <= 599
    for name, value in refusal.headers:
        line = f"{name}: {value}".encode("latin-1")
        assert not set(line) & {0, 10, 13}
    json.loads(refusal_of_message(said, "id:1"))


@pytest.mark.parametrize("code", [1000, 1008, 1011, 1013, 3000, 4999])
def test_codes_that_may_be_sent_stay(code):
    assert fit_close(Close(code, "why")) == (code, "why")


@pytest.mark.parametrize("code", [1001, 1002, 1005, 1006, 1015, 2999, 5000, -1, None, "4000"])
def test_other_codes_are_1008(code):
    assert fit_close(Close(code, "why"))[0] == 1008


@pytest.mark.parametrize("reason", [None, 7, b"x"])
def test_a_reason_for_a_close_that_is_no_text_is_none(reason):
    assert fit_close(Close(1000, reason)) == (1000, "")


def test_half_a_surrogate_pair_does_no_harm():
    fit_close(Close(1000, "\ud800"))[1].encode()
