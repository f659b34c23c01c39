"""Entries in one SQLite file. Blocking: for a thread of its own, and for the sweep at a start."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from typing import Any

from wsgate.journal.entry import Entry

_VERSION = 1

_TABLE = """
CREATE TABLE IF NOT EXISTS connections (
    connection_id TEXT PRIMARY KEY, path TEXT, params BLOB, accepted INTEGER, left_at REAL,
    code INTEGER, reason TEXT, attempts INTEGER
)
"""
_PUT = "INSERT OR REPLACE INTO connections VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM connections WHERE connection_id = ?"
_ALL = "SELECT * FROM connections ORDER BY rowid"

Change = Entry | str
"""An entry as it is now, or the id of one that is to go."""


class Store:
    """The file at `path`, which may be new.

    Raises:
        sqlite3.Error: it cannot be used. Every method may raise that too.
    """

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        run = self._database.execute
        run("PRAGMA journal_mode = WAL")
        # Each commit is on the disk when it returns: a loss of power forgets nobody.
        run("PRAGMA synchronous = FULL")
        (version,) = run("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"made by another wsgate (version {version} of the file)")
        run(_TABLE)
        run(f"PRAGMA user_version = {_VERSION}")

    def change(self, changes: Iterable[Change]) -> None:
        """Make all of `changes` in this order, or none."""
        with self._transaction():
            run = self._database.execute
            for change in changes:
                if isinstance(change, str):
                    run(_REMOVE, (change,))
                else:
                    run(_PUT, change)

    def entries(self) -> list[Entry]:
        """All of them, the oldest first."""
        return [_entry(row) for row in self._database.execute(_ALL)]

    def remove(self, connection_ids: Collection[str]) -> int:
        """Remove those; how many are left."""
        self.change(connection_ids)
        (left,) = self._database.execute("SELECT count(*) FROM connections").fetchone()
        return int(left)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _transaction(self) -> _Transaction:
        return _Transaction(self._database)


class _Transaction:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._database.execute("COMMIT")
        # SQLite ends some transactions itself, when the disk is full for example.
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")


def _entry(row: tuple[Any, ...]) -> Entry:
    connection_id, path, params, accepted, left_at, code, reason, attempts = row
    return Entry(connection_id, path, params, bool(accepted), left_at, code, reason, attempts)
