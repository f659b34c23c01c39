"""What processes that ended have left behind, taken over by a living one. Blocking."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import NamedTuple

from wsgate.journal.entry import Entry
from wsgate.journal.files import JournalFile, dead_files
from wsgate.journal.store import Store


class Swept(NamedTuple):
    """What a sweep has found.

    `entries` are the caller's now, in its own store already; `dropped` were too old; `faults` are
    lines for the log about files that could not be read.
    """

    entries: list[Entry]
    dropped: int
    faults: list[str]


def sweep(
    folder: str, own: str, store: Store, paths: Collection[str], now: float, age: float
) -> Swept:
    """Take over the entries of dead processes.

    Args:
        folder: where the files are.
        own: the name of the caller's file.
        store: the caller's.
        paths: those of the routes that the caller serves; entries of others are left where they
            are.
        now: Unix time.
        age: seconds after its connection's end for which an entry is kept.

    Raises:
        OSError, sqlite3.Error: the folder, or the caller's own store, cannot be used.
    """
    swept = Swept([], 0, [])
    for file in dead_files(folder, own):
        is_empty = False
        try:
            found, dropped, is_empty = _take_over(file, store, paths, now, age)
            swept = Swept(swept.entries + found, swept.dropped + dropped, swept.faults)
        except _Unreadable as error:
            swept.faults.append(f"{file.path}: {error}")
        finally:
            file.close(remove=is_empty)
    return swept


class _Unreadable(Exception):
    """The file of a dead process cannot be used."""


def _take_over(
    file: JournalFile, store: Store, paths: Collection[str], now: float, age: float
) -> tuple[list[Entry], int, bool]:
    # It is the time of death of those that were connected then.
    died = file.last_change()
    try:
        theirs = Store(file.path)
    except sqlite3.Error as error:
        raise _Unreadable(str(error)) from None
    try:
        try:
            entries = theirs.entries()
        except sqlite3.Error as error:
            raise _Unreadable(str(error)) from None
        old = [e for e in entries if now - (died if e.left_at is None else e.left_at) > age]
        gone = {entry.connection_id for entry in old}
        found = [
            entry._replace(left_at=died) if entry.left_at is None else entry
            for entry in entries
            if entry.path in paths and entry.connection_id not in gone
        ]
        # First here, then there: a crash in between leaves it in both, and it is found once.
        store.change(found)
        try:
            left = theirs.remove(gone | {entry.connection_id for entry in found})
        except sqlite3.Error as error:
            raise _Unreadable(str(error)) from None
        return found, len(old), not left
    finally:
        theirs.close()
