"""Items that say which one came before them: none twice, and in that order.

Publishers that are several, or try again, name their items; a publisher that does not costs nothing
here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from wsgate.grip.publish import Item
from wsgate.timeouts import Timeout, Timeouts

REMEMBERED = 60.0
"""Seconds for which an id is known, as in Pushpin."""
HELD = 5.0
"""Seconds that an item waits for the one before it."""
MOST_HELD = 100
"""Items of one channel that wait."""
MOST_KNOWN = 10_000
"""Ids that are known at most, and channels; older ones are forgotten sooner."""


class Ordering:
    """The order of the items of all channels.

    `deliver` is called with each item when its turn has come.
    """

    def __init__(self, timeouts: Timeouts, deliver: Callable[[Item], object]) -> None:
        self._timeouts = timeouts
        self._deliver = deliver
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._last: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._held: dict[str, dict[str, tuple[Item, Timeout]]] = {}

    def offer(self, item: Item) -> None:
        """Deliver `item`, now, or after the one it says comes before it, or never.

        Never, if its id was delivered within `REMEMBERED` seconds, or if another already waits
        for the same one. One that would be too many, or waited too long, is delivered anyway.
        """
        now = self._timeouts.seconds()
        self._forget(now)
        if item.id is not None and (item.channel, item.id) in self._known:
            return
        last = self._last.get(item.channel)
        if item.prev_id is None or last is None or last[0] == item.prev_id:
            self._pass(item, now)
        else:
            self._hold(item, item.prev_id)

    @property
    def held(self) -> int:
        """How many items wait."""
        return sum(map(len, self._held.values()))

    def _hold(self, item: Item, prev_id: str) -> None:
        held = self._held.setdefault(item.channel, {})
        if prev_id in held and held[prev_id][0].id == item.id:
            return
        if prev_id in held or len(held) >= MOST_HELD:
            self._pass(item, self._timeouts.seconds())
            return
        timeout = self._timeouts.call_later(HELD, self._waited, item.channel, prev_id)
        held[prev_id] = (item, timeout)

    def _waited(self, channel: str, prev_id: str) -> None:
        item, _ = self._take(channel, prev_id)
        self._pass(item, self._timeouts.seconds())

    def _take(self, channel: str, prev_id: str) -> tuple[Item, Timeout]:
        held = self._held[channel]
        taken = held.pop(prev_id)
        if not held:
            del self._held[channel]
        return taken

    def _pass(self, item: Item, now: float) -> None:
        """Deliver `item`, and what waited for it."""
        while True:
            self._deliver(item)
            if item.id is None:
                return
            self._remember(item.channel, item.id, now)
            if item.id not in self._held.get(item.channel, ()):
                return
            item, timeout = self._take(item.channel, item.id)
            timeout.cancel()

    def _remember(self, channel: str, name: str, now: float) -> None:
        until = now + REMEMBERED
        self._known[channel, name] = until
        self._known.move_to_end((channel, name))
        self._last[channel] = (name, until)
        self._last.move_to_end(channel)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        if len(self._last) > MOST_KNOWN:
            self._last.popitem(last=False)

    def _forget(self, now: float) -> None:
        while self._known and next(iter(self._known.values())) <= now:
            self._known.popitem(last=False)
        while self._last and next(iter(self._last.values()))[1] <= now:
            self._last.popitem(last=False)
