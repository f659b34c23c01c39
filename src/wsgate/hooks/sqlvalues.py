"""Where the values of the hook `sql` come from. Pure.

All are text, never numbers: MySQL takes the number 0 for equal to every text that is no number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from wsgate.hooks.connection import Connection
from wsgate.hooks.message import Message


def values_of(
    sources: Sequence[str], longest: int, connection: Connection, message: Message | None
) -> tuple[str, ...] | None:
    """A value for each of `sources`, in their order.

    None where one is missing, empty, or longer than `longest` bytes of UTF-8, where a field is
    neither text nor a whole number, or a parameter of the query is there twice.
    """
    fields = _fields(message) if any(s.startswith("json:") for s in sources) else {}
    found = []
    for source in sources:
        value = _value(source, connection, message, fields)
        if not value or len(value.encode("utf-8", "surrogatepass")) > longest:
            return None
        found.append(value)
    return tuple(found)


def _value(
    source: str, connection: Connection, message: Message | None, fields: dict[str, object]
) -> str | None:
    kind, _, name = source.partition(":")
    if kind == "json":
        value = fields.get(name)
        # True is an int to Python, and no number to anybody else.
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return str(value) if isinstance(value, str) or is_number else None
    if kind == "message":
        return None if message is None else message.text
    if kind == "query":
        return _parameter(connection.query_string, name)
    if kind in ("cookie", "header"):
        return (connection.cookie if kind == "cookie" else connection.header)(name)
    if kind == "param":
        return connection.params.get(name)
    of = {"user": connection.user, "address": connection.remote_address, "path": connection.path}
    return of[kind]


def _parameter(query_string: str, name: str) -> str | None:
    """The one value of a parameter; None where there are several, or it is not UTF-8.

    PHP takes the last of several, and other names for the same. What is asked about must be what
    the script gets.
    """
    wanted = _names_for_php(name)
    pairs = (item.partition("=") for item in query_string.split("&"))
    found = [value for key, _, value in pairs if _names_for_php(key) & wanted]
    try:
        return _decoded(found[0]).decode() if len(found) == 1 else None
    except UnicodeDecodeError:
        return None


def _names_for_php(name: str) -> set[bytes]:
    """The names in `$_GET` that this may become (php_register_variable_ex), for a bracket begins
    an array or is a `_`."""
    known = _decoded(name).lstrip(b" ").partition(b"\0")[0]
    return {re.sub(rb"[ .\[]", b"_", known), re.sub(rb"[ .]", b"_", known.partition(b"[")[0])}


def _decoded(text: str) -> bytes:
    return unquote_to_bytes(text.replace("+", " ").encode("latin-1", "replace"))


def _fields(message: Message | None) -> dict[str, object]:
    """The fields of a message that is an object of JSON; none of any other."""
    text = None if message is None else message.text
    if text is None:
        return {}
    try:
        fields = json.loads(text)
    # ValueError also of a number with thousands of digits.
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def param_text(value: object) -> str:
    """A value of a row as PHP sees it in a param: NULL is nothing, true 1, false 0.

    Raises:
        ValueError: bytes that are no UTF-8, or a list.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError("a column with a list in it cannot be a param")
