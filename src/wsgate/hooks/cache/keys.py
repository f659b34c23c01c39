"""What makes two messages the same, and two connections alike. Pure.

Keys are SHA-256 over length-prefixed parts, so that no two messages share one. The primary key of a
message is of all that stands in the URL and the message; the key of a variant adds what the answer
said that it varies on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Protocol, TypeAlias

from wsgate.hooks.connection import Connection

Part: TypeAlias = bytes | None

KEY_SIZE = 32


class Varying(Protocol):
    """What an answer may vary on: as in `Connection`."""

    @property
    def user(self) -> str | None: ...

    @property
    def variables(self) -> Mapping[str, str]: ...

    @property
    def params(self) -> Mapping[str, str]: ...

    def headers(self, name: str) -> tuple[str, ...]: ...


def digest(*parts: Part) -> bytes:
    """32 bytes that only the same parts give; None is not an empty one."""
    return sha256(b"".join(map(_framed, parts))).digest()


def _framed(part: Part) -> bytes:
    return b"-" if part is None else b"%d:%b" % (len(part), part)


def address_of(connection: Connection, query: frozenset[str] | None) -> bytes:
    """32 bytes for what messages of a connection have in common (RFC 9111 §2).

    The route; the URL with its scheme and host, since a script may serve several; the subprotocol,
    which says what messages mean. Of the query all counts, or what `counted` leaves of it.
    """
    kept = connection.query_string if query is None else counted(connection.query_string, query)
    texts = (
        connection.route,
        "https" if connection.is_secure else "http",
        (connection.header("host") or "").lower(),
        connection.path,
        kept,
        connection.subprotocol,
    )
    return digest(*(None if text is None else text.encode() for text in texts))


def message_key(address: bytes, is_binary: bool, payload: bytes | bytearray) -> bytes:
    """The primary key of a message."""
    if len(payload) <= SHORT and type(payload) is bytes:
        return _short_key(address, is_binary, payload)
    return _key(address, is_binary, payload)


SHORT = 256
"""Bytes of a message whose key is remembered: questions that are asked often are short."""


def _key(address: bytes, is_binary: bool, payload: bytes | bytearray) -> bytes:
    return sha256((b"%bb" if is_binary else b"%bt") % address + payload).digest()


_short_key = lru_cache(maxsize=2048)(_key)


def variant_key(key: bytes, names: tuple[str, ...], connection: Varying) -> bytes:
    """The key for one of the variants of an answer: `names` are what it varies on.

    Without any, that is the primary key.
    """
    if not names:
        return key
    parts: list[Part] = [key]
    for name in names:
        values = values_of(name, connection)
        parts += (name.encode(), str(len(values)).encode(), *values)
    return digest(*parts)


def values_of(name: str, connection: Varying) -> tuple[Part, ...]:
    """What a connection has for a name in Vary, in lower case; a header may come several times."""
    if name == "wsgate-user":
        return (_encoded(connection.user),)
    for start, texts in (
        ("wsgate-var-", connection.variables),
        ("wsgate-param-", connection.params),
    ):
        if name.startswith(start):
            # A field's name is written with hyphens, which no variable has in its name.
            return (_encoded(texts.get(name[len(start) :].replace("-", "_").upper())),)
    return tuple(_encoded(value) for value in connection.headers(name))


def _encoded(text: str | None) -> Part:
    return None if text is None else text.encode("utf-8", "surrogatepass")


_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def counted(query_string: str, names: frozenset[str]) -> str:
    """The parameters of a query that count, in order of their names.

    The whole query where it has a name that PHP could take for another: PHP decodes names, ends
    them at a NUL, and makes arrays of brackets and `_` of dots; some set-ups also end a parameter
    at a semicolon. So nobody can slip PHP another value than the key has.
    """
    pairs = [pair for pair in query_string.split("&") if pair]
    written = [pair.partition("=")[0] for pair in pairs]
    if ";" in query_string or not all(map(_PLAIN.fullmatch, written)):
        return query_string
    kept = [(name, pair) for name, pair in zip(written, pairs, strict=True) if name in names]
    # Stable: of two with the same name PHP takes the last.
    return "&".join(pair for _, pair in sorted(kept, key=lambda both: both[0]))
