"""wsgate.filelock: a lock is had only of what its path still names."""

import fcntl
import os

import pytest

from wsgate.filelock import is_still, lock_if_free


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "file"
    made.touch()
    return str(made)


def test_a_lock_is_held_until_its_descriptor_is_closed(path):
    first = lock_if_free(path, os.O_RDWR)
    assert lock_if_free(path, os.O_RDWR) is None
    os.close(first)
    second = lock_if_free(path, os.O_RDWR)
    assert second is not None
    assert not os.get_inheritable(second)
    os.close(second)


def test_a_folder_can_be_locked(tmp_path):
    lock = lock_if_free(str(tmp_path), os.O_RDONLY | os.O_DIRECTORY)
    assert lock_if_free(str(tmp_path), os.O_RDONLY | os.O_DIRECTORY) is None
    os.close(lock)


def test_what_is_not_there_and_what_a_link_names_is_not_locked(tmp_path, path):
    assert lock_if_free(str(tmp_path / "none"), os.O_RDWR) is None
    link = tmp_path / "link"
    link.symlink_to(path)
    assert lock_if_free(str(link), os.O_RDWR) is None


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_that_is_deleted_before_it_is_locked_is_not_had(path, monkeypatch, is_replaced):
    really = fcntl.flock

    def late(descriptor, how):
        os.unlink(path)
        if is_replaced:
            with open(path, "x"):
                pass
        really(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    before = len(os.listdir("/proc/self/fd"))
    assert lock_if_free(path, os.O_RDWR) is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_path_names_a_file_as_long_as_it_is_the_same(tmp_path, path):
    with open(path, "rb") as file:
        assert is_still(path, file.fileno())
        moved = tmp_path / "moved"
        os.rename(path, moved)
        assert not is_still(path, file.fileno())
        # A link to it is another file.
        os.symlink(moved, path)
        assert not is_still(path, file.fileno())
