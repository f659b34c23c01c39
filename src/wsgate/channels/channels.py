"""What is sent to connections, users and channels, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.defer import Deferred, fail, succeed

from wsgate.channels.channel import Channel
from wsgate.channels.errors import BusAway, ChannelError
from wsgate.channels.fanout import Act
from wsgate.channels.member import Member
from wsgate.channels.message import Message
from wsgate.channels.names import check_channel
from wsgate.channels.notices import OnMissed, OnNotice, check_notice
from wsgate.channels.published import Published
from wsgate.channels.rooms import Rooms, new_channel
from wsgate.channels.tokens import Ask, Taken


class Channels(Rooms):
    """What may have to ask other processes gives a Deferred.

    Here it fires at once, but for what has so many receivers that it goes out in slices.
    """

    def start(self) -> None:
        """Begin to work with other processes, where there are any."""

    def stop(self) -> Deferred[None]:
        """Leave them; fires when that is done."""
        return succeed(None)

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

    def _publish_here(
        self,
        channel: str,
        message: Message,
        except_id: str | None,
        at: tuple[str, int] | None = None,
    ) -> Deferred[int]:
        """As `publish`, in this process.

        Args:
            at: epoch and offset of the message, where others have given it its place.
        """
        self._check_backlog(message)
        found = self._channels.get(channel) or self._past.resting(channel)
        if found is None:
            if not (self.limits.channel_history and self._has_room()):
                return succeed(0)
            found = new_channel(channel)
        if at is not None and at != (found.epoch, found.offset + 1):
            self._past.forget(found)
            found.move_to(at[0], at[1] - 1)
        published = found.advance(message, self._clock.seconds())
        self._keep(found, published)
        if found.is_empty:
            return succeed(0)
        return self._give(found, published, except_id)

    def _keep(self, channel: Channel, published: Published) -> None:
        limits = self.limits
        if not limits.channel_history:
            return
        if self._past.keep(channel, published, limits):
            self.hit("channel_history_bytes")
        if channel.is_empty:
            self._past.rest(channel, limits)

    def _give(self, channel: Channel, published: Published, except_id: str | None) -> Deferred[int]:
        subscribers = channel.subscribers
        excepted = self._members.get(except_id) if except_id is not None else None
        message, offset = published.message, published.offset

        def give(member: Member) -> bool:
            # Whoever came, or came again, after it was published is not meant.
            if member is excepted or subscribers.get(member, offset) >= offset:
                return False
            return member.push(published.envelope if channel.gets_envelopes(member) else message)

        return self._deliver(channel.name, channel.receivers(), give, message)

    def _check_backlog(self, message: Message) -> None:
        waiting = self._fanout.waiting_bytes
        # One that is longer than the limit goes out all the same where nothing waits.
        if waiting and waiting + len(message) > self.limits.publish_backlog:
            self.hit("publish_backlog")
            raise ChannelError(
                f"{waiting} bytes of messages wait to be delivered; publish less, or raise "
                "limits.publish_backlog",
                "publish_backlog",
            )

    def _deliver(
        self, key: str, receivers: Sequence[Member], give: Act, message: Message
    ) -> Deferred[int]:
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

    def give(
        self,
        channel: str,
        members: Sequence[Member],
        message: Message,
        wants: Callable[[Member], bool],
    ) -> Deferred[int]:
        """Give `message` to `members` of this process, in turn with what `channel` is given.

        Args:
            members: must not change.
            wants: asked of each when it is its turn.
        """
        return self._deliver(
            channel, members, lambda member: wants(member) and member.push(message), message
        )

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
        self._check_backlog(message)
        return self._deliver(
            _user_key(user), self._connections_of(user), lambda one: one.push(message), message
        )

    def close_user(self, user: str, code: int, reason: str) -> Deferred[int]:
        """Close every connection of `user`; fires with how many there were."""

        return self._fanout.send(_user_key(user), self._connections_of(user), _closer(code, reason))

    def close_subscribers(self, channel: str, code: int, reason: str) -> Deferred[int]:
        """Close every subscriber of `channel`, behind what was published to it before.

        Fires with how many there were.

        Raises:
            ChannelError: no channel may be called so.
        """
        found = self._channels.get(check_channel(channel))
        if found is None:
            return succeed(0)
        return self._fanout.send(channel, found.receivers(), _closer(code, reason))

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

    # -- notices

    def notify(self, topic: str, payload: bytes) -> Deferred[int]:
        """Tell all processes that listen to `topic`, this one at once; fires with how many did.

        What is told is neither kept nor repeated, and no client hears of it.

        Raises:
            ValueError: see `wsgate.channels.notices.check_notice`.
        """
        check_notice(topic, payload)
        return succeed(int(self._notices.tell(topic, payload)))

    def on_notice(
        self, topic: str, function: OnNotice, missed: OnMissed | None = None
    ) -> Callable[[], None]:
        """Let `function` have the payload of each notice of `topic`, from whichever process.

        Args:
            missed: called when other processes could be reached again, so that notices may be lost.

        Returns:
            What ends it.

        Raises:
            ValueError: see `wsgate.channels.notices.check_notice`.
        """
        check_notice(topic, b"")
        ticket = self._notices.add(topic, function, missed)

        def end() -> None:
            if self._notices.remove(topic, ticket):
                self._topic_went(topic)

        self._topic_came(topic)
        return end

    # -- what all processes share

    @property
    def is_shared(self) -> bool:
        """Whether there are other processes."""
        return False

    def take(self, ask: Ask) -> Deferred[Taken]:
        """Take tokens of a bucket that all processes share; fails with BusAway without others."""
        return fail(BusAway("there are no other processes"))

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


def _closer(code: int, reason: str) -> Act:
    def close(member: Member) -> bool:
        member.close(code, reason)
        return True

    return close


def _user_key(user: str) -> str:
    # No channel has a space in its name.
    return "user " + user
