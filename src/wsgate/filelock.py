"""Locks on files and folders that their owner may delete (flock(2)).

Whoever waits for such a lock may get that of a file which has been deleted meanwhile, or which
another has taken the place of: a lock holds only what its path still names.
"""

from __future__ import annotations

import fcntl
import os


def lock_if_free(path: str, flags: int) -> int | None:
    """Open what `path` names, without following a link, and lock it.

    Args:
        path: a file or a folder.
        flags: as `os.open` has them.

    Returns:
        The descriptor that holds the lock until it is closed; None if somebody else has it, or if
        it has gone or cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_still(path, descriptor):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def is_still(path: str, descriptor: int) -> bool:
    """Whether `path` names the file that is open.

    Raises:
        OSError: that cannot be seen.
    """
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False
