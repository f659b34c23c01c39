"""All open connections of this process, their channels and their users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from wsgate.channels.channel import Channel
from wsgate.channels.errors import ChannelError
from wsgate.channels.fanout import Act, Fanout
from wsgate.channels.member import NO_CHANNELS, Member
from wsgate.channels.message import Message
from wsgate.channels.names import check_channel, check_user

_log = Logger(namespace="wsgate")


class ChannelLimits(NamedTuple):
    """How much there may be; the names are those of `[limits]`."""

    channels_per_connection: int = 32
    max_channels: int = 100_000
    publish_backlog: int = 64 * 1024 * 1024
    """Bytes of all messages whose receivers have not all been given them."""
    variables_per_connection: int = 32
    variable_bytes_per_connection: int = 4096
    """Names and values of all variables of one connection."""


class Channels:
    """Open connections by id, by user and by channel.

    What may have to ask other processes gives a Deferred; here it fires at once, but for what has
    so many receivers that it goes out in slices.

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
        self._fanout = Fanout(clock)
        self._members: dict[str, Member] = {}
        self._channels: dict[str, Channel] = {}
        self._users: dict[str, dict[Member, None]] = {}

    @property
    def count(self) -> int:
        """How many channels there are."""
        return len(self._channels)

    def hit(self, limit: str) -> None:
        """Count that `limit` took effect."""
        self._hits[limit] += 1

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

        Raises:
            ChannelError: no such name may be, there are too many channels, or `member` is not open.
        """
        if channel in member.channels:
            return
        check_channel(channel)
        if self._members.get(member.connection_id) is not member:
            raise ChannelError(f"connection {member.connection_id} is not open")
        limits = self.limits
        if len(member.channels) >= limits.channels_per_connection:
            raise self._too_many("channels_per_connection", "this connection has", channel)
        found = self._channels.get(channel)
        if found is None:
            if len(self._channels) >= limits.max_channels:
                raise self._too_many("max_channels", "there are", channel)
            found = self._channels[channel] = Channel(channel)
        self._join(member, found)

    def _too_many(self, limit: str, has: str, channel: str) -> ChannelError:
        self._hits[limit] += 1
        return ChannelError(
            f"{has} {getattr(self.limits, limit)} channels already, so {channel} cannot be one; "
            f"raise limits.{limit}, or unsubscribe from others first",
            limit,
        )

    def _join(self, member: Member, channel: Channel) -> None:
        is_first = channel.is_empty
        is_new_user = channel.add(member)
        member.channels = {*member.channels, channel.name}
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
        member.channels = (member.channels - {name}) or NO_CHANNELS
        self.subscriptions -= 1
        if channel.is_empty:
            del self._channels[name]
        if is_gone_user and member.user is not None:
            self._left(name, member.user)
        if channel.is_empty:
            self._vacated(name)

    def bind_user(self, member: Member, user: str) -> None:
        """Let `member` be a connection of `user`, and no longer of another; "" of none.

        Raises:
            ChannelError: no user may be called so.
        """
        new = check_user(user) if user else None
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

    # -- messages

    def publish(
        self, channel: str, message: Message, *, except_id: str | None = None
    ) -> Deferred[int]:
        """Give `message` to every subscriber of `channel`; fires with how many took it.

        Args:
            except_id: the connection that does not get it.

        Raises:
            ChannelError: no channel may be called so, or more is published than goes out.
        """
        check_channel(channel)
        self.published += 1
        return self._publish_here(channel, message, except_id)

    def _publish_here(self, channel: str, message: Message, except_id: str | None) -> Deferred[int]:
        found = self._channels.get(channel)
        if found is None:
            return succeed(0)
        subscribers = found.subscribers
        excepted = self._members.get(except_id) if except_id is not None else None

        def give(member: Member) -> bool:
            return member in subscribers and member is not excepted and member.push(message)

        return self._deliver(channel, found.receivers(), give, message)

    def _deliver(
        self, key: str, receivers: tuple[Member, ...], give: Act, message: Message
    ) -> Deferred[int]:
        waiting = self._fanout.waiting_bytes
        # One that is longer than the limit goes out all the same where nothing waits.
        if waiting and waiting + len(message) > self.limits.publish_backlog:
            self._hits["publish_backlog"] += 1
            raise ChannelError(
                f"{waiting} bytes of messages wait to be delivered; publish less, or raise "
                "limits.publish_backlog",
                "publish_backlog",
            )
        return self._fanout.send(key, receivers, give, len(message)).addCallback(self._delivered_to)

    def _delivered_to(self, delivered: int) -> int:
        self.delivered += delivered
        return delivered

    def send_to_connection(self, connection_id: str, message: Message) -> Deferred[bool]:
        """Give `message` to one connection; fires with whether it took it."""
        member = self._members.get(connection_id)
        taken = member is not None and member.push(message)
        self.delivered += taken
        return succeed(taken)

    def close_connection(self, connection_id: str, code: int, reason: str) -> Deferred[bool]:
        """Close one connection; fires with whether there was one."""
        member = self._members.get(connection_id)
        if member is not None:
            member.close(code, reason)
        return succeed(member is not None)

    def send_to_user(self, user: str, message: Message) -> Deferred[int]:
        """Give `message` to every connection of `user`; fires with how many took it.

        Raises:
            ChannelError: more is sent than goes out.
        """
        return self._deliver(
            _user_key(user), self._connections_of(user), lambda one: one.push(message), message
        )

    def close_user(self, user: str, code: int, reason: str) -> Deferred[int]:
        """Close every connection of `user`; fires with how many there were."""

        def close(member: Member) -> bool:
            member.close(code, reason)
            return True

        return self._fanout.send(_user_key(user), self._connections_of(user), close)

    def _connections_of(self, user: str) -> tuple[Member, ...]:
        return tuple(self._users.get(user, ()))

    def subscribe_connection(self, connection_id: str, channel: str) -> Deferred[bool]:
        """As `subscribe`; fires with whether there is such a connection."""
        return self._with(connection_id, partial(self.subscribe, channel=channel))

    def unsubscribe_connection(self, connection_id: str, channel: str) -> Deferred[bool]:
        """As `unsubscribe`; fires with whether there is such a connection."""
        return self._with(connection_id, partial(self.unsubscribe, channel=channel))

    def _with(self, connection_id: str, act: Callable[[Member], object]) -> Deferred[bool]:
        member = self._members.get(connection_id)
        if member is not None:
            act(member)
        return succeed(member is not None)

    # -- what there is

    def connection_info(self, connection_id: str) -> Deferred[dict[str, object] | None]:
        """What is known of a connection; None if there is none of this id."""
        member = self._members.get(connection_id)
        return succeed(member.info() if member is not None else None)

    def channel_info(self, channel: str, *, users: bool) -> Deferred[dict[str, object]]:
        """How many connections are subscribed, and with `users` whose they are, in order of name.

        {"channel": name, "subscribers": count, "users": [user, …]}

        Raises:
            ChannelError: no channel may be called so.
        """
        found = self._channels.get(check_channel(channel))
        info: dict[str, object] = {
            "channel": channel,
            "subscribers": len(found.subscribers) if found is not None else 0,
        }
        if users:
            info["users"] = sorted(found.users) if found is not None else []
        return succeed(info)


def _user_key(user: str) -> str:
    # No channel has a space in its name.
    return "user " + user


def _tell(listeners: list[Callable[..., object]], *what: object) -> None:
    for listener in listeners:
        try:
            listener(*what)
        except Exception:
            _log.failure("a listener to channels failed")
