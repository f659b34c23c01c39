"""wsgate.secretfile: files with a secret in them, and what is said of those that have none."""

import os
import re

import pytest
from twisted.logger import capturedLogs

from wsgate.secretfile import LARGEST, SecretFile, SecretUnusable, Unfit, matching, read_secret

NAMED = 'hooks.login.key_file = "/etc/key"'
NEEDS = "one line of 3 or more letters; make one with: …"
letters = matching(re.compile(rb"[a-z]{3,}"))


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "secret"
    made.touch(mode=0o600)
    return made


def read(path):
    return read_secret(str(path), NAMED, letters, NEEDS)


@pytest.mark.parametrize("content", [b"abc", b"abc\n", b" \tabc\r\n", b"\n\nabc\n\n"])
def test_what_surrounds_a_secret_is_no_part_of_it(path, content):
    path.write_bytes(content)
    with capturedLogs() as logs:
        assert read(path) == b"abc"
    assert logs == []


@pytest.mark.parametrize("content", [b"", b"ab", b"abc\nabc", b"abc\n1"])
def test_no_secret_is_one_line_that_does_not_show_what_is_there(path, content):
    path.write_bytes(content)
    with pytest.raises(SecretUnusable) as caught:
        read(path)
    assert str(caught.value) == f"{NAMED}: needs {NEEDS}"


def test_a_file_that_is_too_large_holds_none(path):
    path.write_bytes(b"a" * LARGEST)
    assert read(path) == b"a" * LARGEST
    path.write_bytes(b"a" * LARGEST + b"\n")
    with pytest.raises(SecretUnusable):
        read(path)


def test_a_file_that_cannot_be_read_is_said_as_the_system_says_it(path):
    for unreadable, why in ((path / "below", "Not a directory"), (path.parent, "Is a directory")):
        with pytest.raises(SecretUnusable) as caught:
            read(unreadable)
        assert str(caught.value) == f"{NAMED}: {why}"


@pytest.mark.parametrize(("mode", "lines"), [(0o600, 0), (0o640, 0), (0o644, 1), (0o604, 1)])
def test_a_secret_that_everybody_can_read_is_warned_of(path, mode, lines):
    path.write_bytes(b"abc")
    path.chmod(mode)
    with capturedLogs() as logs:
        read(path)
    assert len(logs) == lines
    for event in logs:
        assert event["named"] == NAMED
        assert b"abc" not in event.values()


def test_what_is_no_secret_everybody_may_read(path):
    path.write_bytes(b"abc")
    path.chmod(0o644)
    with capturedLogs() as logs:
        read_secret(str(path), NAMED, letters, NEEDS, is_secret=lambda content: content != b"abc")
    assert logs == []


def put(path, content, when):
    path.write_bytes(content)
    os.utime(path, ns=(when, when))


def test_a_file_that_changes_is_read_anew_and_only_then(path):
    reads = []
    put(path, b"abc", 1)
    file = SecretFile(str(path), lambda name: reads.append(name) or read(name))
    assert (file.secret, file.secret) == (b"abc", b"abc")
    assert len(reads) == 1
    put(path, b"xyz", 2)
    assert (file.secret, file.secret) == (b"xyz", b"xyz")
    assert len(reads) == 2


def test_one_that_is_unusable_later_changes_nothing_but_is_logged_once(path):
    put(path, b"abc", 1)
    file = SecretFile(str(path), read)
    put(path, b"?", 2)
    with capturedLogs() as logs:
        assert (file.secret, file.secret) == (b"abc", b"abc")
    assert len(logs) == 1
    path.unlink()
    with capturedLogs() as logs:
        assert file.secret == b"abc"
    assert logs == []
    put(path, b"xyz", 3)
    assert file.secret == b"xyz"


def test_one_that_is_unusable_at_first_is_an_error(path):
    with pytest.raises(SecretUnusable):
        SecretFile(str(path), read)


def test_who_reads_may_know_better_what_is_wrong(path):
    def never(content):
        raise Unfit(f"has {len(content)} bytes, and may have none")

    path.write_bytes(b"abc\n")
    with pytest.raises(SecretUnusable) as caught:
        read_secret(str(path), NAMED, never, NEEDS)
    assert str(caught.value) == f"{NAMED}: has 3 bytes, and may have none"


def test_who_reads_may_take_more(path):
    path.write_bytes(b"a" * (LARGEST + 1))
    read_secret(str(path), NAMED, letters, NEEDS, largest=LARGEST + 1)
    with pytest.raises(SecretUnusable):
        read_secret(str(path), NAMED, letters, NEEDS, largest=LARGEST)
