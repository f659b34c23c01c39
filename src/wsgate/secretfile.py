"""Files with a secret in them: read once, or whenever they have changed.

What is wrong with one is said in a line that never shows what is in it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.logger import Logger

LARGEST = 16 * 1024
"""Bytes of a file; the longest private keys are a few KiB."""

T = TypeVar("T")

_log = Logger(namespace="wsgate")


class Unfit(ValueError):
    """What a `parse` says where it knows better; the text comes in place of "needs …"."""


class SecretUnusable(ValueError):
    """A file holds no secret that can be used; the text names the setting, the file, the mend."""


def read_secret(
    path: str,
    named: str,
    parse: Callable[[bytes], T],
    needs: str,
    *,
    is_secret: Callable[[T], bool] = lambda _: True,
    largest: int = LARGEST,
) -> T:
    """What `parse` makes of a file's content, given without white space around it.

    A secret that every user of the machine can read gives a warning in the log.

    Args:
        path: the file.
        named: how the user named it, for errors: `hooks.login.key_file = "/etc/key"`.
        parse: raises ValueError for what is no secret of this kind, or Unfit to say why.
        needs: what the file must hold and how to make it, after "needs"; as "one line of …".
        is_secret: whether it is one; of a public key everybody may know.
        largest: bytes that the file may have.

    Raises:
        SecretUnusable: it cannot be read, is larger than `largest`, or `parse` says no.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(largest + 1)
    except OSError as error:
        raise SecretUnusable(f"{named}: {error.strerror}") from None
    try:
        if len(content) > largest:
            raise ValueError
        secret = parse(content.strip())
    except Unfit as error:
        raise SecretUnusable(f"{named}: {error}") from None
    except ValueError:
        raise SecretUnusable(f"{named}: needs {needs}") from None
    if mode & stat.S_IROTH and is_secret(secret):
        _log.warn("{named}: every user of this machine can read it; chmod 600 it", named=named)
    return secret


def matching(pattern: re.Pattern[bytes]) -> Callable[[bytes], bytes]:
    """A `parse` for content that `pattern` matches whole."""

    def parse(content: bytes) -> bytes:
        if pattern.fullmatch(content) is None:
            raise ValueError
        return content

    return parse


class SecretFile(Generic[T]):
    """What `read` makes of the file at `path`, read anew when the file has changed.

    Raises:
        SecretUnusable: it cannot be used at first. Later what was there before stays, and the log
            says so.
    """

    def __init__(self, path: str, read: Callable[[str], T]) -> None:
        self._path = path
        self._read = read
        self._stamp = self._look()
        self._secret = read(path)

    @property
    def secret(self) -> T:
        """What is in the file now."""
        stamp = self._look()
        if stamp is not None and stamp != self._stamp:
            self._stamp = stamp
            try:
                self._secret = self._read(self._path)
            except SecretUnusable as error:
                _log.error("{error}; what was there before stays", error=error)
        return self._secret

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(self._path)
        except OSError:
            # Gone, or no longer ours to read since privileges were dropped.
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
