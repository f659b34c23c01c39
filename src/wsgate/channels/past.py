"""The last messages of all channels, and channels that have nobody but a past."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wsgate.channels.channel import Channel
from wsgate.channels.published import Published

LOOK_EVERY = 1.0
"""Seconds between two looks for what is too old, at least."""


class PastLimits(Protocol):
    """What bounds it; the names are those of `[limits]`."""

    @property
    def channel_history(self) -> int:
        """Messages of one channel."""

    @property
    def channel_history_age(self) -> float:
        """Seconds."""

    @property
    def channel_history_bytes(self) -> int:
        """Bytes of all channels."""


class Past:
    """Keeps messages, and channels without subscribers for as long as a message may be kept.

    Args:
        clock: tells what is old.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._kept: OrderedDict[Published, Channel] = OrderedDict()
        self._resting: OrderedDict[str, tuple[Channel, float]] = OrderedDict()
        self._age = 0.0
        self._timer: IDelayedCall | None = None
        self.size = 0
        """Bytes of all that is kept."""

    def __len__(self) -> int:
        """How many channels have nobody but a past."""
        return len(self._resting)

    # -- channels

    def rest(self, channel: Channel, limits: PastLimits) -> None:
        """Nobody is subscribed to `channel`, or something was published to it all the same."""
        self._resting[channel.name] = (channel, self._clock.seconds())
        self._resting.move_to_end(channel.name)
        self._look_later(limits.channel_history_age)

    def resting(self, name: str) -> Channel | None:
        """A channel that has nobody but a past."""
        found = self._resting.get(name)
        return found[0] if found is not None else None

    def wake(self, name: str) -> Channel | None:
        """As `resting`; it is the caller's from now on."""
        found = self._resting.pop(name, None)
        return found[0] if found is not None else None

    def drop_oldest(self) -> bool:
        """Forget the channel that has been without subscribers longest; whether there was one."""
        if not self._resting:
            return False
        _, (channel, _) = self._resting.popitem(last=False)
        self.forget(channel)
        return True

    # -- messages

    def keep(self, channel: Channel, published: Published, limits: PastLimits) -> bool:
        """Keep the newest message of `channel`; whether others had to go because of all bytes."""
        channel.keep(published)
        self._kept[published] = channel
        self.size += published.size
        while len(channel.kept) > limits.channel_history:
            self._forget_oldest_of(channel)
        self._look_later(limits.channel_history_age)
        if self.size <= limits.channel_history_bytes:
            return False
        if published.size > limits.channel_history_bytes:
            # It would cost all others their past, and not be kept either.
            self.forget(channel)
        while self.size > limits.channel_history_bytes:
            self._forget_oldest_of(next(iter(self._kept.values())))
        return True

    def forget(self, channel: Channel) -> None:
        """Keep no message of `channel`."""
        while channel.kept:
            self._forget_oldest_of(channel)

    def _forget_oldest_of(self, channel: Channel) -> None:
        published = channel.kept[0]
        channel.forget_oldest()
        del self._kept[published]
        self.size -= published.size

    # -- time

    def _look_later(self, age: float) -> None:
        self._age = age
        if self._timer is None:
            self._timer = self._clock.callLater(max(LOOK_EVERY, age / 10), self._look)

    def _look(self) -> None:
        self._timer = None
        self.expire()
        if self._kept or self._resting:
            self._look_later(self._age)

    def expire(self) -> None:
        """Forget what is too old."""
        before = self._clock.seconds() - self._age
        while self._kept:
            published, channel = next(iter(self._kept.items()))
            if published.time > before:
                break
            self._forget_oldest_of(channel)
        while self._resting:
            channel, since = next(iter(self._resting.values()))
            if since > before:
                break
            self.drop_oldest()
