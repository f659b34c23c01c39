"""A reactor whose timers do not notice that somebody sets the clock."""

from __future__ import annotations

import time
from typing import Any


def keep_monotonic(reactor: Any) -> None:
    """Let `reactor` count its time by the monotonic clock (CLOCK_MONOTONIC), from now on.

    Twisted's reactors take the time of day. When that is set forward, all timeouts are over at
    once, for every client; when it is set back, none ends until it has caught up. Calls that are
    planned already keep the seconds they have left. Harmless when done before.
    """
    if reactor.seconds is time.monotonic:
        return
    ahead = reactor.seconds() - time.monotonic()
    for call in reactor.getDelayedCalls():
        call.time -= ahead
        call.seconds = time.monotonic
    reactor.seconds = time.monotonic
