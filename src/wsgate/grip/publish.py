"""What `/publish/` is sent: items for channels, as JSON (Pushpin's EPCP). Pure."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from wsgate.channels.names import LONGEST_CHANNEL
from wsgate.gateway.actions import Close, is_sendable
from wsgate.grip.answer import Say
from wsgate.grip.control import BadControl, content_of

MAX_ITEMS = 1000

_OR_NONE = {"type": ["string", "null"]}
_BASE64 = {
    "type": "string",
    "contentEncoding": "base64",
    "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
}
_TYPE = {
    "enum": ["text", "binary"],
    "description": "Left out: as the content's name is. A text has to be UTF-8.",
}
_SEND = {"action": {"const": "send"}, "type": _TYPE}
_CODE = {
    "anyOf": [
        {"enum": [code for code in range(1000, 3000) if is_sendable(code)]},
        {"type": "integer", "minimum": 3000, "maximum": 4999},
    ],
    "default": 1000,
}


def _form(required: str, **properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": [required]}


_WS_MESSAGE = {
    "description": "What clients get; the action is send where it is left out.",
    "anyOf": [
        _form("content", **_SEND, content={"type": "string"}, **{"content-bin": {"type": "null"}}),
        _form("content-bin", **_SEND, **{"content-bin": _BASE64}),
        _form(
            "action",
            action={"const": "close"},
            code=_CODE,
            reason={"type": "string", "default": ""},
        ),
        _form("action", action={"const": "hint"}),
        {"type": "null"},
    ],
}
_ITEM = {
    "type": "object",
    "properties": {
        "channel": {"type": "string", "minLength": 1, "maxLength": LONGEST_CHANNEL},
        "formats": {"type": "object", "properties": {"ws-message": _WS_MESSAGE}},
        "id": _OR_NONE,
        "prev-id": _OR_NONE,
    },
    "required": ["channel"],
}
ITEMS = {
    "type": "object",
    "properties": {"items": {"type": "array", "maxItems": MAX_ITEMS, "items": _ITEM}},
    "required": ["items"],
}
"""What `parse_items` takes, in JSON Schema."""


class BadPublish(ValueError):
    """The body is not what `/publish/` takes; `str()` says why, for the publisher."""


class Item(NamedTuple):
    """One thing for the subscribers of `channel`.

    `what` is None where there is nothing for a WebSocket: a hint, or formats for HTTP alone. `id`
    names the item within its channel, `prev_id` the one before it.
    """

    channel: str
    what: Say | Close | None
    id: str | None = None
    prev_id: str | None = None


def parse_items(body: bytes) -> list[Item]:
    """The items of a request's body, in their order.

    Raises:
        BadPublish: it is no JSON of this form, has more than `MAX_ITEMS`, or asks for what is not
            supported: filters, `refresh`.
    """
    try:
        message = json.loads(body)
    # Deep nesting ends in a RecursionError.
    except (ValueError, RecursionError):
        raise BadPublish("the body is not JSON") from None
    items = message.get("items") if isinstance(message, dict) else None
    if not isinstance(items, list):
        raise BadPublish('the body is not an object with "items"')
    if len(items) > MAX_ITEMS:
        raise BadPublish(f"more than {MAX_ITEMS} items")
    found = []
    for number, item in enumerate(items):
        try:
            found.append(_item(item))
        except BadControl as error:
            raise BadPublish(f"items[{number}]: {error}") from None
    return found


def _item(item: object) -> Item:
    if not isinstance(item, dict):
        raise BadControl("not an object")
    formats = item.get("formats", item)
    if not isinstance(formats, dict):
        raise BadControl("formats is not an object")
    channel = _text(item, "channel")
    if not channel:
        raise BadControl("channel is missing")
    return Item(
        channel, _what(formats.get("ws-message")), _text(item, "id"), _text(item, "prev-id")
    )


def _text(item: dict[str, Any], name: str) -> str | None:
    value = item.get(name)
    if value is not None and not isinstance(value, str):
        raise BadControl(f"{name} is not a text")
    return value


def _what(message: object) -> Say | Close | None:
    if message is None:
        return None
    if not isinstance(message, dict):
        raise BadControl("ws-message is not an object")
    if message.get("content-filters"):
        raise BadControl("ws-message: content-filters are not supported")
    match message.get("action", "send"):
        case "send":
            return _say(message)
        case "close":
            return _close(message)
        case "hint":
            return None
    raise BadControl("ws-message: action is send, close or hint")


def _say(message: dict[str, Any]) -> Say:
    content = content_of(message)
    if content is None:
        raise BadControl("ws-message: content is missing")
    # Without a type it is what the name of its field says.
    kind = message.get("type", "binary" if message.get("content-bin") is not None else "text")
    if kind not in ("text", "binary"):
        raise BadControl("ws-message: type is text or binary")
    if kind == "text":
        try:
            content.decode()
        except UnicodeDecodeError:
            raise BadControl("ws-message: a text that is not UTF-8") from None
    return Say(content, kind == "binary")


def _close(message: dict[str, Any]) -> Close:
    code, reason = message.get("code", 1000), message.get("reason", "")
    if not isinstance(code, int) or not is_sendable(code):
        raise BadControl("ws-message: code is a close code, like 1000 or 4001")
    if not isinstance(reason, str):
        raise BadControl("ws-message: reason is not a text")
    return Close(code, reason)
