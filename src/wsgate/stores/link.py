"""A connection to a database as its thread sees it, and who makes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from wsgate.stores.statement import Dialect, SQLValue, Statement

Row: TypeAlias = dict[str, object]

Seen = Callable[[int], None]
"""Told of the descriptor of a connection as soon as there is one."""


class Link(Protocol):
    """One open connection; used by one thread only, and blocks it."""

    @property
    def is_usable(self) -> bool:
        """Whether another statement may be sent."""

    def query(self, statement: Statement, values: tuple[SQLValue, ...], limit: int) -> list[Row]:
        """The first `limit` rows. Raises StoreError."""

    def close(self) -> None:
        """End it; harmless when it has ended."""


class Driver(Protocol):
    """Makes connections, each in the thread that asks; `str()` of none shows a password."""

    @property
    def dialect(self) -> Dialect:
        """Whose SQL it is."""

    @property
    def place(self) -> str:
        """Where the database is, for the log."""

    def connect(self, seen: Seen) -> Link:
        """Connect, which blocks. Raises StoreError."""


def plain(value: object) -> object:
    """A value of a driver as None, bool, int, float, str, bytes, or a list of these.

    Decimals, dates, times and whatever else a database has become text.
    """
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return str(value)
