"""The secret that an application and wsgate share."""

from __future__ import annotations

import os
import re
import stat

from twisted.logger import Logger

LONGEST = 256

_SECRET = re.compile(rb"[\x21-\x7e]{8,256}")

_log = Logger(namespace="wsgate")


class SecretError(ValueError):
    """The file holds no secret that can be used; the text names the setting and the mend."""


def read_secret(path: str, setting: str) -> bytes:
    """The secret in a file, which is its only line.

    A file that every user of the machine can read gives a warning in the log.

    Args:
        path: the file.
        setting: that names it, for the error.

    Raises:
        SecretError: it cannot be read, or holds no secret of 8 to 256 characters.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            secret = file.read(LONGEST + 3).strip()
    except OSError as error:
        raise SecretError(f"{setting} = {path}: {error.strerror}") from None
    if _SECRET.fullmatch(secret) is None:
        raise SecretError(
            f"{setting} = {path}: needs one line of 8 to {LONGEST} printable characters; make one "
            "with: openssl rand -hex 20"
        )
    if mode & stat.S_IROTH:
        _log.warn(
            "{setting} = {path}: every user of this machine can read it; chmod 600 it",
            setting=setting,
            path=path,
        )
    return secret
