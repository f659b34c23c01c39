"""A bus in the memory of one process: topics, channels with their last messages, attendance. Pure.

What `lua.py` has Redis do, done here; the parent of several workers has one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from wsgate.bus.buckets import Buckets
from wsgate.bus.interface import (
    NOWHERE,
    UNCHANGED,
    Change,
    Entry,
    Listener,
    Position,
    Presence,
    Stretch,
)


class Keeping(NamedTuple):
    """How much of the past is kept: messages of each channel, seconds, bytes of all channels."""

    messages: int = 0
    age: float = 300.0
    size: int = 64 * 1024 * 1024


class _Past(NamedTuple):
    """One message that is kept."""

    entry: Entry
    time: float


class _Channel:
    """One channel, followed or with a past."""

    __slots__ = ("epoch", "followers", "in_it", "offset", "past", "time")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.offset = 0
        self.time = 0.0
        """Of the last message."""
        self.past: deque[_Past] = deque()
        self.followers: dict[str, Listener] = {}
        self.in_it: dict[str, tuple[int, set[str]]] = {}
        """For each node: how many subscribers, and which users."""

    @property
    def is_unused(self) -> bool:
        return not (self.followers or self.in_it)

    def subscribers(self) -> int:
        return sum(count for count, _ in self.in_it.values())

    def users(self) -> set[str]:
        return set().union(*(users for _, users in self.in_it.values()))


class Exchange:
    """What several nodes share.

    Args:
        now: gives seconds.
        epoch: gives what no other channel is called by: hex digits.
    """

    KEEP_POSITION = 24 * 3600.0
    """Seconds that the offset of a channel nobody uses is kept after its last message."""

    def __init__(
        self, now: Callable[[], float], epoch: Callable[[], str], keeping: Keeping
    ) -> None:
        self.keeping = keeping
        self.kept_bytes = 0
        self.buckets = Buckets(now)
        self._now = now
        self._epoch = epoch
        self._channels: OrderedDict[str, _Channel] = OrderedDict()
        """The least recently published to first."""
        self._topics: dict[str, dict[str, Listener]] = {}

    def leave(self, node: str) -> list[tuple[str, Change]]:
        """A node is gone, and everything of it; what that changes for the others."""
        for topic in [name for name, nodes in self._topics.items() if node in nodes]:
            self.unlisten(node, topic)
        changes = []
        for name, channel in tuple(self._channels.items()):
            channel.followers.pop(node, None)
            if node in channel.in_it:
                changes.append((name, self.attend(node, name, 0)))
            else:
                self._drop_unheard(name)
        return [(name, change) for name, change in changes if change != UNCHANGED]

    def listen(self, node: str, topic: str, listener: Listener) -> None:
        """Let `listener` have what is sent to `topic`."""
        self._topics.setdefault(topic, {})[node] = listener

    def unlisten(self, node: str, topic: str) -> None:
        """No longer."""
        nodes = self._topics.get(topic, {})
        nodes.pop(node, None)
        if not nodes:
            self._topics.pop(topic, None)

    def send(self, topic: str, data: bytes) -> int:
        """To all that listen; how many do."""
        listeners = tuple(self._topics.get(topic, {}).values())
        for listener in listeners:
            listener.message_sent(topic, data)
        return len(listeners)

    def follow(
        self, node: str, channel: str, after: Position | None, listener: Listener
    ) -> Stretch:
        """Let `listener` have what is published from now on; else as `read`."""
        self._of(channel).followers[node] = listener
        return self.read(channel, after or NOWHERE)

    def unfollow(self, node: str, channel: str) -> None:
        """No longer."""
        if channel in self._channels:
            self._channels[channel].followers.pop(node, None)
            self._drop_unheard(channel)

    def publish(self, name: str, data: bytes) -> int:
        """To all that follow; how many subscribers there are."""
        channel = self._of(name)
        self._channels.move_to_end(name)
        channel.offset += 1
        channel.time = self._now()
        position = Position(channel.epoch, channel.offset)
        if self.keeping.messages:
            self._keep(channel, Entry(channel.offset, data))
        for listener in tuple(channel.followers.values()):
            listener.message_published(name, position, data)
        self._forget_old()
        return channel.subscribers()

    def read(self, channel: str, after: Position) -> Stretch:
        """Where a channel is, and what was published after `after` as far as it is kept."""
        found = self._channels.get(channel)
        if found is None:
            return Stretch(NOWHERE)
        oldest = self._now() - self.keeping.age
        first = after.offset if after.epoch == found.epoch else 0
        entries = tuple(
            past.entry for past in found.past if past.time >= oldest and past.entry.offset > first
        )
        return Stretch(Position(found.epoch, found.offset), entries)

    def attend(
        self,
        node: str,
        channel: str,
        count: int,
        joined: Iterable[str] = (),
        left: Iterable[str] = (),
        *,
        anew: bool = False,
    ) -> Change:
        """A node has `count` subscribers; what that changes for all together."""
        found = self._of(channel)
        before, users_before = found.subscribers(), found.users()
        users = set() if anew or not count else found.in_it.get(node, (0, set()))[1]
        users = (users - {*left}) | {*joined}
        if count:
            found.in_it[node] = (count, users)
        else:
            found.in_it.pop(node, None)
        after, users_after = found.subscribers(), found.users()
        self._drop_unheard(channel)
        return Change(
            occupied=bool(after and not before),
            vacated=bool(before and not after),
            joined=tuple(sorted(users_after - users_before)),
            left=tuple(sorted(users_before - users_after)),
        )

    def presence(self, channel: str) -> Presence:
        """Who is in `channel`."""
        found = self._channels.get(channel)
        return Presence(found.subscribers(), tuple(found.users())) if found else Presence()

    def _of(self, name: str) -> _Channel:
        found = self._channels.get(name)
        if found is None:
            found = self._channels[name] = _Channel(self._epoch())
        return found

    def _drop_unheard(self, name: str) -> None:
        """Forget a channel that nobody uses and nothing was published to: clients may name many."""
        channel = self._channels.get(name)
        if channel is not None and channel.is_unused and not channel.offset:
            del self._channels[name]

    def _keep(self, channel: _Channel, entry: Entry) -> None:
        channel.past.append(_Past(entry, channel.time))
        self.kept_bytes += len(entry.data)
        while len(channel.past) > self.keeping.messages:
            self._drop_oldest(channel)

    def _drop_oldest(self, channel: _Channel) -> None:
        self.kept_bytes -= len(channel.past.popleft().entry.data)

    def _forget_old(self) -> None:
        """Of the channels published to the longest ago, a few in each call."""
        now = self._now()
        for name in tuple(self._first(4)):
            channel = self._channels[name]
            is_old = now - channel.time > self.keeping.age
            while channel.past and (is_old or self.kept_bytes > self.keeping.size):
                self._drop_oldest(channel)
            if channel.is_unused and now - channel.time > self.KEEP_POSITION:
                del self._channels[name]
            elif not channel.past:
                # What has nothing to forget stands in nobody's way.
                self._channels.move_to_end(name)

    def _first(self, most: int) -> Iterable[str]:
        for _, name in zip(range(most), self._channels, strict=False):
            yield name
