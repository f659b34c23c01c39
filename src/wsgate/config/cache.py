"""The options of the hook `cache`."""

from __future__ import annotations

from dataclasses import dataclass, field

from wsgate.config.about import about
from wsgate.config.kinds import Size, Text, Texts, Time
from wsgate.config.units import GIB, KIB, MIB


def _prefix(value: str) -> str:
    if not (0 < len(value) <= 64 and value.isascii() and value.isprintable() and " " not in value):
        raise ValueError("not 1 to 64 printable characters of ASCII without blanks")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """Gives out again what PHP allows by `Cache-Control: public, max-age=N`:
    [cached-answers.md](cached-answers.md). Each route has a cache of its own."""

    memory: int = field(
        default=64 * MIB,
        metadata=about(
            Size(64 * KIB, 64 * GIB),
            "memory for answers, of each route and worker, with all that is kept about them",
            limit="more: the answers not used for longest go; `wsgate_hook_outcomes_total` with "
            '`outcome="evicted"` counts them',
            why="some 80,000 short answers",
        ),
    )
    largest_answer: int = field(
        default=MIB,
        metadata=about(
            Size(1, GIB),
            "longest answer that is kept",
            limit="longer: PHP is asked each time",
            why="one answer pushes out no more than a few others; memcached takes 1 MiB",
        ),
    )
    longest_message: int = field(
        default=64 * KIB,
        metadata=about(
            Size(1, GIB),
            "longest message that is looked up",
            limit="longer: PHP is asked each time",
            why="a question is short; the whole message is compared, by its SHA-256",
        ),
    )
    query: tuple[str, ...] | None = field(
        default=None,
        metadata=about(
            Texts(),
            "parameters of the URL's query on which answers depend; left out: all of them, an "
            "empty list: none. Where a name in a query is not letters, digits, `_` and `-` alone, "
            "all count",
            why="PHP sees them all in `$_GET`; a token in the query would keep everybody apart",
        ),
    )
    vary: tuple[str, ...] = field(
        default=(),
        metadata=about(
            Texts(),
            "on what all answers depend, as in `Vary`: names of headers, `Wsgate-User`, "
            "`Wsgate-Var-NAME`, `Wsgate-Param-NAME`",
            why="the script says so by `Vary`; this holds also where one forgets",
        ),
    )
    store: str | None = field(
        default=None,
        metadata=about(
            Text(),
            "name of a memcached or Redis in `[stores]`, for all gateways together",
            why="memory alone needs nobody else, and is the quickest",
        ),
    )
    store_timeout: float = field(
        default=0.1,
        metadata=about(
            Time(0.001, 60),
            "time that the store may take; up to 0.1 s more",
            limit="longer: PHP is asked, and the store left alone for a second, then for longer",
            why="PHP is seldom much slower",
        ),
    )
    store_prefix: str = field(
        default="wsgate:cache:",
        metadata=about(
            Text(_prefix, bounds="1 to 64 characters"),
            "what keys in the store begin with",
            why="one store may serve several applications; give each its own",
        ),
    )
