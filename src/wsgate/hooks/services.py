"""What a hook may use of the gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wsgate.channels import Channels
from wsgate.timeouts import Timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Of one process; each hook that is made gets them, with its own name and route."""

    name: str = ""
    """Of the hook, in the settings."""
    route: str = "/"
    """The path of the route that it is made for."""

    reactor: Any
    """Twisted's, whose clock `timeouts` follow."""
    wall: Callable[[], float]
    """Unix time in seconds."""
    timeouts: Timeouts
    channels: Channels
    """All open connections, of all processes where there is a bus."""
    stores: Mapping[str, Any]
    """Those of [stores], by name: `wsgate.stores` has their classes."""
    count: Callable[..., None]
    """`count(name, word)` adds one to the metric of a hook by its name in the settings and what
    happened, a short word: `wsgate_hook_outcomes_total{hook,outcome}`; a third argument that many.
    """
