"""A key that may be exchanged while it is in use."""

from __future__ import annotations

import os

from twisted.logger import Logger

from wsgate.grip.signing import Key, KeyUnusable, read_key

_log = Logger(namespace="wsgate")


class KeyFile:
    """The key in a file, read anew when the file has changed.

    Raises:
        KeyUnusable: it holds none at first. Later the one before stays, and the log says so.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._stamp = self._look()
        self._key = read_key(path)

    @property
    def key(self) -> Key:
        """The key that is in the file."""
        stamp = self._look()
        if stamp is not None and stamp != self._stamp:
            self._stamp = stamp
            try:
                self._key = read_key(self.path)
            except KeyUnusable as error:
                _log.error("{error}; the key that was there before stays", error=error)
        return self._key

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(self.path)
        except OSError:
            # Gone, or no longer ours to read since privileges were dropped.
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
