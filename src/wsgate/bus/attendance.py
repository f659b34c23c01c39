"""What the bus is told of who is in which channel at this node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wsgate.bus.interface import Bus, Change
from wsgate.channels import BusError
from wsgate.channels.channel import Channel
from wsgate.floods import CalmLogger

_log = CalmLogger(namespace="wsgate.bus")


class Attendance:
    """Tells the bus what changes, once for all that changes in one turn of the reactor.

    Args:
        here: the channels that somebody of this node is subscribed to now.
        changed: called with what that changes for all nodes together.
    """

    def __init__(
        self,
        clock: IReactorTime,
        bus: Bus,
        here: Mapping[str, Channel],
        changed: Callable[[str, Change], None],
    ) -> None:
        self._clock = clock
        self._bus = bus
        self._here = here
        self._changed = changed
        self._untold: dict[str, dict[str, bool]] = {}
        """Channels with a change, each with the users that came (True) or went (False)."""
        self._told: set[str] = set()
        """Channels that the bus may believe this node to be in."""
        self._is_due = False

    def changes(self, channel: str) -> dict[str, bool]:
        """Tell the bus of `channel` soon; into the result go users: whether they are here now."""
        if not self._is_due:
            self._is_due = True
            self._clock.callLater(0, self._tell_changes)
        return self._untold.setdefault(channel, {})

    def tell_everything(self) -> None:
        """Tell a bus that knows nothing, or not what it knows."""
        self._untold.clear()
        for channel in {*self._told, *self._here}:
            found = self._here.get(channel)
            self._tell(channel, [*found.users] if found is not None else [], [], anew=True)

    def _tell_changes(self) -> None:
        self._is_due = False
        untold, self._untold = self._untold, {}
        for channel, users in untold.items():
            joined = [user for user, is_here in users.items() if is_here]
            left = [user for user, is_here in users.items() if not is_here]
            self._tell(channel, joined, left)

    def _tell(
        self, channel: str, joined: list[str], left: list[str], *, anew: bool = False
    ) -> None:
        found = self._here.get(channel)
        count = len(found.subscribers) if found is not None else 0
        self._told.add(channel)
        told = self._bus.attend(channel, count, joined, left, anew=anew)
        told.addCallback(partial(self._taken, channel, count))
        told.addErrback(self._not_taken)

    def _taken(self, channel: str, count: int, change: Change) -> None:
        if not count and channel not in self._here and channel not in self._untold:
            self._told.discard(channel)
        self._changed(channel, change)

    def _not_taken(self, failure: Failure) -> None:
        failure.trap(BusError)
        # Of a bus that is away, and is told everything when it is back, others complain.
        if self._bus.is_up:
            _log.error("the bus: {error}", error=failure.getErrorMessage(), kind="attendance")
