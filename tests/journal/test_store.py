"""wsgate.journal.store: entries in a file, all of a change or nothing."""

import sqlite3

import pytest

from wsgate.journal import Entry, Store

A = Entry("a", "/", b"\x00\xff", True, 12.5, 4001, "böse", 2)
B = Entry("b", "/chat", b"")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "x.db")


def test_what_was_put_is_there_after_a_restart(path):
    store = Store(path)
    store.change([A, B])
    store.close()
    assert Store(path).entries() == [A, B]


def test_an_entry_is_replaced_and_removed_by_its_id(path):
    store = Store(path)
    store.change([A, B, A._replace(attempts=3), "b"])
    assert store.entries() == [A._replace(attempts=3)]
    assert store.remove(["a", "nobody"]) == 0


def test_a_change_that_fails_half_way_has_not_happened(path):
    store = Store(path)
    store.change([A])
    with pytest.raises(sqlite3.Error):
        store.change(["a", B._replace(params=object())])
    assert store.entries() == [A]
    store.change([B])
    assert store.entries() == [A, B]


def test_every_commit_reaches_the_disk(path):
    store = Store(path)
    (mode,) = store._database.execute("PRAGMA synchronous").fetchone()
    (kind,) = store._database.execute("PRAGMA journal_mode").fetchone()
    assert (mode, kind) == (2, "wal")


def test_a_file_of_another_version_is_not_touched(path):
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.commit()
    other.close()
    with pytest.raises(sqlite3.DatabaseError, match="another wsgate"):
        Store(path)


def test_a_file_that_is_no_database_is_an_error(path):
    with open(path, "wb") as file:
        file.write(b"no database" * 1000)
    with pytest.raises(sqlite3.Error):
        Store(path)
