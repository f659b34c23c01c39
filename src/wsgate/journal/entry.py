"""What is kept of one connection."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One connection of which PHP is to hear when it ends.

    `path` is its route's, `params` are its PARAMS records, those that all its requests share.
    `accepted` says whether PHP, or nobody, is known to have let it in. `left_at` is Unix time in
    seconds, None while it is open; then `code` and `reason` are RFC 6455's. `attempts` counts the
    requests of its disconnect that may have reached PHP.
    """

    connection_id: str
    path: str
    params: bytes
    accepted: bool = False
    left_at: float | None = None
    code: int = 1006
    reason: str = ""
    attempts: int = 0
