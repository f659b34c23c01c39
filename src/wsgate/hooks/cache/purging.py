"""What processes tell each other to forget. Pure."""

from __future__ import annotations

from typing import NamedTuple

TOPIC = "cache.purge"
"""Of the notices: see `wsgate.channels.Channels.notify`."""

MARK_SIZE = 16
"""Bytes of a mark: what was stored under an earlier one does not count any more."""

LONGEST_ROUTE = 4096


class Purge(NamedTuple):
    """The answers of one route are to be forgotten, or of all: `route` is empty.

    `mark` is what caches with a store in common set there, all of them the same.
    """

    mark: bytes
    route: str = ""


def written(purge: Purge) -> bytes:
    """The notice."""
    return purge.mark + purge.route.encode()


def read(notice: bytes) -> Purge | None:
    """What `written` has made; None for anything else."""
    mark, route = notice[:MARK_SIZE], notice[MARK_SIZE:]
    try:
        return Purge(mark, route.decode()) if len(mark) == MARK_SIZE else None
    except UnicodeDecodeError:
        return None
