"""wsgate.hooks.tokens.files: a file that is read anew when it has changed."""

import os

import pytest
from twisted.logger import formatEvent, globalLogPublisher

from wsgate.hooks.tokens.files import LOOK, FileUnusable, WatchedFile
from wsgate.hooks.tokens.keys import KeyUnusable


class Wall:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def read(content):
    if not content:
        raise KeyUnusable("is empty")
    return content


def watched(path, wall, is_secret=True):
    return WatchedFile(str(path), "hooks.x.key_file", read, wall, is_secret)


@pytest.fixture
def logged():
    """A function that gives the lines of the log so far."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [formatEvent(event) for event in events]
    globalLogPublisher.removeObserver(events.append)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"one")
    path.chmod(0o600)
    return path


def test_a_change_counts_within_a_second(path):
    wall = Wall()
    file = watched(path, wall)
    path.write_bytes(b"another")
    assert file.content() == b"one"
    wall.now += LOOK - 0.001
    assert file.content() == b"one"
    wall.now += 0.001
    assert file.content() == b"another"


def test_a_file_that_is_replaced_counts_too(path, tmp_path):
    wall = Wall()
    file = watched(path, wall)
    new = tmp_path / "new"
    new.write_bytes(b"two")
    os.utime(new, ns=(path.stat().st_mtime_ns,) * 2)
    new.rename(path)
    wall.now += LOOK
    assert file.content() == b"two"


def test_what_was_there_stays_where_the_new_is_of_no_use(path, logged):
    wall = Wall()
    file = watched(path, wall)
    path.write_bytes(b"")
    wall.now += LOOK
    assert file.content() == b"one"
    assert logged() == [f"hooks.x.key_file = {path}: is empty; what was there before stays"]
    wall.now += LOOK
    assert file.content() == b"one"
    assert len(logged()) == 1
    path.unlink()
    wall.now += LOOK
    assert file.content() == b"one"
    path.write_bytes(b"three")
    wall.now += LOOK
    assert file.content() == b"three"


def test_without_anything_of_use_there_is_none(path, tmp_path):
    with pytest.raises(FileUnusable, match=r"hooks.x.key_file = .*nobody: No such file"):
        watched(tmp_path / "nobody", Wall())
    path.write_bytes(b"")
    with pytest.raises(FileUnusable, match=r"hooks.x.key_file = .*key: is empty"):
        watched(path, Wall())
    with pytest.raises(FileUnusable, match="Is a directory"):
        watched(tmp_path, Wall())


def test_a_secret_that_everybody_can_read_is_worth_a_warning(path, logged):
    watched(path, Wall())
    assert logged() == []
    path.chmod(0o644)
    watched(path, Wall(), is_secret=False)
    assert logged() == []
    watched(path, Wall())
    assert [line.endswith("can read it; chmod 600 it") for line in logged()] == [True]
