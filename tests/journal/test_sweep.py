"""wsgate.journal.sweep: the living take over from the dead, and only what is theirs."""

import os
import sqlite3

import pytest

from wsgate.journal import Entry, JournalFile, Store, sweep
from wsgate.journal import sweep as _sweep_function

A = Entry("a", "/", b"A", True)
B = Entry("b", "/chat", b"B", True, 900.0, 1000, "", 1)
NOW = 1000.0


class Folder:
    """A folder with a living process, `self.store`."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.file = JournalFile.create(self.folder, "00000001")
        self.store = Store(self.file.path)

    def die(self, *entries, name="00000002", died=950.0):
        """A process that has ended, and left those."""
        file = JournalFile.create(self.folder, name)
        store = Store(file.path)
        store.change(entries)
        store.close()
        file.close()
        os.utime(file.path, (died, died))
        return file.path

    def sweep(self, *paths, age=100.0):
        return sweep(self.folder, "00000001", self.store, paths, NOW, age)

    def names(self):
        return sorted(path for path in os.listdir(self.folder) if "00000001" not in path)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_what_the_dead_left_is_ours_and_their_file_goes(folder):
    folder.die(A, B)
    swept = folder.sweep("/", "/chat")
    assert swept.entries == [A._replace(left_at=950.0), B]
    assert folder.store.entries() == swept.entries
    assert (swept.dropped, swept.faults) == (0, [])
    assert folder.names() == []


def test_the_living_are_left_alone(folder):
    living = JournalFile.create(folder.folder, "00000003")
    store = Store(living.path)
    store.change([A])
    assert folder.sweep("/").entries == []
    assert store.entries() == [A]


def test_entries_of_routes_that_are_not_served_here_stay_where_they_are(folder):
    path = folder.die(A, B)
    assert folder.sweep("/").entries == [A._replace(left_at=950.0)]
    assert Store(path).entries() == [B]
    assert folder.sweep("/").entries == []
    assert folder.sweep("/chat").entries == [B]
    assert folder.names() == []


@pytest.mark.parametrize(("age", "dropped"), [(50.0, 1), (49.0, 2), (100.0, 0)])
def test_what_is_too_old_goes_whosever_it_is(folder, age, dropped):
    folder.die(A, B)
    swept = folder.sweep(age=age)
    assert swept.entries == []
    assert swept.dropped == dropped
    assert (folder.names() == []) == (dropped == 2)


def test_what_was_swept_by_one_who_died_of_it_is_found_once(folder):
    folder.die(B, name="00000002")
    folder.die(B, name="00000003")
    assert len(folder.sweep("/chat").entries) == 2
    assert folder.store.entries() == [B]


def test_a_file_that_cannot_be_read_is_a_line_for_the_log_and_stays(folder):
    path = folder.die(A)
    with open(path, "wb") as file:
        file.write(b"garbage" * 1000)
    (folder.die(B, name="00000003"))
    swept = folder.sweep("/", "/chat")
    assert swept.entries == [B]
    assert swept.faults == [f"{path}: file is not a database"]
    assert os.path.exists(path)


def test_a_process_that_died_before_it_wrote_leaves_nothing(folder):
    file = JournalFile.create(folder.folder, "00000002")
    os.unlink(file.path)
    file.close()
    assert folder.sweep("/").entries == []
    assert folder.names() == []


def test_what_we_cannot_write_down_stays_theirs(folder):
    path = folder.die(A)
    folder.store.close()
    with pytest.raises(sqlite3.Error):
        folder.sweep("/")
    assert Store(path).entries() == [A]


def test_the_sweep_is_the_rooms_own():
    assert _sweep_function is sweep
