"""wsgate.grip.control: what a script may ask of the gateway."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.grip.control import (
    LONGEST_TIMEOUT,
    MAX_CONTROL,
    BadControl,
    Detach,
    FlushDelayed,
    KeepAlive,
    SendDelayed,
    Subscribe,
    Unsubscribe,
    parse_control,
)


def parse(**message):
    return parse_control(json.dumps(message).encode())


@pytest.mark.parametrize(
    ("message", "control"),
    [
        ({"type": "subscribe", "channel": "a"}, Subscribe("a")),
        ({"type": "subscribe", "channel": "a", "filters": []}, Subscribe("a")),
        ({"type": "unsubscribe", "channel": "a"}, Unsubscribe("a")),
        ({"type": "detach"}, Detach()),
        ({"type": "keep-alive"}, KeepAlive(None)),
        ({"type": "keep-alive", "content": "x"}, KeepAlive(b"x")),
        (
            {
                "type": "keep-alive",
                "content-bin": "/w==",
                "message-type": "binary",
                "timeout": 20,
                "mode": "interval",
            },
            KeepAlive(b"\xff", "binary", 20.0, "interval"),
        ),
        (
            {"type": "keep-alive", "content": "", "message-type": "ping", "timeout": 1e9},
            KeepAlive(b"", "ping", LONGEST_TIMEOUT),
        ),
        ({"type": "send-delayed", "content": "ü"}, SendDelayed("ü".encode())),
        ({"type": "flush-delayed"}, FlushDelayed()),
    ],
)
def test_what_is_understood(message, control):
    assert parse(**message) == control


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({}, "type 'None' is not supported"),
        ({"type": "session", "id": "x"}, "type 'session' is not supported"),
        ({"type": ["subscribe"]}, "is not supported"),
        ({"type": "subscribe"}, "channel is missing"),
        ({"type": "subscribe", "channel": ""}, "channel is missing"),
        ({"type": "subscribe", "channel": 5}, "channel is missing or not a text"),
        ({"type": "subscribe", "channel": "a", "filters": ["skip-self"]}, "filters"),
        ({"type": "keep-alive", "content": 5}, "content is not a text"),
        ({"type": "keep-alive", "content": "\ud800"}, "half a surrogate"),
        ({"type": "keep-alive", "content-bin": "!"}, "not base64"),
        ({"type": "keep-alive", "content-bin": 5}, "not base64"),
        ({"type": "keep-alive", "content": "x", "mode": "often"}, "mode is"),
        ({"type": "keep-alive", "content": "x", "message-type": "x"}, "message-type is"),
        ({"type": "keep-alive", "content": "x", "timeout": 0}, "timeout is"),
        ({"type": "keep-alive", "content": "x", "timeout": True}, "timeout is"),
        ({"type": "keep-alive", "content": "x", "timeout": "5"}, "timeout is"),
        ({"type": "send-delayed"}, "content is missing"),
    ],
)
def test_what_cannot_be_followed_says_why(message, why):
    with pytest.raises(BadControl, match=why):
        parse(**message)


def test_not_a_number_is_no_timeout():
    with pytest.raises(BadControl, match="timeout is"):
        parse_control(b'{"type":"keep-alive","content":"x","timeout":NaN}')


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'"subscribe"', b"\xff", b"[" * 50_000])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(BadControl, match="not"):
        parse_control(text)


def test_the_longest_message_and_one_byte_more():
    message = b'{"type":"detach"}'
    assert parse_control(message + b" " * (MAX_CONTROL - len(message))) == Detach()
    with pytest.raises(BadControl, match="longer"):
        parse_control(message + b" " * (MAX_CONTROL - len(message) + 1))


@given(
    st.binary(max_size=100)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["type", "channel", "content", "content-bin", "timeout", "mode"]),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_a_control_message_or_refused(text):
    with contextlib.suppress(BadControl):
        parse_control(text)
