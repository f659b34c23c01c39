"""The id of a session, from its cookie. Pure."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

_ID = re.compile(r"[A-Za-z0-9,-]{22,256}")

_MAX_COOKIE = 3 * 256
"""Characters of a cookie that can be an id, each of them percent-encoded."""


def session_id(cookie: str | None) -> str | None:
    """The id that the value of PHP's session cookie is; None if it is none.

    PHP makes ids of 22 to 256 of A to Z, a to z, 0 to 9, comma and hyphen, and sends them with the
    comma percent-encoded. Whatever else a client sends is no id, so that ids may stand in file
    names and keys.
    """
    if not cookie or len(cookie) > _MAX_COOKIE:
        return None
    try:
        decoded = unquote_to_bytes(cookie.encode("latin-1")).decode("ascii")
    except UnicodeError:
        return None
    return decoded if _ID.fullmatch(decoded) else None
