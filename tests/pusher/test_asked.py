"""wsgate.pusher.asked and told: messages of the protocol, both ways."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.pusher import told
from wsgate.pusher.asked import (
    BadMessage,
    ClientEvent,
    Ping,
    Pong,
    SignIn,
    Subscribe,
    Unknown,
    Unsubscribe,
    parse,
)


def message(event, data=None, **more):
    return json.dumps({"event": event, "data": data, **more}).encode()


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b'{"event":"pusher:ping"}', Ping()),
        (message("pusher:ping", {}), Ping()),
        (message("pusher:pong", {}), Pong()),
        (message("pusher:subscribe", {"channel": "a"}), Subscribe("a", "", None)),
        (
            message("pusher:subscribe", {"channel": "a", "auth": "", "channel_data": ""}),
            Subscribe("a", "", None),
        ),
        (
            message("pusher:subscribe", {"channel": "a", "auth": None, "channel_data": None}),
            Subscribe("a", "", None),
        ),
        (
            message("pusher:subscribe", '{"channel":"a","auth":"k:s","channel_data":"{ }"}'),
            Subscribe("a", "k:s", "{ }"),
        ),
        (message("pusher:unsubscribe", {"channel": "a"}), Unsubscribe("a")),
        (message("pusher:signin", {"auth": "k:s", "user_data": "{}"}), SignIn("k:s", "{}")),
        (
            message("client-typing", {"x": 1}, channel="a"),
            ClientEvent("client-typing", "a", {"x": 1}),
        ),
        (message("client-typing", "text", channel="a"), ClientEvent("client-typing", "a", "text")),
        (b'{"event":"client-x","channel":"a"}', ClientEvent("client-x", "a", None)),
        (message("pusher:something_new", {}), Unknown()),
        (message("chat", {}), Unknown()),
    ],
)
def test_messages_of_the_protocol_are_understood(payload, said):
    assert parse(payload) == said


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b"{}",
        b'{"event":1}',
        b'{"event":"pusher:subscribe"}',
        b'{"event":"pusher:subscribe","data":[]}',
        b'{"event":"pusher:subscribe","data":{}}',
        b'{"event":"pusher:subscribe","data":{"channel":1}}',
        b'{"event":"pusher:subscribe","data":{"channel":"a","auth":1}}',
        b'{"event":"pusher:subscribe","data":"no json"}',
        b'{"event":"pusher:unsubscribe","data":{"channel":null}}',
        b'{"event":"pusher:signin","data":{"auth":"a"}}',
        b'{"event":"client-x","data":{}}',
        b'{"event":"client-x","channel":"a","data":NaN}',
        b'{"event":"client-x","channel":"a","data":1e999}',
        b'{"event":"client-x","channel":"a","data":"\\ud800"}',
        b'{"event":"client-x","channel":"\\udfff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"event":' + b"9" * 10_000 + b"}",
        b"\xff",
        '{"event":"pusher:ping"}'.encode("utf-16"),
    ],
)
def test_anything_else_is_a_bad_message(payload):
    with pytest.raises(BadMessage):
        parse(payload)


@given(st.binary() | st.text().map(str.encode))
def test_no_bytes_raise_anything_else(payload):
    with contextlib.suppress(BadMessage):
        parse(payload)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_the_data_of_an_event_is_json_in_a_string(data):
    told_event = json.loads(told.event("pusher:x", data, channel="c"))
    assert told_event["channel"] == "c"
    if isinstance(data, str):
        assert told_event["data"] == data
    else:
        assert json.loads(told_event["data"]) == ({} if data is None else data)


@given(JSON)
def test_a_clients_event_goes_on_as_it_came(data):
    said = parse(message("client-x", data, channel="a"))
    passed = json.loads(told.client_event(said.name, said.channel, said.data, "7"))
    assert passed == {"event": "client-x", "channel": "a", "data": data, "user_id": "7"}


def test_without_a_user_a_clients_event_names_none():
    assert told.client_event("client-x", "a", None, None) == (
        b'{"event":"client-x","channel":"a","data":null}'
    )


def test_half_a_character_is_sent_as_an_escape():
    assert told.event("e", "\ud83d") == b'{"event":"e","data":"\\ud83d"}'
    assert told.event("e", "é") == '{"event":"e","data":"é"}'.encode()


@pytest.mark.parametrize(("seconds", "whole"), [(30.0, 30), (0.2, 1), (1.4, 1), (120, 120)])
def test_the_first_event_names_the_socket_and_whole_seconds(seconds, whole):
    first = json.loads(told.established("1.2", seconds))
    assert first["event"] == "pusher:connection_established"
    assert json.loads(first["data"]) == {"socket_id": "1.2", "activity_timeout": whole}


def test_presence_data_has_count_ids_and_hash():
    assert told.presence({"1": {"n": "a"}, "2": None}) == {
        "presence": {"count": 2, "ids": ["1", "2"], "hash": {"1": {"n": "a"}, "2": None}}
    }


def test_a_pong_is_what_clients_expect():
    assert told.PONG == b'{"event":"pusher:pong","data":"{}"}'
