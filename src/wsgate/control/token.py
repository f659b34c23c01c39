"""The token that proves who may use the control interface."""

from __future__ import annotations

import hmac
import os
import re
import stat
from collections.abc import Sequence

from twisted.logger import Logger

SHORTEST = 16
LONGEST = 4096

_log = Logger(namespace="wsgate")

# The characters of a Bearer token, RFC 6750 §2.1.
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")


class TokenError(ValueError):
    """The file holds no token that can be used; the text names the option and the mend."""


def read_token(path: str) -> bytes:
    """The token of `--control-token-file`: the file's only line.

    A file that every user of the machine can read gives a warning in the log.

    Raises:
        TokenError: it cannot be read, or holds no token of 16 characters or more.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(LONGEST + 1).strip()
    except OSError as error:
        raise TokenError(f"--control-token-file {path}: {error.strerror}") from None
    if not (SHORTEST <= len(token) <= LONGEST and _TOKEN.fullmatch(token)):
        raise TokenError(
            f"--control-token-file {path}: needs one line of {SHORTEST} to {LONGEST} letters, "
            "digits and -._~+/; make one with: openssl rand -hex 32"
        )
    if mode & stat.S_IROTH:
        _log.warn(
            "--control-token-file {path}: every user of this machine can read it; chmod 600 it",
            path=path,
        )
    return token


def is_allowed(token: bytes | None, given: Sequence[bytes]) -> bool:
    """Whether the Authorization fields `given` prove the token (RFC 6750 §2.1).

    Takes the same time however much of a wrong token is right. None: everybody is allowed.
    """
    if token is None:
        return True
    if len(given) != 1:
        return False
    scheme, _, value = given[0].partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(value.strip(), token)
