"""The private folder of one private PHP: its socket and its configuration.

It lies in systemd's RUNTIME_DIRECTORY if there is one, else in the folder for temporary files. Not
in XDG_RUNTIME_DIR: that vanishes when its user logs out, and a daemon stays. The folder is locked
(flock) as long as wsgate or the guardian lives; the lock also keeps systemd-tmpfiles away from it.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Mapping

from wsgate.filelock import lock_if_free
from wsgate.php.errors import PHPError

PREFIX = "wsgate-php-"
SOCKET = "php.sock"
FPM_CONFIG = "php-fpm.conf"
INI = "wsgate.ini"
_CONTENT = frozenset({SOCKET, FPM_CONFIG, INI})

# sun_path has 108 bytes with its final zero (unix(7)); mkdtemp adds 8 characters.
_LONGEST_PARENT = 107 - len(f"/{PREFIX}12345678/{SOCKET}")
# PHP_INI_SCAN_DIR splits at ":", and no path in a configuration should ever need quotes.
_PLAIN = re.compile(r"/[A-Za-z0-9._/@+-]*")


class PrivateFolder:
    """A folder of mode 0700 with a lock on it. `lock` is a file descriptor that holds the lock."""

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self.lock = lock
        self.socket_path = os.path.join(path, SOCKET)

    @classmethod
    def create(cls, parent: str) -> PrivateFolder:
        """Make one in `parent`, after removing those that dead processes of ours left there.

        Raises OSError.
        """
        remove_stale(parent)
        while True:
            path = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
            lock = _lock(path)
            if lock is not None:
                return cls(path, lock)

    def write(self, name: str, text: str) -> str:
        """Write a file that only we can read; its path."""
        path = os.path.join(self.path, name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with open(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def remove(self) -> None:
        """Remove the folder if it is still there, and give up the lock."""
        _remove(self.path, self.lock)
        os.close(self.lock)


def private_parent(environ: Mapping[str, str]) -> str:
    """Where private folders go.

    Raises PHPError when no folder is short enough for a socket's path, or plain enough for PHP.
    """
    given = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    candidates = [*([given] if given else []), os.path.abspath(tempfile.gettempdir()), "/tmp"]
    for parent in candidates:
        fits = len(os.fsencode(parent)) <= _LONGEST_PARENT and _PLAIN.fullmatch(parent)
        if fits and os.path.isdir(parent) and os.access(parent, os.W_OK | os.X_OK):
            return parent
    raise PHPError(
        f"no folder for PHP's socket: none of {', '.join(candidates)} is writable and at most "
        f"{_LONGEST_PARENT} plain characters long; set TMPDIR to one that is"
    )


def remove_stale(parent: str) -> None:
    """Remove the private folders in `parent` that belong to us and that nobody holds."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                lock = _lock(entry.path)
                if lock is not None:
                    _remove(entry.path, lock)
                    os.close(lock)


def _lock(path: str) -> int | None:
    """The lock of a private folder of ours; None when it is not ours, is held, or has gone."""
    lock = lock_if_free(path, os.O_RDONLY | os.O_DIRECTORY)
    if lock is None:
        return None
    held = os.fstat(lock)
    if held.st_uid == os.geteuid() and stat.S_IMODE(held.st_mode) == 0o700:
        return lock
    os.close(lock)
    return None


def _remove(path: str, lock: int) -> None:
    # A folder with anything else in it is not one that wsgate made: hands off.
    with contextlib.suppress(OSError):
        content = os.listdir(lock)
        if _CONTENT.issuperset(content):
            for name in content:
                os.unlink(name, dir_fd=lock)
            os.rmdir(path)
