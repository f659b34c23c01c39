"""wsgate.journal.writing: a thread that writes, and goes on when the disk does not."""

import sqlite3
import threading

import pytest
from twisted.logger import capturedLogs, formatEvent

from wsgate.journal import Entry, Journal, JournalError, Store
from wsgate.journal import writing as writing_module

A = Entry("a", "/", b"A")


class Desk:
    """A journal whose calls into the reactor are made by `wait`."""

    def __init__(self, folder):
        self.folder = folder
        self.calls = []
        self.came = threading.Event()
        self.journal = Journal(str(folder), "0000000a", self.call, lambda: 1000.0)
        self.journal.start()

    def call(self, function, *args):
        self.calls.append((function, args))
        self.came.set()

    def wait(self):
        """Make the calls that come next."""
        assert self.came.wait(10)
        self.came.clear()
        while self.calls:
            function, args = self.calls.pop(0)
            function(*args)

    def put(self, entry):
        done = []
        self.journal.put(entry).addCallback(done.append)
        return done

    def entries(self):
        return Store(str(self.folder / "disconnects-0000000a.db")).entries()


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path / "state")
    yield made
    made.journal.stop()


def test_what_is_put_is_on_the_disk_when_it_says_so(desk):
    done = desk.put(A)
    desk.wait()
    assert done == [None]
    assert desk.entries() == [A]


def test_what_is_noted_or_removed_is_there_when_the_next_is(desk):
    desk.journal.note(A)
    desk.journal.note(A._replace(connection_id="b"))
    desk.journal.remove("a")
    desk.put(A._replace(connection_id="c"))
    desk.wait()
    assert [entry.connection_id for entry in desk.entries()] == ["b", "c"]


def test_after_a_stop_the_file_is_there_only_if_there_is_something_in_it(desk):
    desk.journal.note(A)
    desk.journal.stop()
    assert desk.entries() == [A]
    other = Journal(str(desk.folder), "0000000b", desk.call)
    other.start()
    swept = []
    other.sweep(["/"], 1e12).addCallback(swept.append)
    desk.wait()
    assert [entry.connection_id for entry in swept[0].entries] == ["a"]
    other.remove("a")
    other.stop()
    assert list(desk.folder.iterdir()) == []


class FullDisk:
    """A store that takes nothing while `is_full`."""

    is_full = True

    def __init__(self, store):
        self.store = store

    def change(self, changes):
        if self.is_full:
            raise sqlite3.OperationalError("database or disk is full")
        self.store.change(changes)

    def __getattr__(self, name):
        return getattr(self.store, name)


def test_on_a_full_disk_everybody_goes_on_and_it_is_tried_again(desk, monkeypatch):
    monkeypatch.setattr(writing_module, "AGAIN", 0.05)
    desk.journal._store = disk = FullDisk(desk.journal._store)
    with capturedLogs() as events:
        done = desk.put(A)
        while not done:
            desk.wait()
        more = desk.put(A._replace(connection_id="b"))
        while not more:
            desk.wait()
    assert desk.journal.errors >= 2
    assert len(events) == 1
    assert "cannot be written: database or disk is full" in formatEvent(events[0])
    assert desk.entries() == []
    disk.is_full = False
    third = desk.put(A._replace(connection_id="c"))
    while not third:
        desk.wait()
    assert [entry.connection_id for entry in desk.entries()] == ["a", "b", "c"]


def test_a_stop_on_a_full_disk_keeps_the_file(desk):
    desk.put(A)
    desk.wait()
    desk.journal._store = FullDisk(desk.journal._store)
    desk.journal.remove("a")
    desk.journal.stop()
    assert desk.entries() == [A]


def test_a_file_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "disconnects-0000000a.db").mkdir()
    with pytest.raises(JournalError, match=r"gateway\.state"):
        Journal(str(tmp_path), "0000000a", None).start()
