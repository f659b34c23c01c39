"""wsgate.pusher.calls: who may call the HTTP API, and what it takes."""

import contextlib
import hashlib
import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.pusher.app import App
from wsgate.pusher.calls import Call, Refused, Trigger, batch, check_call, info, trigger
from wsgate.pusher.signatures import request_signature

APP = App(id="3", key="key", secret=b"secret", max_event_size=1000)
NOW = 1_700_000_000.0


def call(method="GET", path="/apps/3/channels", body=b"", now=NOW, sent_path=None, **query):
    query = {"auth_key": "key", "auth_timestamp": str(int(now)), "auth_version": "1.0", **query}
    if body:
        query["body_md5"] = hashlib.md5(body).hexdigest()
    signed = {name: ",".join(v) if isinstance(v, list) else v for name, v in query.items()}
    query["auth_signature"] = request_signature(b"secret", method, path, signed.items())
    written = {}
    for name, value in query.items():
        if isinstance(value, list):
            written |= {f"{name}[{i}]": item for i, item in enumerate(value)}
        else:
            written[name] = value
    return Call(method, sent_path or path, urlencode(written), body)


def status(function, *arguments):
    with pytest.raises(Refused) as caught:
        function(*arguments)
    return caught.value.status


def test_a_signed_call_gives_its_query():
    asked = call(filter_by_prefix="presence-", info="user_count")
    query = check_call(APP, asked, NOW)
    assert query["filter_by_prefix"] == "presence-"
    assert query["info"] == "user_count"


def test_values_are_signed_as_they_are_and_sent_encoded():
    assert check_call(APP, call(filter_by_prefix="a&b=c d+é"), NOW)["filter_by_prefix"] == (
        "a&b=c d+é"
    )


def test_a_list_of_php_counts_as_one_value_with_commas():
    query = check_call(APP, call(info=["user_count", "subscription_count"]), NOW)
    assert query["info"] == "user_count,subscription_count"


def test_the_clock_may_differ_by_ten_minutes_and_no_more():
    for now in (NOW - 600, NOW + 600):
        check_call(APP, call(), now)
    for now in (NOW - 601, NOW + 601):
        assert status(check_call, APP, call(), now) == 401


@pytest.mark.parametrize(
    "wrong",
    [
        {"auth_key": "other"},
        {"auth_version": "2.0"},
        {"auth_timestamp": "now"},
        {"auth_timestamp": "-1"},
        {"auth_timestamp": "9" * 16},
    ],
)
def test_wrong_fields_are_unauthorized_even_if_signed(wrong):
    assert status(check_call, APP, call(**wrong), NOW) == 401


def test_a_changed_query_path_method_or_body_is_unauthorized():
    good = call("POST", "/apps/3/events", b'{"x":1}')
    check_call(APP, good, NOW)
    for changed in (
        good._replace(method="GET"),
        good._replace(path="/apps/3/batch_events"),
        good._replace(query=good.query + "&info=x"),
        good._replace(body=b'{"x":2}'),
        good._replace(query=""),
    ):
        assert status(check_call, APP, changed, NOW) == 401


def test_a_body_without_its_md5_in_the_query_is_unauthorized():
    assert status(check_call, APP, call("POST")._replace(body=b"{}"), NOW) == 401


def test_a_repeated_field_is_refused_whatever_is_signed():
    good = call()
    assert status(check_call, APP, good._replace(query=good.query + "&auth_key=key"), NOW) == 400
    many = "&".join(f"a{i}=1" for i in range(40))
    assert status(check_call, APP, good._replace(query=many), NOW) == 400


def test_a_path_may_be_signed_before_it_is_encoded():
    path = "/apps/3/users/Jörg 1/terminate_connections"
    check_call(APP, call("POST", path, b"{}", sent_path=quote(path)), NOW)
    encoded = quote(path)
    check_call(APP, call("POST", encoded, b"{}"), NOW)


def event(**more):
    return {"name": "e", "data": "{}", "channel": "c", **more}


def body(value):
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (event(), Trigger("e", "{}", ("c",), None, frozenset())),
        (
            {"name": "e", "data": "", "channels": ["c", "private-d", "c"]},
            Trigger("e", "", ("c", "private-d"), None, frozenset()),
        ),
        (event(socket_id=None), Trigger("e", "{}", ("c",), None, frozenset())),
        (
            event(socket_id="1.2", info="user_count,none,subscription_count"),
            Trigger(
                *("e", "{}", ("c",), "00000000000000010000000000000002"),
                frozenset({"user_count", "subscription_count"}),
            ),
        ),
        (
            event(channel="#server-to-user-7"),
            Trigger("e", "{}", ("#server-to-user-7",), None, frozenset()),
        ),
    ],
)
def test_a_body_says_an_event(said, expected):
    assert trigger(APP, body(said)) == expected


@pytest.mark.parametrize(
    "said",
    [
        [],
        {},
        event(name=""),
        event(name=1),
        event(name="n" * 201),
        event(data={"not": "a string"}),
        event(data=None),
        event(channel="a b"),
        event(channel="#other"),
        event(channel=1),
        event(channels=[]),
        event(channels=["c", 1]),
        event(channels=[f"c{i}" for i in range(101)]),
        event(socket_id="x"),
        event(socket_id=1),
        event(info=["user_count"]),
    ],
)
def test_anything_else_is_a_bad_request(said):
    assert status(trigger, APP, body(said)) == 400


def test_limits_are_met_at_the_bound():
    assert trigger(APP, body(event(name="n" * 200))).name == "n" * 200
    channels = [f"c{i}" for i in range(100)]
    assert trigger(APP, body({"name": "e", "data": "", "channels": channels})).channels == (
        tuple(channels)
    )
    assert trigger(APP, body(event(data="x" * 1000))).data == "x" * 1000
    assert status(trigger, APP, body(event(data="x" * 1001))) == 413
    assert status(trigger, APP, body(event(data="é" * 501))) == 413


def test_a_batch_has_ten_events_at_most_and_none_happens_if_one_is_wrong():
    assert len(batch(APP, body({"batch": [event()] * 10}))) == 10
    assert status(batch, APP, body({"batch": [event()] * 11})) == 400
    assert status(batch, APP, body({"batch": [event(), event(channel="a b")]})) == 400
    assert status(batch, APP, body({"batch": event()})) == 400
    assert status(batch, APP, b"{") == 400


def test_attributes_that_are_not_known_are_left_out():
    assert info(" user_count , x") == {"user_count"}
    assert info(None) == frozenset()


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")), st.text(), st.binary())
def test_whatever_comes_is_refused_in_words(query, path, sent):
    with pytest.raises(Refused):
        check_call(APP, Call("POST", path, query, sent), NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("c"),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["name", "data", "channel", "channels", "socket_id", "info", "batch"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(st.binary() | JSON.map(body))
def test_whatever_a_body_holds_is_an_event_or_refused(sent):
    for read in (trigger, batch):
        with contextlib.suppress(Refused):
            read(APP, sent)
