"""wsgate.websocket.handshake: what may become a WebSocket."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.http1 import BadRequest, RequestHead, parse_request_head
from wsgate.websocket.handshake import (
    HeadBuffer,
    Refused,
    Upgrade,
    accept_response,
    autobahn_head,
    check_origin,
    check_request,
    check_upgrade,
    choose_subprotocol,
    wants_websocket,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    b"host": b"example.com",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": KEY,
}


def head(target=b"/", method=b"GET", version=b"HTTP/1.1", extra=(), **changed) -> RequestHead:
    fields = {**GOOD, **{name.replace("_", "-").encode(): v for name, v in changed.items()}}
    kept = [(name, value) for name, value in fields.items() if value is not None]
    return RequestHead(method, target, version, (*kept, *extra))


def refusal(check, *args) -> int:
    with pytest.raises(Refused) as caught:
        check(*args)
    return caught.value.status


# -- the buffer


def test_a_head_of_the_limit_passes_and_one_byte_more_does_not():
    whole = b"GET / HTTP/1.1\r\n\r\n"
    assert HeadBuffer(len(whole)).receive_data(whole) == (whole, b"")
    with pytest.raises(BadRequest) as caught:
        HeadBuffer(len(whole) - 1).receive_data(whole)
    assert caught.value.status == 431


def test_an_endless_head_ends_at_the_limit():
    buffer = HeadBuffer(100)
    assert buffer.receive_data(b"x" * 100) is None
    with pytest.raises(BadRequest):
        buffer.receive_data(b"x")


@given(st.lists(st.integers(0, 60)), st.binary(max_size=20))
def test_any_split_gives_the_same_head_and_rest(cuts, rest):
    whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    data = whole + rest
    buffer = HeadBuffer(100)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in pairwise(edges):
        found = buffer.receive_data(data[start:end])
        if found is not None:
            assert found[0] == whole
            assert found[1] + data[end:] == rest
            return
    pytest.fail("the head was not found")


# -- every request


def test_the_path_is_decoded_and_the_query_left_out():
    assert check_request(head(target=b"/ch%61t/%C3%A9?a=%00")) == "/chat/é"


@pytest.mark.parametrize(
    "target", [b"*", b"http://x/", b"chat", b"/a#b", b"/%00", b"/a%0ab", b"/%7f"]
)
def test_a_target_that_is_no_clean_path_is_400(target):
    assert refusal(check_request, head(target=target)) == 400


def test_other_versions_and_methods_are_refused():
    assert refusal(check_request, head(version=b"HTTP/1.0")) == 505
    assert refusal(check_request, head(version=b"HTTP/2.0")) == 505
    assert refusal(check_request, head(method=b"POST")) == 405


@pytest.mark.parametrize(
    "name",
    [b"host", b"origin", b"authorization", b"sec-websocket-key", b"sec-websocket-version"],
)
def test_a_field_that_must_be_single_may_not_be_repeated(name):
    extra = [(name, GOOD.get(name, b"x"))] * 2
    assert refusal(check_request, head(extra=extra)) == 400


@pytest.mark.parametrize(
    "field",
    [(b"transfer-encoding", b"chunked"), (b"content-length", b"5"), (b"content-length", b"x")],
)
def test_a_request_with_a_body_is_refused(field):
    assert refusal(check_request, head(extra=[field])) == 400
    check_request(head(extra=[(b"content-length", b"0")]))


@pytest.mark.parametrize("host", [None, b"", b"a b", b"a/b", b"u@h", b"h:99999999", b"\xff"])
def test_a_missing_or_odd_host_is_400(host):
    assert refusal(check_request, head(host=host)) == 400


@pytest.mark.parametrize("host", [b"a", b"A.b-c_d:80", b"[::1]", b"[::1]:8080", b"192.0.2.1:1"])
def test_ordinary_hosts_pass(host):
    check_request(head(host=host))


# -- the upgrade


def test_a_good_handshake_passes():
    assert wants_websocket(head())
    check_upgrade(head())
    check_upgrade(head(connection=b"keep-alive, UPGRADE"))


def test_a_plain_request_is_told_from_an_upgrade():
    assert not wants_websocket(head(upgrade=None))
    assert not wants_websocket(head(upgrade=b"h2c"))
    assert wants_websocket(head(upgrade=b"h2c, WebSocket"))


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"connection": None}, 400),
        ({"connection": b"keep-alive"}, 400),
        ({"sec_websocket_version": None}, 426),
        ({"sec_websocket_version": b"8"}, 426),
        ({"sec_websocket_key": None}, 400),
        ({"sec_websocket_key": b"short=="}, 400),
        ({"sec_websocket_key": KEY[:-3] + b"R=="}, 400),
        ({"sec_websocket_key": b"*" * 22 + b"=="}, 400),
    ],
)
def test_a_bad_handshake_is_refused(changed, status):
    assert refusal(check_upgrade, head(**changed)) == status


def test_a_wrong_version_is_told_the_right_one():
    with pytest.raises(Refused) as caught:
        check_upgrade(head(sec_websocket_version=b"25"))
    assert caught.value.headers == (("Sec-WebSocket-Version", "13"),)


def test_head_cannot_upgrade():
    assert refusal(check_upgrade, head(method=b"HEAD")) == 405


# -- origins


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (b"http://example.com", b"example.com"),
        (b"https://EXAMPLE.com", b"example.COM"),
        (b"https://example.com", b"example.com:443"),
        (b"https://example.com:443", b"example.com"),
        (b"http://example.com:8080", b"example.com:8080"),
        (b"http://[::1]:8080", b"[::1]:8080"),
        (None, b"example.com"),
    ],
)
def test_pages_of_the_same_host_and_clients_without_origin_pass(origin, host):
    check_origin(head(origin=origin, host=host), ())


@pytest.mark.parametrize(
    "origin",
    [
        b"null",
        b"",
        b"http://evil.com",
        b"http://example.com.evil.com",
        b"http://evil-example.com",
        b"http://example.com:8080",
        b"http://user@example.com",
        b"http://example.com@evil.com",
        b"http://example.com/",
        b"file://example.com",
        b"http://example.com\\.evil.com",
        b"https://example.com:80",
        b"http://ex\xe4mple.com",
    ],
)
def test_pages_of_other_sites_are_refused(origin):
    assert refusal(check_origin, head(origin=origin), ()) == 403


def test_a_list_of_origins_replaces_the_same_host_rule():
    allowed = {"https://good.com", "null"}
    check_origin(head(origin=b"https://good.com"), allowed)
    check_origin(head(origin=b"HTTPS://GOOD.com"), allowed)
    check_origin(head(origin=b"null"), allowed)
    for origin in (b"http://good.com", b"https://good.com:444", b"http://example.com"):
        assert refusal(check_origin, head(origin=origin), allowed) == 403
    check_origin(head(origin=b"http://anything"), {"*"})


# -- subprotocols and the head for Autobahn


def test_the_clients_first_choice_that_is_spoken_wins():
    asked = head(sec_websocket_protocol=b"v3, v2,v1")
    assert choose_subprotocol(asked, ("v1", "v2")) == "v2"
    assert choose_subprotocol(asked, ("v9",)) is None
    assert choose_subprotocol(head(), ("v1",)) is None


def test_autobahn_sees_checked_values_only():
    evil = head(
        target=b"/x?y", cookie=b"a\x85Sec-WebSocket-Protocol: evil", origin=b"http://example.com"
    )
    made = autobahn_head(Upgrade(evil, "v1"))
    assert dict(parse_request_head(made, max_lines=9).headers) == {
        b"host": b"wsgate",
        b"upgrade": b"websocket",
        b"connection": b"Upgrade",
        b"sec-websocket-version": b"13",
        b"sec-websocket-key": KEY,
        b"sec-websocket-protocol": b"v1",
    }


def test_extensions_are_passed_on_only_if_clean():
    offer = head(sec_websocket_extensions=b"permessage-deflate; client_max_window_bits")
    assert b"client_max_window_bits" in autobahn_head(Upgrade(offer, None))
    dirty = head(sec_websocket_extensions=b"x\x85Host: evil")
    assert b"Extensions" not in autobahn_head(Upgrade(dirty, None))


def test_the_accept_is_the_rfcs_example():
    answer = accept_response(Upgrade(head(), "v1"))
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert b"\r\nSec-WebSocket-Protocol: v1\r\n" in answer
