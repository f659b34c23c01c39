"""What stands in paths, queries and answers: how it is read, and its schema.

Pure. The rules are those of the rooms that own the names; the schemas say them once more, as far as
JSON Schema can.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from wsgate.channels import ChannelError, check_channel, check_user
from wsgate.control.answers import ERROR, Parameter, Part, Said, object_of
from wsgate.gateway import is_sendable

LONGEST_REASON = 123
"""Bytes: a control frame holds 125, two of them the code (RFC 6455 §5.5)."""

_ID = re.compile(r"[0-9a-f]{32}")


# -- what stands in paths and queries


def _read_id(text: str) -> str:
    if _ID.fullmatch(text) is None:
        raise ValueError("no such connection: an id has 32 hexadecimal digits")
    return text


def _read_channel(text: str) -> str:
    return _read_name(check_channel, text)


def _read_user(text: str) -> str:
    return _read_name(check_user, text)


def _read_name(check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except ChannelError as error:
        raise ValueError(str(error)) from None


def _read_code(text: str) -> int:
    if not (re.fullmatch("[0-9]{4}", text, re.ASCII) and is_sendable(int(text))):
        raise ValueError("no close code that a server may send; write 1000, or 3000 to 4999")
    return int(text)


def _read_reason(text: str) -> str:
    if len(text.encode()) > LONGEST_REASON or not text.isprintable():
        raise ValueError(f"not {LONGEST_REASON} bytes or less of printable UTF-8")
    return text


def _read_flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("not 0 or 1")
    return text == "1"


_ID_SCHEMA = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
CONNECTION = Part("id", "WSGATE_CONNECTION_ID of a connection", _ID_SCHEMA, _read_id, 404)
CHANNEL = Part(
    "channel",
    "a channel",
    {"type": "string", "pattern": "^[A-Za-z0-9_\\-=@,.;:]{1,164}$"},
    _read_channel,
)
USER = Part(
    "user",
    "a user, as bound by Wsgate-User: printable characters",
    {"type": "string", "minLength": 1, "maxLength": 128},
    _read_user,
)
CODE = Parameter(
    "code",
    "the close code; 1000 if left out",
    {
        "type": "integer",
        "oneOf": [
            {"enum": [code for code in range(1000, 1015) if is_sendable(code)]},
            {"minimum": 3000, "maximum": 4999},
        ],
    },
    _read_code,
    1000,
)
REASON = Parameter(
    "reason",
    f"the reason, printable, at most {LONGEST_REASON} bytes of UTF-8; none if left out",
    {"type": "string", "maxLength": LONGEST_REASON},
    _read_reason,
    "",
)
EXCEPT = Parameter("except", "the id of a connection that does not get it", _ID_SCHEMA, _read_id)
USERS = Parameter(
    "users", "1: their users, too", {"type": "string", "enum": ["0", "1"]}, _read_flag, False
)


# -- what answers look like


def count(name: str, exactly: int | None = None) -> dict[str, object]:
    """The schema of an object with a number called `name`: at least 0, or `exactly` this one."""
    number = {"type": "integer", "minimum": 0} if exactly is None else {"const": exactly}
    return object_of(**{name: number})


_NAMES = {"type": "array", "items": {"type": "string"}}
INFO = object_of(
    id=_ID_SCHEMA,
    connected_at={"type": "number", "description": "Unix time"},
    remote_addr={"type": "string"},
    path={"type": "string", "description": "of the URL, without its query"},
    user={"type": ["string", "null"]},
    channels=_NAMES,
    queue={"type": "integer", "minimum": 0, "description": "messages that wait for PHP's answer"},
)
CHANNEL_INFO = {
    "type": "object",
    "properties": {
        "channel": {"type": "string"},
        "subscribers": {"type": "integer", "minimum": 0},
        "users": {**_NAMES, "description": "each once, in order of name; with ?users=1 alone"},
    },
    "required": ["channel", "subscribers"],
}
SUBSCRIBED = object_of(channel={"type": "string"}, subscribed={"type": "boolean"})

GONE = Said("There is no such connection, or it is gone.", ERROR)
TOO_MANY = Said("There are too many channels already.", ERROR)
