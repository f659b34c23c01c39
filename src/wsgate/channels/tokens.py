"""What a process asks of a bucket of tokens that all share, and what it gets. Pure.

A bucket holds `burst` tokens, and is filled by `rate` of them in a second up to that. Who does a
thing takes one.
"""

from __future__ import annotations

from typing import NamedTuple

LEASE = 2.0
"""Seconds that a process may keep tokens which it took ahead of their use."""


class Ask(NamedTuple):
    """Tokens of one bucket, for now and ahead.

    A new ask of the same process ends what it has ahead: all of it was used but for `back`.
    """

    key: str
    """Of the bucket."""
    rate: float
    """Tokens in a second, more than 0."""
    burst: int
    """Tokens at most, 1 or more."""
    need: int
    """That are used at once; 0 to give back only."""
    ahead: int = 0
    """That may be kept for `LEASE` seconds from when this was asked, if there are so many."""
    back: int = 0
    """That were kept, and are given back."""


class Taken(NamedTuple):
    """What an `Ask` got."""

    granted: int
    """Of those needed."""
    ahead: int
    """Of those to keep."""
    wait: float
    """Seconds until there is one more, if nobody else comes; 0.0 where all needed were granted."""
