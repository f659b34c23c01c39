"""A script that Redis runs as one step. Pure."""

from __future__ import annotations

import hashlib


class Script:
    """Lua for Redis; `digest` is what it is called once Redis knows it."""

    __slots__ = ("digest", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
