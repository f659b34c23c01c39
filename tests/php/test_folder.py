"""The private folder: alone, short, and cleaned up without harm to anybody's files."""

import os
import stat
import tempfile

import pytest

from wsgate.php import PHPError
from wsgate.php.folder import INI, PREFIX, SOCKET, PrivateFolder, private_parent, remove_stale


@pytest.fixture
def parent():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield folder


def leftover(parent, name="stale123", content=(INI, SOCKET), mode=0o700):
    path = os.path.join(parent, PREFIX + name)
    os.mkdir(path)
    os.chmod(path, mode)
    for file in content:
        with open(os.path.join(path, file), "w"):
            pass
    return path


def test_a_folder_and_its_files_are_ours_alone_whatever_the_umask(parent):
    before = os.umask(0)
    try:
        folder = PrivateFolder.create(parent)
        file = folder.write(INI, "x = 1\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    folder.remove()
    assert os.listdir(parent) == []


def test_removing_a_folder_that_has_gone_is_harmless(parent):
    folder = PrivateFolder.create(parent)
    os.rmdir(folder.path)
    folder.remove()


def test_a_new_folder_sweeps_away_those_nobody_holds(parent):
    leftover(parent)
    held = PrivateFolder.create(parent)
    other = PrivateFolder.create(parent)
    assert sorted(os.listdir(parent)) == sorted(
        os.path.basename(folder.path) for folder in (held, other)
    )
    for folder in (held, other):
        folder.remove()


def test_a_folder_stays_while_anybody_holds_a_copy_of_its_lock(parent):
    folder = PrivateFolder.create(parent)
    guardians = os.dup(folder.lock)
    os.close(folder.lock)
    remove_stale(parent)
    assert os.path.isdir(folder.path)
    os.close(guardians)
    remove_stale(parent)
    assert not os.path.exists(folder.path)


def test_a_folder_with_anything_else_in_it_is_not_touched(parent):
    path = leftover(parent, content=[INI, "thesis.tex"])
    remove_stale(parent)
    assert sorted(os.listdir(path)) == ["thesis.tex", INI]


def test_a_folder_with_a_subfolder_is_not_touched(parent):
    path = leftover(parent)
    os.mkdir(os.path.join(path, "sub"))
    remove_stale(parent)
    assert len(os.listdir(path)) == 3


def test_a_folder_that_others_may_enter_is_not_one_of_ours(parent):
    path = leftover(parent, mode=0o755)
    remove_stale(parent)
    assert os.path.isdir(path)


def test_a_link_in_place_of_a_folder_is_not_followed(parent):
    target = leftover(parent)
    os.rename(target, os.path.join(parent, "elsewhere"))
    os.symlink(os.path.join(parent, "elsewhere"), os.path.join(parent, PREFIX + "link"))
    remove_stale(parent)
    assert sorted(os.listdir(os.path.join(parent, "elsewhere"))) == sorted([INI, SOCKET])


def test_a_link_inside_a_folder_is_removed_and_its_target_kept(parent):
    target = os.path.join(parent, "precious")
    with open(target, "w"):
        pass
    path = leftover(parent, content=[])
    os.symlink(target, os.path.join(path, INI))
    remove_stale(parent)
    assert os.listdir(parent) == ["precious"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_the_folder_of_another_user_is_not_touched(parent):
    path = leftover(parent)
    os.chown(path, 65534, 65534)
    remove_stale(parent)
    assert os.path.isdir(path)


def test_a_folder_that_was_swept_between_its_making_and_its_lock_is_made_again(parent, monkeypatch):
    made = []
    make = tempfile.mkdtemp

    def swept(**keywords):
        made.append(make(**keywords))
        if len(made) == 1:
            remove_stale(parent)
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", swept)
    folder = PrivateFolder.create(parent)
    assert folder.path == made[1]
    assert os.path.isdir(folder.path)
    folder.remove()


def test_systemds_runtime_directory_goes_before_the_temporary_one(parent):
    assert private_parent({"RUNTIME_DIRECTORY": f"{parent}:/run/other"}) == parent


def test_a_folder_whose_socket_path_would_be_too_long_is_passed_over(parent, monkeypatch):
    longest = os.path.join(parent, "x" * (78 - len(parent) - 1))
    os.mkdir(longest)
    assert private_parent({"RUNTIME_DIRECTORY": longest}) == longest
    folder = PrivateFolder.create(longest)
    assert len(folder.socket_path) == 107
    folder.remove()
    os.rename(longest, longest + "x")
    monkeypatch.setattr(tempfile, "tempdir", longest + "x")
    assert private_parent({"RUNTIME_DIRECTORY": longest + "x"}) == "/tmp"


@pytest.mark.parametrize("name", ["a:b", "a b", "a'b", "a\nb", "é"])
def test_a_folder_that_php_would_misread_is_passed_over(parent, name):
    path = os.path.join(parent, name)
    os.mkdir(path)
    assert private_parent({"RUNTIME_DIRECTORY": path}) != path


def test_no_usable_folder_is_one_line_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(os.path, "isdir", lambda _: False)
    with pytest.raises(PHPError, match="set TMPDIR") as error:
        private_parent({})
    assert "\n" not in str(error.value)
