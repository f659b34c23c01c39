"""Ports that accept no more than can be served.

What is not accepted waits in the kernel's queue, where it costs nothing, and is served in its turn.
Twisted accepts whatever waits: in a storm of thousands that come back at once, all its time goes
into connections that have to be turned away again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

AT_ONCE = 64
"""Connections accepted in one turn of the reactor, between which those before are read."""

PAUSE = 0.05
"""Seconds until a port looks again whether there is room."""


def accept_while_there_is_room(port: Any, clock: Any, room: Callable[[], int]) -> None:
    """Let `port`, a listening one of Twisted's, accept `room()` connections a turn at most.

    While that is 0 it accepts none. A port of another kind is left as it is.
    """
    accept = getattr(port, "doRead", None)
    if accept is None or not hasattr(port, "numberAccepts"):
        return

    def do_read() -> None:
        number = min(AT_ONCE, room())
        if number > 0:
            port.numberAccepts = number
            accept()
        else:
            port.stopReading()
            clock.callLater(PAUSE, look_again)

    def look_again() -> None:
        if port.connected and not port.disconnecting:
            port.startReading()

    port.doRead = do_read
