"""The secret that an application and wsgate share."""

from __future__ import annotations

import re

from wsgate.secretfile import matching, read_secret

_SECRET = re.compile(rb"[\x21-\x7e]{8,256}")


def read_app_secret(path: str, setting: str) -> bytes:
    """The secret in a file, which is its only line; `setting` names it in the error.

    Raises:
        SecretUnusable: it cannot be read, or holds no secret of 8 to 256 characters.
    """
    return read_secret(
        path,
        f"{setting} = {path}",
        matching(_SECRET),
        "one line of 8 to 256 printable characters; make one with: openssl rand -hex 20",
    )
