"""wsgate.gateway.admission: what PHP's answer to a connect means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate import cgi, http1
from wsgate.gateway.actions import Close
from wsgate.gateway.admission import Accepted, RefusedByBackend, admission
from wsgate.gateway.answer import Reply, ScriptFailed, ScriptMissing

FATAL = b"PHP message: PHP Fatal error:  Uncaught Error"


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("Status", "Location", "Connection", "Upgrade", "Content-Length", "X-Powered-By"),
                *("Set-Cookie", "Sec-WebSocket-Protocol", "Wsgate-User", "Content-Type", "X-Any"),
            ]
        ),
        st.sampled_from(["200", "204", "302", "403", "500", "v1", "v9", "5", "text/html", "/x"])
        | st.text("ab\x0b\x85\xff \t,;", max_size=8),
    ),
    max_size=6,
)


@given(HEADERS, st.binary(max_size=8))
def test_whatever_php_says_is_an_admission_a_refusal_or_a_failure(headers, body):
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    refused = admitted = None
    try:
        admitted = ask(lines.encode("latin-1") + b"\r\n" + body)
    except RefusedByBackend as error:
        refused = error
    except (cgi.MalformedResponse, ScriptFailed, ScriptMissing):
        pass
    if admitted is not None:
        assert admitted.accepted.subprotocol in ("v1", "v2", None)
        assert {name for name, _ in admitted.accepted.headers} <= {"Set-Cookie"}
        assert not any(set(value) & set("\r\n") for _, value in admitted.accepted.headers)
    if refused is not None:
        assert 300 <= refused.status <= 599
        names = {name.lower() for name, _ in refused.headers}
        assert not names & {"connection", "upgrade", "content-length", "status", "x-powered-by"}
        assert not any(name.startswith("wsgate-") for name in names)
        answer = http1.response(refused.status, refused.headers, refused.body)
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert rest == refused.body
        assert len(head.split(b"\r\n")) == len(refused.headers) + 3


def ask(stdout: bytes, stderr=b"", offered=("v1", "v2"), subprotocol="v1"):
    return admission(stdout, stderr, offered, subprotocol)


def test_2xx_lets_the_client_in_with_the_subprotocol_of_the_settings():
    admitted = ask(b"Content-Type: text/html\r\n\r\n")
    assert admitted.accepted == Accepted((), "v1")
    assert admitted.first == Reply(None)
    assert (admitted.fault, admitted.warnings) == (None, ())


def test_204_lets_in_too():
    assert ask(b"Status: 204\r\n\r\n").first == Reply(None)


def test_a_body_is_the_first_message_by_the_rules_of_messages():
    assert ask(b"Content-Type: text/plain\r\n\r\nhi").first == Reply(b"hi", False)
    assert ask(b"Content-Type: image/png\r\n\r\n\xff").first == Reply(b"\xff", True)


def test_a_body_that_is_no_message_lets_in_and_is_a_fault():
    admitted = ask(b"Content-Type: text/plain\r\n\r\n\xff")
    assert admitted.first is None
    assert "not UTF-8" in str(admitted.fault)


def test_every_cookie_goes_into_the_101_and_nothing_else_does():
    admitted = ask(b"Set-Cookie: a=1\r\nX-Other: b\r\nset-cookie: c=2; Secure\r\n\r\n")
    assert admitted.accepted.headers == (("Set-Cookie", "a=1"), ("Set-Cookie", "c=2; Secure"))


def test_php_may_take_another_of_the_subprotocols_that_were_offered():
    assert ask(b"Sec-WebSocket-Protocol: v2\r\n\r\n").accepted.subprotocol == "v2"


@pytest.mark.parametrize(
    "header",
    [
        b"Sec-WebSocket-Protocol: v3",
        b"Sec-WebSocket-Protocol: ",
        b"Sec-WebSocket-Protocol: v1, v2",
        b"Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v2",
    ],
)
def test_a_subprotocol_that_was_not_offered_is_a_warning_and_none_is_used(header):
    admitted = ask(header + b"\r\n\r\n")
    assert admitted.accepted.subprotocol is None
    assert "Sec-WebSocket-Protocol" in admitted.warnings[0]


def test_a_close_may_follow_at_once():
    admitted = ask(b"Wsgate-Close: 4001 later\r\n\r\n")
    assert admitted.first == Reply(None, close=Close(4001, "later"))


@pytest.mark.parametrize("status", [300, 301, 302, 400, 401, 403, 404, 418, 500, 503, 599])
def test_any_other_status_refuses_with_headers_and_body(status):
    with pytest.raises(RefusedByBackend) as caught:
        ask(b"Status: %d Whatever\r\nLocation: /login\r\n\r\nplease log in" % status)
    assert caught.value.status == status
    assert caught.value.headers == (("Location", "/login"),)
    assert caught.value.body == b"please log in"


def test_headers_of_the_connection_and_of_wsgate_do_not_reach_the_client():
    with pytest.raises(RefusedByBackend) as caught:
        ask(
            b"Status: 401\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\nUpgrade: x\r\nTE: x\r\n"
            b"Transfer-Encoding: chunked\r\nTrailer: x\r\nContent-Length: 2\r\nWsgate-User: 7\r\n"
            b"X-Powered-By: PHP/8\r\nWWW-Authenticate: Basic\r\nSet-Cookie: a=1\r\n"
            b"Set-Cookie: b=2\r\n\r\nno"
        )
    assert caught.value.headers == (
        ("Www-Authenticate", "Basic"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
    )


def test_a_304_has_no_body():
    with pytest.raises(RefusedByBackend) as caught:
        ask(b"Status: 304\r\n\r\nbody")
    assert caught.value.body == b""


@pytest.mark.parametrize("status", [200, 404, 500, 503])
def test_a_script_that_died_is_a_failure_and_its_text_stays_here(status):
    with pytest.raises(ScriptFailed):
        ask(b"Status: %d\r\n\r\nsecret" % status, FATAL)


def test_a_missing_script_is_not_the_scripts_own_404():
    with pytest.raises(ScriptMissing):
        ask(b"Status: 404 Not Found\r\n\r\nFile not found.\n", b"Primary script unknown")


def test_output_without_a_header_is_malformed():
    with pytest.raises(cgi.MalformedResponse):
        ask(b"hello")


def test_the_answer_to_a_connect_is_no_stream_and_says_so():
    admitted = ask(b"Wsgate-Stream: lines\n\none\ntwo\n")
    assert admitted.first.payload == b"one\ntwo\n"
    (warning,) = admitted.warnings
    assert warning.startswith("Wsgate-Stream: the answer to a connect goes out whole")
