"""The options of the hook `rate`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from wsgate.config.about import about
from wsgate.config.errors import OptionError
from wsgate.config.kinds import Choice, Count, Flag, Text

_RATE = re.compile(r"([1-9][0-9]{0,6}) ?/ ?(s|min|h)", re.ASCII)
_UNITS = {"s": 1, "min": 60, "h": 3600}


def _rate(value: str) -> str:
    match = _RATE.fullmatch(value)
    if match is None:
        raise ValueError("not a rate; write a number of at most 7 digits per s, min or h: 10/s")
    return f"{match[1]}/{match[2]}"


def count_and_seconds(rate: str) -> tuple[int, int]:
    """How many in how many seconds, of an option `rate`."""
    count, _, unit = rate.partition("/")
    return int(count), _UNITS[unit]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateOptions:
    """So many connects or messages in a time, on all gateways (docs/rate-limits.md)."""

    rate: str = field(
        metadata=about(
            Text(_rate, unit="rate", bounds="1/h to 9999999/s"),
            "how many pass in the long run: 10/s, 100/min, 1000/h",
            limit="more: status 429, with Retry-After at a connect",
            why="what is too much, the application knows",
        )
    )
    burst: int | None = field(
        default=None,
        metadata=about(
            Count(1, 10_000_000),
            "how many pass at once after quiet",
            limit="more: as for rate",
            why="automatic: the number in rate",
        ),
    )
    by: Literal["user", "address", "connection"] = field(
        default="user",
        metadata=about(
            Choice(("user", "address", "connection")),
            "whose they are: of a user, who may have many connections, or of an address, IPv6 by "
            "/64; a connection without a user counts by its address, one without address by itself",
            why="one user is one client, however many tabs are open",
        ),
    )
    of: Literal["messages", "connects", "both"] = field(
        default="messages",
        metadata=about(
            Choice(("messages", "connects", "both")),
            "what counts; both take from the same",
            why="messages are what PHP works for",
        ),
    )
    close_after: int = field(
        default=0,
        metadata=about(
            Count(1, 1_000_000, zero=True),
            "refused messages of a connection in a row",
            limit="so many: close 1008",
            why="none: clients may be told, and wait",
        ),
    )
    shared: bool = field(
        default=True,
        metadata=about(
            Flag(),
            "whether it is one limit for all processes, of workers and of a bus; else each has "
            "its own",
            limit="while the bus is away, each process has its own",
            why="whoever connects elsewhere is the same",
        ),
    )
    max_keys: int = field(
        default=100_000,
        metadata=about(
            Count(100, 10_000_000),
            "users, addresses or connections, in each process, that have not been quiet",
            limit="more: the one heard of the longest ago may begin anew",
            why="some 30 MB at most; who is quiet takes no memory",
        ),
    )

    def __post_init__(self) -> None:
        """See whether the options go together.

        Raises:
            OptionError: they do not.
        """
        if self.by == "connection" and self.of != "messages":
            raise OptionError("of", 'a connection connects once; write of = "messages"')
