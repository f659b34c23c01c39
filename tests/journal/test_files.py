"""wsgate.journal.files: whose file it is, and whose process has ended."""

import os
import stat

import pytest

from wsgate.journal import JournalError, JournalFile, check_folder, default_folder, prepare_folder
from wsgate.journal.files import dead_files


@pytest.mark.parametrize(
    ("environment", "is_root", "folder"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a"}, True, "/var/lib/a"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, False, "/var/lib/a"),
        ({}, True, "/var/lib/wsgate"),
        ({"XDG_STATE_HOME": "/x"}, False, "/x/wsgate"),
        ({"XDG_STATE_HOME": ""}, False, os.path.expanduser("~/.local/state/wsgate")),
    ],
)
def test_the_folder_is_where_a_user_would_look(environment, is_root, folder):
    assert default_folder(environment, is_root=is_root) == folder


def test_a_folder_is_made_for_this_user_alone(tmp_path):
    folder = tmp_path / "a" / "b"
    prepare_folder(str(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    prepare_folder(str(folder))


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_may_change_is_refused(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(JournalError, match="other users may change"):
        prepare_folder(str(tmp_path))


def test_a_folder_that_others_may_only_read_is_good(tmp_path):
    tmp_path.chmod(0o755)
    prepare_folder(str(tmp_path))


def test_a_folder_that_cannot_be_made_is_one_line_that_says_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JournalError) as caught:
        prepare_folder(str(tmp_path / "file" / "state"))
    assert str(caught.value).startswith(f"gateway.state = {tmp_path}/file/state: Not a directory; ")
    assert "\n" not in str(caught.value)


def test_to_check_a_folder_makes_nothing(tmp_path):
    check_folder(str(tmp_path / "a" / "b"))
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o777)
    with pytest.raises(JournalError, match="other users may change"):
        check_folder(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_this_user_cannot_make_is_found_out_by_the_check(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(JournalError, match="may not make it"):
        check_folder(str(tmp_path / "a"))


def test_files_are_for_this_user_alone(tmp_path):
    file = JournalFile.create(str(tmp_path), "0000000a")
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file.close(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_the_living_is_left_alone(tmp_path):
    file = JournalFile.create(str(tmp_path), "0000000a")
    assert list(dead_files(str(tmp_path), "0000000b")) == []
    file.close()
    (dead,) = dead_files(str(tmp_path), "0000000b")
    assert dead.path == file.path
    assert list(dead_files(str(tmp_path), "0000000c")) == []
    dead.close()


def test_ones_own_is_passed_over(tmp_path):
    JournalFile.create(str(tmp_path), "0000000a").close()
    assert list(dead_files(str(tmp_path), "0000000a")) == []


def test_what_is_no_journal_is_passed_over(tmp_path):
    (tmp_path / "disconnects-xyz.lock").touch()
    (tmp_path / "disconnects-0000000a.db").touch()
    os.symlink("/etc/passwd", tmp_path / "disconnects-0000000b.lock")
    assert list(dead_files(str(tmp_path), "")) == []


def test_a_file_that_was_swept_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    from wsgate.journal import files

    real, taken = files.fcntl.flock, []

    def flock(descriptor, how):
        if not taken:
            taken.append(True)
            (tmp_path / "disconnects-0000000a.lock").unlink()
        real(descriptor, how)

    monkeypatch.setattr(files.fcntl, "flock", flock)
    file = JournalFile.create(str(tmp_path), "0000000a")
    assert list(dead_files(str(tmp_path), "")) == []
    file.close(remove=True)
