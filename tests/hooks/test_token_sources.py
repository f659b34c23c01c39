"""wsgate.hooks.tokens.sources: where a client brings a token."""

import pytest

from tests.hooks.connections import FakeConnection
from wsgate.hooks.tokens.sources import Denied, presented, source


def found(*sources, **about):
    return presented([source(text) for text in sources], FakeConnection(**about))


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER   abc ", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearer a b", None),
        ("Bearerabc", None),
        ("", None),
    ],
)
def test_a_bearer_token_is_in_authorization(value, token):
    assert found("authorization", headers=[("Authorization", value)]) == token


def test_a_token_is_at_each_of_its_places():
    assert found("header:X-Key", headers=[("x-key", "k")]) == "k"
    assert found("cookie:jwt", cookies={"jwt": "c"}) == "c"
    assert found("query:token", query="a=1&token=q") == "q"
    assert found("subprotocol:bearer.", offered=["chat.v1", "bearer.s"]) == "s"
    assert found("first_message") is None
    assert found("authorization", "cookie:jwt", "query:token", "subprotocol:bearer.") is None


def test_the_first_place_that_has_something_counts():
    about = {"query": "token=q", "cookies": {"jwt": "c"}}
    assert found("cookie:jwt", "query:token", **about) == "c"
    assert found("query:token", "cookie:jwt", **about) == "q"
    assert found("authorization", "query:token", **about) == "q"
    assert found("query:token", "cookie:jwt", query="token=", cookies={"jwt": "c"}) == "c"


def test_two_of_the_same_are_ambiguous():
    with pytest.raises(Denied):
        found("authorization", headers=[("Authorization", "Bearer a"), ("authorization", "b c")])
    with pytest.raises(Denied):
        found("header:x", headers=[("x", "a"), ("x", "a")])
    with pytest.raises(Denied):
        found("subprotocol:bearer.", offered=["bearer.a", "bearer.b"])


def test_a_token_is_never_the_subprotocol():
    connection = FakeConnection(offered=["bearer.s", "chat.v1"])
    connection.subprotocol = "bearer.s"
    assert presented([source("subprotocol:bearer.")], connection) == "s"
    assert connection.subprotocol is None
    connection.subprotocol = "chat.v1"
    assert presented([source("subprotocol:bearer.")], connection) == "s"
    assert connection.subprotocol == "chat.v1"
