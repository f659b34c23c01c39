"""wsgate.hooks.sql: whom it asks what about, and what it makes of the answer."""

from collections import Counter
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.python.failure import Failure

from tests.hooks.connections import FakeConnection
from wsgate.config.hooks import OptionError
from wsgate.config.sql import SqlOptions
from wsgate.hooks import Message, Refuse
from wsgate.hooks.sql import make
from wsgate.stores import StoreAway, StoreError, StoreTimeout, StoreValue
from wsgate.stores.statement import parse


class FakeStore:
    kind = "postgresql"

    def __init__(self):
        self.asked = []
        self.answer = succeed([{"id": 7, "plan": "pro"}])

    def check(self, sql, count):
        if parse(sql, "postgresql").count != count:
            raise ValueError("another number")

    def query(self, sql, *values):
        self.asked.append(values)
        return self.answer


@pytest.fixture
def store():
    return FakeStore()


def hook_of(database, counts=None, **options):
    options.setdefault("query", "select 1 where 'x' = ?")
    options.setdefault("values", ("query:token",))
    services = SimpleNamespace(
        name="check",
        stores={"users": database, "cache": SimpleNamespace(kind="memcached")},
        count=lambda name, word: counts.update([word]) if counts is not None else None,
    )
    return make(services, SqlOptions(**{"store": "users", **options}))


def now(awaitable):
    """What has come of it; an exception is raised."""
    found = []
    ensureDeferred(awaitable).addBoth(found.append)
    if found and isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0] if found else "nothing yet"


def connect(hook, connection=None):
    return now(hook.on_connect(connection or FakeConnection(query="token=t")))


def message(payload):
    is_binary = isinstance(payload, bytes)
    data = payload if is_binary else payload.encode()
    return Message("c1:1", data, is_binary, lambda _: None)


def test_a_row_lets_in_and_tells_php(store):
    counts = Counter()
    hook = hook_of(store, counts, params={"USER_PLAN": "plan"}, user_column="id")
    connection = FakeConnection(query="token=t")
    assert connect(hook, connection) is None
    assert store.asked == [("t",)]
    assert connection.params == {"USER_PLAN": "pro"}
    assert connection.user == "7"
    assert counts == {"let_in": 1}


def test_no_row_refuses(store):
    store.answer = succeed([])
    counts = Counter()
    assert connect(hook_of(store, counts)) == Refuse(403, "not allowed")
    assert connect(hook_of(store, counts, status=401, reason="no")) == Refuse(401, "no")
    assert counts == {"no_row": 2}


@pytest.mark.parametrize("query", ["", "token=", "other=1", "token=" + "x" * 8193])
def test_a_missing_value_refuses_without_a_query(store, query):
    counts = Counter()
    assert isinstance(connect(hook_of(store, counts), FakeConnection(query=query)), Refuse)
    assert store.asked == []
    assert counts == {"missing": 1}


@pytest.mark.parametrize(
    "other",
    [
        *(
            "room=theirs",
            "%72oom=theirs",
            "room[]=theirs",
            "room%5bx%5d=theirs",
            "room",
            "room=mine",
        ),
        *("+room=theirs", "%20room=theirs", "room%00x=theirs"),
    ],
)
def test_what_php_could_take_for_the_same_parameter_is_refused(store, other):
    hook = hook_of(store, values=("query:room",))
    for query in (f"room=mine&{other}", f"{other}&room=mine"):
        assert isinstance(connect(hook, FakeConnection(query=query)), Refuse)
    assert store.asked == []


def test_a_parameter_is_decoded_as_php_does_it(store):
    hook = hook_of(store, values=("query:my.room",))
    for query, value in (("my.room=a+b%2Bc%C3%A9", "a b+cé"), ("my_room=x&other=y", "x")):
        assert connect(hook, FakeConnection(query=query)) is None
        assert store.asked.pop() == (value,)
    assert isinstance(connect(hook, FakeConnection(query="my_room=%ff")), Refuse)


def test_a_value_may_be_as_long_as_the_bound_in_utf_8(store):
    hook = hook_of(store, max_value=4, values=("user",))
    for user, passes in (("éé", True), ("ééx", False), ("abcd", True), ("abcde", False)):
        connection = FakeConnection()
        connection.user = user
        assert (connect(hook, connection) is None) is passes


def test_values_come_from_everywhere_in_the_order_asked(store):
    sources = (
        *("cookie:sid", "query:token", "header:X-Key", "user", "address", "path", "param:A"),
        "query:token",
    )
    connection = FakeConnection(
        query="token=t", headers=[("x-key", "k")], cookies={"sid": "s"}, path="/chat"
    )
    connection.user = "u"
    connection.params = {"A": "a"}
    asked = "select " + ", ".join("?" * len(sources))
    assert connect(hook_of(store, query=asked, values=sources), connection) is None
    assert store.asked == [("s", "t", "k", "u", "192.0.2.1", "/chat", "a", "t")]


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ('{"room":"a"}', "a"),
        ('{"room":5}', "5"),
        ('{"room":"a","room":"b"}', "b"),
        ('{"room":true}', None),
        ('{"room":1.5}', None),
        ('{"room":null}', None),
        ('{"room":{"a":1}}', None),
        ('{"room":""}', None),
        ('["room"]', None),
        ("{", None),
        ("[" * 100_000, None),
        ('{"room":' + "1" * 5000 + "}", None),
        (b'{"room":"a"}', None),
    ],
)
def test_a_field_of_a_message_is_text_or_a_whole_number(store, payload, value):
    hook = hook_of(store, on="message", values=("json:room",))
    assert hook.on_connect(FakeConnection()) is None
    said = now(hook.on_message(FakeConnection(), message(payload)))
    assert store.asked == ([] if value is None else [(value,)])
    assert isinstance(said, Refuse) is (value is None)


def test_a_whole_message_can_be_the_value(store):
    hook = hook_of(store, on="message", values=("message",))
    assert now(hook.on_message(FakeConnection(), message("hello"))) is None
    assert isinstance(now(hook.on_message(FakeConnection(), message(b"hello"))), Refuse)
    assert store.asked == [("hello",)]


@pytest.mark.parametrize("error", [StoreAway("x"), StoreTimeout("x")])
def test_a_store_that_fails_is_for_the_route_to_decide_about(store, error):
    store.answer = fail(error)
    with pytest.raises(StoreError):
        connect(hook_of(store))


def test_a_value_that_cannot_be_converted_refuses_and_is_no_failure(store):
    counts = Counter()
    store.answer = fail(StoreValue("x"))
    assert isinstance(connect(hook_of(store, counts)), Refuse)
    assert counts == {"wrong_value": 1}


def test_a_store_that_a_reload_has_taken_away_is_a_failure(store):
    hook = hook_of(store)
    hook._stores.clear()
    with pytest.raises(StoreAway):
        connect(hook)


def test_nobody_is_let_in_before_the_answer(store):
    store.answer = Deferred()
    assert connect(hook_of(store)) == "nothing yet"


@pytest.mark.parametrize(
    ("value", "param"),
    [(None, None), (True, "1"), (False, "0"), (3, "3"), (b"x", "x"), ("", None), (1.5, "1.5")],
)
def test_columns_become_text(store, value, param):
    store.answer = succeed([{"plan": value}])
    connection = FakeConnection(query="token=t")
    assert connect(hook_of(store, params={"P": "plan"}), connection) is None
    assert connection.params.get("P") == param


def test_a_message_whose_question_fails_has_no_params_of_the_one_before(store):
    hook = hook_of(store, on="message", values=("message",), params={"ROLE": "role"})
    connection = FakeConnection()
    store.answer = succeed([{"role": "admin"}])
    now(hook.on_message(connection, message("mine")))
    assert connection.params == {"ROLE": "admin"}
    store.answer = fail(StoreTimeout("x"))
    with pytest.raises(StoreError):
        now(hook.on_message(connection, message("another's")))
    assert connection.params == {}


def test_a_user_that_is_null_is_refused(store):
    store.answer = succeed([{"id": None}])
    assert isinstance(connect(hook_of(store, user_column="id")), Refuse)


def test_a_column_that_is_not_there_is_a_failure(store):
    with pytest.raises(StoreError, match="nothing"):
        connect(hook_of(store, user_column="nothing"))


@pytest.mark.parametrize(
    ("options", "option", "why"),
    [
        ({"store": "user"}, "store", "did you mean users?"),
        ({"store": "cache"}, "store", "a memcached"),
        ({"values": ()}, "query", "another number"),
        ({"query": "select 1; select ?"}, "query", "more than one"),
        ({"values": ("json:room",)}, "values", 'on = "message"'),
        ({"values": ("message",)}, "values", 'on = "message"'),
        ({"params": {"HTTP_PLAN": "plan"}}, "params", "give that param a meaning; write another"),
    ],
)
def test_what_cannot_be_is_told_at_the_start(store, options, option, why):
    with pytest.raises(OptionError, match=why.replace("?", r"\?")) as caught:
        hook_of(store, **options)
    assert caught.value.option == option
