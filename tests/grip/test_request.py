"""wsgate.grip.request: what PHP sees, and what a client can not make it see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate import cgi
from wsgate.grip.request import NO_META, TooMuchMeta, changed_meta, meta_params, replayed
from wsgate.http1 import RequestHead


def params_of(*headers):
    head = replayed(RequestHead(b"GET", b"/", b"HTTP/1.1", headers))
    return dict(cgi.header_params(head.headers))


def test_the_clients_headers_come_with_every_request():
    assert params_of(
        (b"cookie", b"a=b"),
        (b"host", b"example.com"),
        (b"sec-websocket-protocol", b"chat"),
        (b"authorization", b"Bearer x"),
    ) == {
        b"HTTP_COOKIE": b"a=b",
        b"HTTP_HOST": b"example.com",
        b"HTTP_SEC_WEBSOCKET_PROTOCOL": b"chat",
        b"HTTP_AUTHORIZATION": b"Bearer x",
    }


@pytest.mark.parametrize(
    "name",
    [
        *(b"connection-id", b"meta-user", b"meta-", b"grip-sig", b"grip-feature", b"grip-last"),
        *(b"content-type", b"content-length", b"content-encoding", b"accept"),
        *(b"sec-websocket-extensions", b"upgrade", b"connection", b"keep-alive"),
        *(b"transfer-encoding", b"expect", b"content-bytes-replayed", b"accept-encoding"),
        *(b"meta_user", b"connection_id", b"grip_sig", b"content_type"),
    ],
)
def test_what_only_the_gateway_may_say_is_never_the_clients(name):
    assert params_of((name, b"forged")) == {}


def test_meta_is_kept_changed_and_forgotten():
    meta = changed_meta(NO_META, (("user", "alice"), ("room", "1")), count=2, size=100)
    assert meta == {"user": "alice", "room": "1"}
    again = changed_meta(meta, (("user", "bob"), ("room", "")), count=2, size=100)
    assert again == {"user": "bob"}
    assert meta == {"user": "alice", "room": "1"}
    assert changed_meta(again, (("never-there", ""),), count=1, size=100) == again


def test_meta_is_bounded_in_number_and_bytes():
    three = tuple((str(number), "x") for number in range(3))
    assert len(changed_meta(NO_META, three, count=3, size=6)) == 3
    with pytest.raises(TooMuchMeta) as error:
        changed_meta(NO_META, three, count=2, size=6)
    assert error.value.limit == "variables_per_connection"
    with pytest.raises(TooMuchMeta) as error:
        changed_meta(NO_META, three, count=3, size=5)
    assert error.value.limit == "variable_bytes_per_connection"
    assert len(changed_meta(NO_META, three, count=0, size=0)) == 3


@pytest.mark.parametrize("name", ["", "a_b", "a.b", "A", "x" * 129, "é"])
def test_a_name_that_could_be_taken_for_another_is_refused(name):
    with pytest.raises(ValueError, match="a name has letters"):
        changed_meta(NO_META, ((name, "x"),), count=0, size=0)


def test_meta_comes_back_as_headers_do():
    assert meta_params({"user-name": "Zo\xc3\xab"}) == [(b"HTTP_META_USER_NAME", "Zoë".encode())]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "1", "2"]))))
def test_the_last_word_of_a_name_holds(changes):
    expected = {name: value for name, value in dict(changes).items() if value}
    assert changed_meta(NO_META, tuple(changes), count=0, size=0) == expected
