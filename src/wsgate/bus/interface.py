"""What `SharedChannels` needs of whatever connects several processes: Redis, or a parent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred

from wsgate.channels.tokens import Ask, Taken

_POSITION = re.compile(r"([0-9a-f]{1,32}):([0-9]{1,15})")


class Position(NamedTuple):
    """A place in a channel: after message `offset` of those counted from 1 since `epoch` began."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """What `str` gave. Raises ValueError for anything else."""
        match = _POSITION.fullmatch(text)
        if match is None:
            raise ValueError("no position in a channel")
        return cls(match[1], int(match[2]))


NOWHERE = Position("", 0)
"""Of a channel that nothing was ever published to."""


class Entry(NamedTuple):
    """One message of a channel's history."""

    offset: int
    data: bytes


class Stretch(NamedTuple):
    """Where a channel is, and those of its last messages that are kept, oldest first."""

    position: Position
    entries: tuple[Entry, ...] = ()


class Change(NamedTuple):
    """What changed for all nodes together when one node's attendance did."""

    occupied: bool = False
    vacated: bool = False
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


UNCHANGED = Change()


class Presence(NamedTuple):
    """Subscribers of a channel on all nodes, and whose they are, in no order."""

    subscribers: int = 0
    users: tuple[str, ...] = ()


class BusCounts:
    """What a bus has done so far, as plain numbers."""

    def __init__(self) -> None:
        self.connects = 0
        self.failed = 0
        """Attempts to connect that came to nothing."""
        self.published = 0
        self.received = 0
        self.malformed = 0
        self.not_published: Counter[str] = Counter()
        """Publishes that failed: `full`: too many bytes waited; `late`: the bus was away for too
        long; `failed`: it refused, or went away before it answered."""
        self.waiting_bytes = 0


class Listener(Protocol):
    """Who is told what comes over the bus."""

    def message_published(self, channel: str, position: Position, data: bytes) -> None:
        """A message of a channel that is followed; `position` is the place after it."""

    def message_sent(self, topic: str, data: bytes) -> None:
        """A message to a topic that is listened to."""

    def node_swept(self, channel: str, change: Change) -> None:
        """Another node is gone, and with it its attendance."""

    def bus_up(self) -> None:
        """The bus takes commands. It knows nothing of this node: tell it everything again."""

    def bus_down(self, why: str) -> None:
        """It takes none any more."""


class Bus(Protocol):
    """Other nodes, and what all share. What is asked is done in the order in which it is asked.

    Every Deferred fails with BusAway or BusUnanswered; only what `publish` and `send` are given
    waits for a bus that is away, for a while.
    """

    counts: BusCounts

    @property
    def is_up(self) -> bool:
        """Whether it takes commands now."""

    def start(self, node: str, listener: Listener) -> None:
        """Connect as `node`, 8 hex digits that no other has."""

    def stop(self) -> Deferred[None]:
        """Take this node's attendance away and disconnect."""

    def listen(self, topic: str) -> None:
        """Let `listener.message_sent` have what is sent to `topic`."""

    def unlisten(self, topic: str) -> None:
        """No longer."""

    def send(self, topic: str, data: bytes) -> Deferred[int]:
        """To all nodes that listen to `topic`; fires with how many do."""

    def follow(self, channel: str, after: Position | None = None) -> Deferred[Stretch]:
        """Let `listener.message_published` have what is published to `channel` from now on.

        Fires as `read` does, after `listener` got what was published before that moment; with all
        of the history if `after` is None.
        """

    def unfollow(self, channel: str) -> None:
        """No longer."""

    def publish(self, channel: str, data: bytes) -> Deferred[int]:
        """To all nodes that follow `channel`; fires with how many subscribers they have."""

    def read(self, channel: str, after: Position) -> Deferred[Stretch]:
        """Where a channel is, and what was published after `after` as far as it is kept.

        All that is kept if `after` is of another epoch.
        """

    def attend(
        self,
        channel: str,
        count: int,
        joined: Iterable[str] = (),
        left: Iterable[str] = (),
        *,
        anew: bool = False,
    ) -> Deferred[Change]:
        """Say that this node has `count` subscribers in `channel` now.

        Args:
            joined, left: users of this node that are in it, and that are no more.
            anew: `joined` are all.
        """

    def presence(self, channel: str, *, users: bool) -> Deferred[Presence]:
        """Who is in `channel`; without `users` their number only."""

    def take(self, ask: Ask) -> Deferred[Taken]:
        """Take tokens of a bucket that all nodes share, see `wsgate.bus.buckets`."""
