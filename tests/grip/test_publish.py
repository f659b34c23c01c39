"""wsgate.grip.publish: what /publish/ takes."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.gateway.actions import Close
from wsgate.grip.answer import Say
from wsgate.grip.publish import MAX_ITEMS, BadPublish, Item, parse_items


def parse(*items):
    return parse_items(json.dumps({"items": items}).encode())


def test_what_php_grip_sends():
    assert parse(
        {"formats": {"ws-message": {"content": "hi"}}, "channel": "room"},
        {
            "formats": {"ws-message": {"content-bin": "/w=="}},
            "id": "2",
            "prev-id": "1",
            "channel": "room",
        },
        {"formats": {"ws-message": {"action": "close", "code": 4001}}, "channel": "room"},
        {"formats": {"http-stream": {"content": "hi\n"}}, "channel": "room"},
    ) == [
        Item("room", Say(b"hi", False)),
        Item("room", Say(b"\xff", True), "2", "1"),
        Item("room", Close(4001, "")),
        Item("room", None),
    ]


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ({"content": ""}, Say(b"", False)),
        ({"content": "ü", "type": "binary"}, Say("ü".encode(), True)),
        ({"content-bin": "aGk=", "type": "text"}, Say(b"hi", False)),
        ({"action": "send", "content": "x"}, Say(b"x", False)),
        ({"action": "hint"}, None),
        ({"action": "close"}, Close(1000, "")),
        ({"action": "close", "code": 4000, "reason": "bye"}, Close(4000, "bye")),
    ],
)
def test_formats_may_stand_in_the_item_itself(message, what):
    assert parse({"channel": "a", "ws-message": message}) == [Item("a", what)]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("x", "not an object"),
        ({}, "content is missing"),
        ({"content": 5}, "content is not a text"),
        ({"content-bin": "?"}, "not base64"),
        ({"content-bin": "/w==", "type": "text"}, "not UTF-8"),
        ({"content": "x", "type": "ping"}, "type is text or binary"),
        ({"content": "x", "content-filters": ["skip-self"]}, "filters are not supported"),
        ({"action": "refresh"}, "action is"),
        ({"action": "close", "code": 1005}, "code is"),
        ({"action": "close", "code": 0}, "code is"),
        ({"action": "close", "code": "4000"}, "code is"),
        ({"action": "close", "reason": 5}, "reason is"),
    ],
)
def test_a_wrong_message_says_which_and_why(message, why):
    good = {"channel": "a", "ws-message": {"content": "x"}}
    with pytest.raises(BadPublish, match=rf"^items\[1\]: .*{why}"):
        parse(good, {"channel": "a", "ws-message": message})


@pytest.mark.parametrize(
    "item",
    [5, {}, {"channel": ""}, {"channel": 5}, {"channel": "a", "formats": []}, {"id": 5}],
)
def test_a_wrong_item_is_refused(item):
    with pytest.raises(BadPublish, match=r"items\[0\]"):
        parse(item)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"items":{}}', b"\xff", b"[" * 10**5])
def test_a_body_without_items_is_refused(body):
    with pytest.raises(BadPublish, match="the body is not"):
        parse_items(body)


def test_as_many_items_as_are_allowed_and_one_more():
    item = {"channel": "a", "ws-message": {"content": "x"}}
    assert len(parse(*[item] * MAX_ITEMS)) == MAX_ITEMS
    with pytest.raises(BadPublish, match="more than 1000"):
        parse(*[item] * (MAX_ITEMS + 1))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["items", "channel", "formats", "ws-message", "content", "action", "code"]
                ),
                inner,
            )
        ),
    )
)
def test_any_json_is_items_or_refused(value):
    with contextlib.suppress(BadPublish):
        parse_items(json.dumps({"items": [value]}).encode())
