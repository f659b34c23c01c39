"""Sessions as PHP's save handler `files` keeps them: one file for each, below session.save_path."""

from __future__ import annotations

import errno
import os
import pwd
import re
import stat
from dataclasses import dataclass
from fcntl import LOCK_NB, LOCK_SH, flock
from typing import Final

SETTLED: Final = 0.5
"""Seconds since the last change of a file that is locked, after which no write can be under way."""


class Unsettled(Exception):
    """A script is writing it, as far as can be told: look again soon.

    `is_empty` says that there was nothing in it, which is so before a script writes anything, and
    for a moment when it makes a session shorter.
    """

    def __init__(self, *, is_empty: bool) -> None:
        super().__init__()
        self.is_empty = is_empty


class NotToBeRead(Exception):
    """It is there and may not be read, or not be believed. The text says why in one line."""


@dataclass(frozen=True, slots=True)
class Place:
    """What session.save_path says: PATH, DEPTH;PATH or DEPTH;MODE;PATH."""

    folder: str
    depth: int = 0

    @classmethod
    def parse(cls, written: str) -> Place:
        """Read it.

        Raises:
            ValueError: it is not one of these, or its path is not absolute.
        """
        found = re.fullmatch(r"(?:([0-9]{1,2});)?(?:[0-7]{1,4};)?(/[^;]*)", written)
        if found is None or (found[1] is None and ";" in written):
            raise ValueError('write it as PHP has it: "/PATH", "DEPTH;/PATH" or "DEPTH;MODE;/PATH"')
        depth = int(found[1] or 0)
        if depth > 16:
            raise ValueError("a depth of more than 16")
        return cls(found[2], depth)

    def path(self, session: str) -> str:
        """Where the session of this id is; `session` is a good id, and so no way elsewhere."""
        return os.path.join(self.folder, *session[: self.depth], f"sess_{session}")


def user_name(uid: int) -> str:
    """The name of a user of this machine, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which files are believed. `owner` is a user's number, or None for whoever may write there."""

    max_size: int
    max_age: float
    owner: int | None


def read(path: str, rules: Rules, now: float) -> bytes | None:
    """What the file of a session holds; None where there is none, or it is too old.

    It blocks: for a thread. It waits for no lock, and holds its own, a shared one, only while it
    reads. Where a script holds the session open, what it has last saved is read.

    Raises:
        Unsettled: it may be half-written.
        NotToBeRead: no plain file of its own, another owner's, too long, or not readable.
    """
    try:
        # O_NONBLOCK: whoever puts a FIFO there must not hold up the thread.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        file = os.open(path, flags)
    except OSError as error:
        _check_missing(path, error)
        return None
    try:
        return _read_open(file, rules, now)
    finally:
        os.close(file)


def _check_missing(path: str, error: OSError) -> None:
    """See whether it could not be opened because it is not there.

    Raises:
        NotToBeRead: it is there.
    """
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return
    if error.errno in (errno.ELOOP, errno.ENXIO):
        raise NotToBeRead("is no plain file") from None
    if error.errno != errno.EACCES:
        raise NotToBeRead(f"cannot be read: {error.strerror}") from None
    raise NotToBeRead(f"cannot be read by {user_name(os.geteuid())}{_whose(path)}") from None


def _whose(path: str) -> str:
    try:
        found = os.lstat(path)
    except OSError:
        return ": its folder may not be entered"
    return f": it is {user_name(found.st_uid)}'s, mode {stat.S_IMODE(found.st_mode):04o}"


def _read_open(file: int, rules: Rules, now: float) -> bytes | None:
    _check(os.fstat(file), rules)
    is_locked = not _lock(file)
    before = os.fstat(file)
    # As PHP's own garbage collection has it.
    if before.st_mtime < now - rules.max_age:
        return None
    data = _all(file, rules.max_size)
    after = os.fstat(file)
    if not after.st_nlink:
        # Destroyed after it was opened.
        return None
    if len(data) > rules.max_size:
        raise NotToBeRead(f"is longer than max_size = {rules.max_size} bytes")
    # Cutting a file short shows before its time of change does (ext4), so nothing may be half.
    if is_locked and not (data and _is_settled(before, after, now)):
        raise Unsettled(is_empty=not data)
    return data


def _lock(file: int) -> bool:
    try:
        flock(file, LOCK_SH | LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise NotToBeRead(f"cannot be locked: {error.strerror}") from None
    return True


def _check(found: os.stat_result, rules: Rules) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise NotToBeRead("is no plain file of one name")
    if rules.owner is not None and found.st_uid != rules.owner:
        right, wrong = user_name(rules.owner), user_name(found.st_uid)
        raise NotToBeRead(f'belongs to {wrong}, not to {right}: see its setting "owner"')


def _all(file: int, most: int) -> bytes:
    """What it holds, or its first `most` bytes and one more."""
    pieces = []
    left = most + 1
    while left and (piece := os.read(file, left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _is_settled(before: os.stat_result, after: os.stat_result, now: float) -> bool:
    """Whether no write was under way: each sets the time of change before its first byte."""
    same = (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
    return same and now - before.st_mtime > SETTLED
