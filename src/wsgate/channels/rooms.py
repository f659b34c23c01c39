"""All open connections of this process, their channels and their users."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from wsgate.channels.channel import Channel
from wsgate.channels.errors import ChannelError
from wsgate.channels.fanout import Fanout
from wsgate.channels.limits import WAITING_OVERHEAD, ChannelLimits
from wsgate.channels.member import NO_CHANNELS, Member
from wsgate.channels.names import OF_DIALECT, check_channel, check_user
from wsgate.channels.notices import Notices
from wsgate.channels.past import Past
from wsgate.channels.published import Published, opening

_log = Logger(namespace="wsgate")


class Rooms:
    """Open connections by id, by user and by channel, and who comes and goes.

    Args:
        clock: times the slices.
        limits: may be replaced at any time, for what comes after.
        hits: counts the limits that were hit, by the name of the setting.
    """

    def __init__(
        self,
        clock: IReactorTime,
        limits: ChannelLimits | None = None,
        hits: Counter[str] | None = None,
    ) -> None:
        self.limits = limits or ChannelLimits()
        self.on_occupied: list[Callable[[str], object]] = []
        """Called with a channel that has its first subscriber."""
        self.on_vacated: list[Callable[[str], object]] = []
        """Called with a channel that has lost its last one."""
        self.on_joined: list[Callable[[str, str], object]] = []
        """Called with a channel and a user whose first connection is in it now."""
        self.on_left: list[Callable[[str, str], object]] = []
        """Called with a channel and a user whose last connection has left it."""
        self.published = 0
        """Publishes to channels so far."""
        self.delivered = 0
        """Messages given to connections so far, by whichever way."""
        self.subscriptions = 0
        """Subscriptions there are now."""
        self._hits: Counter[str] = hits if hits is not None else Counter()
        self._clock = clock
        self._fanout = Fanout(clock)
        self._past = Past(clock)
        self._notices = Notices()
        self._members: dict[str, Member] = {}
        self._channels: dict[str, Channel] = {}
        self._users: dict[str, dict[Member, None]] = {}

    @property
    def count(self) -> int:
        """How many channels there are, those without subscribers but with a past included."""
        return len(self._channels) + len(self._past)

    @property
    def history_bytes(self) -> int:
        """Memory that all histories take."""
        return self._past.size

    def hit(self, limit: str) -> None:
        """Count that `limit` took effect."""
        self._hits[limit] += 1

    def counts(self, prefix: str) -> dict[str, int]:
        """Subscribers in this process of each channel whose name begins with `prefix`."""
        return {
            name: len(channel.subscribers)
            for name, channel in self._channels.items()
            if name.startswith(prefix)
        }

    # -- connections

    def add(self, member: Member) -> None:
        """A connection is open."""
        self._members[member.connection_id] = member
        if member.user is not None:
            self._remember_user(member, member.user)

    def remove(self, member: Member) -> None:
        """A connection is gone: it leaves its channels. Harmless when it was never added.

        `member.user` stays as it is.
        """
        found = self._members.pop(member.connection_id, None)
        if found is None:
            return
        for name in tuple(found.channels):
            self._leave(found, name)
        if found.user is not None:
            self._forget_user(found, found.user)

    def find(self, connection_id: str) -> Member | None:
        """The open connection of this id in this process."""
        return self._members.get(connection_id)

    def subscribe(
        self, member: Member, channel: str, *, recover_from: tuple[str, ...] | None = None
    ) -> None:
        """Give `member` what is published to `channel` from now on. Harmless when it was before.

        Args:
            recover_from: places (`EPOCH:OFFSET`) from which it wants to go on; it gets envelopes,
                see `wsgate.channels.published`. None: it gets what is published, as it is.

        Raises:
            ChannelError: no such name may be, there are too many channels, or `member` is not open.
        """
        is_in = channel in member.channels
        if is_in and recover_from is None:
            return
        check_channel(channel)
        if self._members.get(member.connection_id) is not member:
            raise ChannelError(f"connection {member.connection_id} is not open")
        if not is_in and len(member.channels) >= self.limits.channels_per_connection:
            raise self._too_many("channels_per_connection", "this connection has", channel)
        found = self._channels.get(channel) or self._occupy(channel)
        if recover_from is not None and not found.gets_envelopes(member):
            self._begin_envelopes(member, found, recover_from)
        if not is_in:
            self._join(member, found)

    def _occupy(self, channel: str) -> Channel:
        found = self._past.wake(channel)
        if found is None:
            if not self._has_room():
                raise self._too_many("max_channels", "there are", channel)
            found = new_channel(channel)
        self._channels[channel] = found
        return found

    def _has_room(self) -> bool:
        """Whether there may be one more channel; one with only a past goes for it."""
        return self.count < self.limits.max_channels or self._past.drop_oldest()

    def _begin_envelopes(self, member: Member, channel: Channel, places: tuple[str, ...]) -> None:
        """Tell `member` where the channel is, and what it has missed."""
        missed = channel.missed_since(places)
        if missed is not None and sum(map(_buffered, missed)) > self.limits.push_buffer:
            missed = None
        recovered = missed is not None if places else None
        member.push(opening(channel.name, channel.epoch, channel.offset, recovered))
        for published in missed or ():
            member.push(published.envelope)
        channel.envelop(member)

    def _too_many(self, limit: str, has: str, channel: str) -> ChannelError:
        self.hit(limit)
        return ChannelError(
            f"{has} {getattr(self.limits, limit)} channels already, so {channel} cannot be one; "
            f"raise limits.{limit}, or unsubscribe from others first",
            limit,
        )

    def _join(self, member: Member, channel: Channel) -> None:
        is_first = channel.is_empty
        is_new_user = channel.add(member)
        if isinstance(member.channels, set):
            member.channels.add(channel.name)
        else:
            member.channels = {channel.name}
        self.subscriptions += 1
        if is_first:
            self._occupied(channel.name)
        if is_new_user and member.user is not None:
            self._joined(channel.name, member.user)

    def unsubscribe(self, member: Member, channel: str) -> None:
        """Give `member` nothing more of `channel`. Harmless when it gets nothing of it."""
        if channel in member.channels:
            self._leave(member, channel)

    def _leave(self, member: Member, name: str) -> None:
        channel = self._channels[name]
        is_gone_user = channel.remove(member)
        if isinstance(member.channels, set) and len(member.channels) > 1:
            member.channels.remove(name)
        else:
            member.channels = NO_CHANNELS
        self.subscriptions -= 1
        if channel.is_empty:
            del self._channels[name]
            if self.limits.channel_history:
                self._past.rest(channel, self.limits)
        if is_gone_user and member.user is not None:
            self._left(name, member.user)
        if channel.is_empty:
            self._vacated(name)

    def bind_user(self, member: Member, user: str) -> None:
        """Let `member` be a connection of `user`, and no longer of another; "" of none.

        A dialect's own users are called `OF_DIALECT` and what `check_user` takes.

        Raises:
            ChannelError: no user may be called so.
        """
        if user:
            check_user(user.removeprefix(OF_DIALECT))
        new = user or None
        old = member.user
        if new == old:
            return
        member.user = new
        for name in tuple(member.channels):
            self._change_user(self._channels[name], old, new)
        if old is not None:
            self._forget_user(member, old)
        if new is not None and member.connection_id in self._members:
            self._remember_user(member, new)

    def _change_user(self, channel: Channel, old: str | None, new: str | None) -> None:
        if old is not None and channel.user_went(old):
            self._left(channel.name, old)
        if new is not None and channel.user_came(new):
            self._joined(channel.name, new)

    def _remember_user(self, member: Member, user: str) -> None:
        if user not in self._users:
            self._user_came(user)
        self._users.setdefault(user, {})[member] = None

    def _forget_user(self, member: Member, user: str) -> None:
        connections = self._users.get(user, {})
        connections.pop(member, None)
        if not connections and self._users.pop(user, None) is not None:
            self._user_went(user)

    # -- what may be of interest to others; `wsgate.bus` asks all processes first

    def _occupied(self, channel: str) -> None:
        _tell(self.on_occupied, channel)

    def _vacated(self, channel: str) -> None:
        _tell(self.on_vacated, channel)

    def _joined(self, channel: str, user: str) -> None:
        _tell(self.on_joined, channel, user)

    def _left(self, channel: str, user: str) -> None:
        _tell(self.on_left, channel, user)

    def _user_came(self, user: str) -> None:
        """The first connection of `user` is here."""

    def _user_went(self, user: str) -> None:
        """The last one is not any more."""

    def _topic_came(self, topic: str) -> None:
        """Somebody here listens to notices of `topic`."""

    def _topic_went(self, topic: str) -> None:
        """Nobody does any more."""


def new_channel(name: str) -> Channel:
    """One whose messages count from 1."""
    return Channel(name, secrets.token_hex(8))


def _buffered(published: Published) -> int:
    return len(published.envelope) + WAITING_OVERHEAD


def _tell(listeners: list[Callable[..., object]], *what: object) -> None:
    for listener in listeners:
        try:
            listener(*what)
        except Exception:
            _log.failure("a listener to channels failed")
