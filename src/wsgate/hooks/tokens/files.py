"""A file with keys or secrets, read anew when it has changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.logger import Logger

from wsgate.hooks.tokens.keys import LARGEST, KeyUnusable

LOOK = 1.0
"""Seconds between two looks at whether it has changed, at least."""

_log = Logger(namespace="wsgate")

T = TypeVar("T")


class FileUnusable(ValueError):
    """A file holds nothing that can be used; the text names the setting and the mend."""


class WatchedFile(Generic[T]):
    """What `read` makes of a file's bytes.

    A change counts within a second of when somebody asks. Where the new content is of no use, the
    one before stays, and the log says so.

    Args:
        path: the file.
        setting: that names it, for errors.
        read: raises KeyUnusable with the tail of a line.
        seconds: a clock.
        is_secret: whether a file that everybody on the machine can read is worth a warning.

    Raises:
        FileUnusable: there is nothing to use at first.
    """

    def __init__(
        self,
        path: str,
        setting: str,
        read: Callable[[bytes], T],
        seconds: Callable[[], float],
        is_secret: bool,
    ) -> None:
        self._path = path
        self._setting = setting
        self._read = read
        self._seconds = seconds
        self._is_secret = is_secret
        self._looked = seconds()
        self._stamp = self._look()
        self._content = self._load()

    def content(self) -> T:
        """What is in it."""
        now = self._seconds()
        if now - self._looked >= LOOK:
            self._looked = now
            self._renew()
        return self._content

    def _renew(self) -> None:
        stamp = self._look()
        # None: gone, or no longer ours to read since privileges were dropped.
        if stamp is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._content = self._load()
        except FileUnusable as error:
            _log.error("{error}; what was there before stays", error=error)

    def _load(self) -> T:
        try:
            with open(self._path, "rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(LARGEST + 1)
        except OSError as error:
            raise FileUnusable(f"{self._setting} = {self._path}: {error.strerror}") from None
        try:
            read = self._read(content)
        except KeyUnusable as error:
            raise FileUnusable(f"{self._setting} = {self._path}: {error}") from None
        if self._is_secret and mode & stat.S_IROTH:
            _log.warn(
                "{setting} = {path}: every user of this machine can read it; chmod 600 it",
                setting=self._setting,
                path=self._path,
            )
        return read

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
