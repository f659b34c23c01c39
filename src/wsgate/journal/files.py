"""The files of the journal: where they are, whose they are, and whose process has ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterator, Mapping

from wsgate.filelock import is_still, lock_if_free

_NAME = re.compile(r"disconnects-([0-9a-f]{8})\.lock")


class JournalError(Exception):
    """The journal cannot be kept; `str()` is one line that says what to do."""


def default_folder(environment: Mapping[str, str], *, is_root: bool) -> str:
    """Where the journal is unless a setting says otherwise."""
    given = environment.get("STATE_DIRECTORY", "")
    if given:
        # systemd.exec(5): several are separated by colons.
        return given.partition(":")[0]
    if is_root:
        return "/var/lib/wsgate"
    home = environment.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(home, "wsgate")


def prepare_folder(folder: str) -> None:
    """Make `folder`, for this user alone, unless it is there.

    Raises:
        JournalError: it cannot be made or written, or others may change what is in it.
    """
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error.strerror or str(error)) from None
    check_folder(folder)


def check_folder(folder: str) -> None:
    """See whether `prepare_folder` would do, as far as that can be seen; nothing is made.

    Raises:
        JournalError: it would not.
    """
    try:
        found = os.stat(folder)
    except FileNotFoundError:
        if not os.access(_nearest(folder), os.W_OK | os.X_OK):
            raise _unusable(folder, "this user may not make it") from None
        return
    except OSError as error:
        raise _unusable(folder, error.strerror or str(error)) from None
    if found.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(found.st_mode) & 0o022:
        raise _unusable(folder, "other users may change what is in it")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise _unusable(folder, "this user may not write there")


def _nearest(folder: str) -> str:
    """The first folder above that is there."""
    while not os.path.exists(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder


def _unusable(folder: str, why: str) -> JournalError:
    return JournalError(
        f"gateway.state = {folder}: {why}; name a folder that this user alone may write, "
        "like --set gateway.state=/var/lib/wsgate"
    )


class JournalFile:
    """The file of one process in `folder`, which is locked as long as this is not closed.

    `path` is that of the database.
    """

    def __init__(self, folder: str, name: str, descriptor: int) -> None:
        self._lock = os.path.join(folder, f"disconnects-{name}.lock")
        self._descriptor = descriptor
        self.path = os.path.join(folder, f"disconnects-{name}.db")

    @classmethod
    def create(cls, folder: str, name: str) -> JournalFile:
        """Make that of a new process; `name` is 8 hex digits that no other has.

        Raises:
            JournalError: it cannot be made.
        """
        lock = os.path.join(folder, f"disconnects-{name}.lock")
        try:
            while True:
                descriptor = _open_private(lock)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Somebody may have taken it for a dead one's, before it was locked.
                if is_still(lock, descriptor):
                    break
                os.close(descriptor)
            file = cls(folder, name, descriptor)
            # SQLite gives its other files the mode of this one.
            os.close(_open_private(file.path))
        except OSError as error:
            raise _unusable(folder, error.strerror or str(error)) from None
        return file

    def close(self, *, remove: bool = False) -> None:
        """Give the file up; with `remove`, delete it."""
        if remove:
            for path in (self.path, f"{self.path}-wal", f"{self.path}-shm", self._lock):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        os.close(self._descriptor)

    def last_change(self) -> float:
        """When its process last wrote, as Unix time in seconds."""
        times = []
        for path in (self.path, f"{self.path}-wal"):
            with contextlib.suppress(FileNotFoundError):
                times.append(os.stat(path).st_mtime)
        return max(times, default=0.0)


def dead_files(folder: str, own: str) -> Iterator[JournalFile]:
    """The files of processes that have ended, each locked for the caller, who closes it.

    `own` is the name of the caller's file, which is passed over.

    Raises:
        OSError: the folder cannot be read.
    """
    for entry in sorted(os.listdir(folder)):
        match = _NAME.fullmatch(entry)
        if match is None or match[1] == own:
            continue
        descriptor = lock_if_free(os.path.join(folder, entry), os.O_RDWR)
        if descriptor is not None:
            yield JournalFile(folder, match[1], descriptor)


def _open_private(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
