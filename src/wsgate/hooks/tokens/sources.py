"""Where a client may bring a token. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from wsgate.hooks.connection import Connection


class Denied(Exception):
    """What a client brings does not let it in; `str()` says why, for the log.

    The client is not told.
    """


class Source(NamedTuple):
    """One place: `kind` is authorization, header, cookie, query, subprotocol or first_message.

    `name` is that of the header, cookie or parameter, the prefix of the subprotocol, or the member
    of a JSON object that is the first message; empty where there is none.
    """

    kind: str
    name: str


def source(text: str) -> Source:
    """A place as it stands in the settings, like `cookie:jwt`."""
    kind, _, name = text.partition(":")
    return Source(kind, name)


def presented(sources: Sequence[Source], connection: Connection) -> str | None:
    """What the client brings at the first place where it brings something.

    A token that was offered as a subprotocol is never the one that is taken.

    Raises:
        Denied: there is more than one header, or more than one such subprotocol.
    """
    for place in sources:
        finder = _FINDERS.get(place.kind)
        found = finder(connection, place.name) if finder else None
        if found:
            return found
    return None


def _only(values: Sequence[str]) -> str | None:
    if len(values) > 1:
        raise Denied("there is more than one")
    return values[0] if values else None


def _authorization(connection: Connection, _: str) -> str | None:
    """RFC 6750 §2.1; another scheme is somebody else's."""
    value = _only(connection.headers("Authorization"))
    match = re.fullmatch(r"bearer +([^ ]+) *", value, re.I) if value else None
    return match[1] if match else None


def _header(connection: Connection, name: str) -> str | None:
    return _only(connection.headers(name))


def _cookie(connection: Connection, name: str) -> str | None:
    return connection.cookie(name)


def _query(connection: Connection, name: str) -> str | None:
    return connection.query(name)


def _subprotocol(connection: Connection, prefix: str) -> str | None:
    offered = [name for name in connection.offered_subprotocols if name.startswith(prefix)]
    if connection.subprotocol in offered:
        connection.take_subprotocol(None)
    found = _only(offered)
    return found[len(prefix) :] if found else None


_FINDERS = {
    "authorization": _authorization,
    "header": _header,
    "cookie": _cookie,
    "query": _query,
    "subprotocol": _subprotocol,
}
