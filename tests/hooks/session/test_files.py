"""Session files are read as PHP writes them, and nothing else is."""

import fcntl
import os
import socket
import stat

import pytest

from wsgate.hooks.session.files import SETTLED, NotToBeRead, Place, Rules, Unsettled, read

ID = "abcdefghij0123456789ABCDEF"
RULES = Rules(max_size=100, max_age=1440, owner=None)
NOW = 1_000_000.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / f"sess_{ID}"


def write(path, data=b"user_id|i:42;", age=10.0):
    path.write_bytes(data)
    os.utime(path, (NOW - age, NOW - age))


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("/s", f"/s/sess_{ID}"),
        ("/s/", f"/s/sess_{ID}"),
        ("0;/s", f"/s/sess_{ID}"),
        ("2;/s", f"/s/a/b/sess_{ID}"),
        ("5;0640;/s", f"/s/a/b/c/d/e/sess_{ID}"),
    ],
)
def test_the_place_of_a_session_is_where_php_has_it(written, path):
    assert Place.parse(written).path(ID) == path


@pytest.mark.parametrize(
    "written", ["", "s", "./s", "x;/s", "-1;/s", "17;/s", "1;9;/s", ";/s", "1;2;3;/s", "/s;t"]
)
def test_a_save_path_that_php_does_not_have_is_refused(written):
    with pytest.raises(ValueError, match=r"as PHP has it|a depth"):
        Place.parse(written)


def test_a_session_is_read(path):
    write(path)
    assert read(str(path), RULES, NOW) == b"user_id|i:42;"


def test_without_a_file_there_is_no_session(path):
    assert read(str(path), RULES, NOW) is None
    assert read(str(path / "more"), RULES, NOW) is None


def test_a_session_is_as_old_as_may_be_and_not_older(path):
    write(path, age=1440)
    assert read(str(path), RULES, NOW) is not None
    write(path, age=1441)
    assert read(str(path), RULES, NOW) is None


def test_a_session_is_as_long_as_may_be_and_not_longer(path):
    write(path, b"x" * 100)
    assert read(str(path), RULES, NOW) == b"x" * 100
    write(path, b"x" * 101)
    with pytest.raises(NotToBeRead, match="max_size"):
        read(str(path), RULES, NOW)


def test_a_symlink_is_not_followed(path, tmp_path):
    other = tmp_path / "other"
    write(other)
    path.symlink_to(other)
    with pytest.raises(NotToBeRead, match="plain file"):
        read(str(path), RULES, NOW)


def test_a_second_name_of_another_file_is_not_read(path, tmp_path):
    other = tmp_path / "other"
    write(other)
    path.hardlink_to(other)
    with pytest.raises(NotToBeRead, match="plain file"):
        read(str(path), RULES, NOW)


def test_a_fifo_holds_up_nobody(path):
    os.mkfifo(path)
    with pytest.raises(NotToBeRead, match="plain file"):
        read(str(path), RULES, NOW)


def test_a_folder_or_socket_is_not_read(path):
    path.mkdir()
    with pytest.raises(NotToBeRead, match="plain file"):
        read(str(path), RULES, NOW)
    path.rmdir()
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        # The path of a socket is short.
        os.chdir(path.parent)
        try:
            listening.bind(path.name)
        finally:
            os.chdir(here)
        with pytest.raises(NotToBeRead, match="plain file"):
            read(str(path), RULES, NOW)


def test_a_file_of_another_owner_is_not_believed(path):
    write(path)
    mine = Rules(max_size=100, max_age=1440, owner=os.geteuid())
    assert read(str(path), mine, NOW)
    others = Rules(max_size=100, max_age=1440, owner=os.geteuid() + 1)
    with pytest.raises(NotToBeRead, match="owner"):
        read(str(path), others, NOW)


def test_a_file_that_may_not_be_read_says_whose_it_is(path, monkeypatch):
    write(path)
    path.chmod(0o600)

    def refused(*_arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(NotToBeRead, match=r"cannot be read by \S+: it is \S+'s, mode 0600"):
        read(str(path), RULES, NOW)


def test_the_errors_name_no_session(path):
    path.mkdir()
    with pytest.raises(NotToBeRead) as caught:
        read(str(path), RULES, NOW)
    assert ID not in str(caught.value)


@pytest.fixture
def held(path):
    """The file, locked as a script holds it that works on the session."""
    write(path)
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


def test_what_was_saved_before_is_read_while_a_script_holds_the_session(held):
    assert read(str(held), RULES, NOW) == b"user_id|i:42;"


def test_what_may_be_half_written_is_not_read(held):
    write(held, age=SETTLED)
    with pytest.raises(Unsettled):
        read(str(held), RULES, NOW)
    write(held, age=SETTLED + 0.01)
    assert read(str(held), RULES, NOW)


def test_nothing_in_a_file_that_is_held_may_be_half_of_something(held):
    write(held, b"")
    with pytest.raises(Unsettled) as caught:
        read(str(held), RULES, NOW)
    assert caught.value.is_empty


def test_what_changes_while_it_is_read_is_not_believed(held, monkeypatch):
    really = os.read

    def writing(file, size):
        data = really(file, size)
        write(held, b"user_id|i:43;", age=5)
        return data

    monkeypatch.setattr(os, "read", writing)
    with pytest.raises(Unsettled):
        read(str(held), RULES, NOW)


def test_a_session_destroyed_while_it_is_read_is_gone(path, monkeypatch):
    write(path)
    really = os.read

    def destroying(file, size):
        data = really(file, size)
        path.unlink(missing_ok=True)
        return data

    monkeypatch.setattr(os, "read", destroying)
    assert read(str(path), RULES, NOW) is None


def test_the_lock_is_given_back(path):
    write(path)
    read(str(path), RULES, NOW)
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_file_stays_as_it_was(path):
    write(path)
    before = path.stat()
    read(str(path), RULES, NOW)
    after = path.stat()
    assert (before.st_mtime_ns, stat.S_IMODE(before.st_mode)) == (
        after.st_mtime_ns,
        stat.S_IMODE(after.st_mode),
    )
