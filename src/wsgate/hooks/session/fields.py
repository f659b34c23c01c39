"""Which of a session's fields are wanted, and what PHP gets of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from wsgate.config.session import param_name
from wsgate.hooks.session.formats import Session
from wsgate.hooks.session.unserialize import Float, Opaque, Unreadable, Value


def find(session: Session, field: str) -> Value:
    """The value of a field; None where there is none. Dots go into arrays: `cart.items.0`."""
    value: Value = session
    for key in field.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(key.encode())
    return value


def is_there(value: Value) -> bool:
    """Whether a field says something: what PHP's `!empty()` says of it."""
    if isinstance(value, Opaque):
        return True
    return value not in (b"", b"0") and bool(value)


def text(value: Value) -> str:
    """What a param holds of a value; empty for null, and for what is no text or number.

    Booleans are "1" and "0", floats as PHP has written them.

    Raises:
        Unreadable: a string that is not UTF-8.
    """
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Float):
        return value.written
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, bytes):
        return ""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Unreadable("holds a text that is not UTF-8") from None


def params(session: Session, fields: Iterable[str]) -> dict[str, str]:
    """The params of the fields, "" for those that are not there, or no text or number.

    Raises:
        Unreadable: one is no text that a param can hold.
    """
    return {param_name(field): text(find(session, field)) for field in fields}


def lacking(session: Session, required: Sequence[str]) -> str | None:
    """The first required field that is not there; None where all are."""
    return next((field for field in required if not is_there(find(session, field))), None)


def user(session: Session, field: str | None) -> str | None:
    """The user's name or number; None where the session has none.

    Raises:
        Unreadable: a string that is not UTF-8.
    """
    value = find(session, field) if field is not None else None
    is_name = isinstance(value, (bytes, int)) and not isinstance(value, bool)
    return text(value) if is_name and is_there(value) else None
