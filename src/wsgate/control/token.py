"""The token that proves who may use the control interface."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

from wsgate.secretfile import matching, read_secret

SHORTEST = 16
LONGEST = 4096

# The characters of a Bearer token, RFC 6750 §2.1.
_TOKEN = re.compile(rb"(?=.{%d,%d}\Z)[A-Za-z0-9._~+/-]+=*" % (SHORTEST, LONGEST))


def read_token(path: str) -> bytes:
    """The token of `--control-token-file`: the file's only line.

    Raises:
        SecretUnusable: it cannot be read, or holds no token of 16 characters or more.
    """
    return read_secret(
        path,
        f"--control-token-file {path}",
        matching(_TOKEN),
        f"one line of {SHORTEST} to {LONGEST} letters, digits and -._~+/; make one with: openssl "
        "rand -hex 32",
    )


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
