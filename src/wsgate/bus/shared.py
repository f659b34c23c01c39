"""`Channels` of several processes: what one does reaches the connections of all.

A channel's messages go out in the order that the bus gives them, on every node alike; also what was
published here comes back over the bus before anybody gets it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from wsgate.bus.attendance import Attendance
from wsgate.bus.envelope import Envelope, EnvelopeError, Kind, decode, encode, is_connection_id
from wsgate.bus.followed import FollowedChannels, code_and_reason, message_in
from wsgate.bus.interface import Bus, Change, Presence
from wsgate.bus.nodes import Nodes
from wsgate.channels import (
    ChannelLimits,
    Channels,
    Member,
    Message,
    check_channel,
    check_notice,
)
from wsgate.channels.channel import Channel
from wsgate.channels.tokens import Ask, Taken
from wsgate.floods import CalmLogger
from wsgate.node import NODE, node_of

_NOTICE = "notice:"

_log = CalmLogger(namespace="wsgate.bus")


class SharedChannels(FollowedChannels):
    """See `Channels`. Its Deferreds fail with a BusError where the bus does not do its part.

    `on_occupied` and the like are about all nodes together, and called on one of them.
    """

    def __init__(
        self,
        clock: IReactorTime,
        limits: ChannelLimits | None,
        hits: Counter[str] | None,
        bus: Bus,
        node: str = NODE,
    ) -> None:
        super().__init__(clock, limits, hits, bus)
        self.node = node
        self._was_up = False
        self._attendance = Attendance(clock, bus, self._channels, self.node_swept)
        self._nodes = Nodes(
            clock,
            bus,
            node,
            {
                Kind.SEND_TO_CONNECTION: self._send_here,
                Kind.CLOSE_CONNECTION: self._close_here,
                Kind.SUBSCRIBE: partial(self._subscribe_here, Channels.subscribe_connection),
                Kind.UNSUBSCRIBE: partial(self._subscribe_here, Channels.unsubscribe_connection),
                Kind.CONNECTION_INFO: self._info_here,
                Kind.SEND_TO_USER: self._send_to_user_here,
                Kind.CLOSE_USER: self._close_user_here,
            },
        )

    @property
    def unanswered(self) -> int:
        """Questions to other nodes that not all of them answered in time."""
        return self._nodes.unanswered

    def start(self) -> None:
        """Connect to the bus."""
        self.bus.start(self.node, self)

    def stop(self) -> Deferred[None]:
        """Leave it."""
        return self.bus.stop()

    # -- what changes here, and the bus is told

    def _join(self, member: Member, channel: Channel) -> None:
        super()._join(member, channel)
        self._attendance.changes(channel.name)

    def _leave(self, member: Member, name: str) -> None:
        super()._leave(member, name)
        self._attendance.changes(name)

    def _occupied(self, channel: str) -> None:
        self._follow(channel)

    def _vacated(self, channel: str) -> None:
        self._unfollow(channel)

    def _joined(self, channel: str, user: str) -> None:
        self._attendance.changes(channel)[user] = True

    def _left(self, channel: str, user: str) -> None:
        self._attendance.changes(channel)[user] = False

    def _user_came(self, user: str) -> None:
        self.bus.listen(f"user:{user}")

    def _user_went(self, user: str) -> None:
        self.bus.unlisten(f"user:{user}")

    def _topic_came(self, topic: str) -> None:
        # Before the bus is there it takes nothing; see `bus_up`.
        if self._was_up:
            self.bus.listen(_NOTICE + topic)

    def _topic_went(self, topic: str) -> None:
        self.bus.unlisten(_NOTICE + topic)

    # -- what the bus tells

    def bus_up(self) -> None:
        """`Listener`: the bus takes commands, and is told everything again."""
        self.bus.listen(f"node:{self.node}")
        for user in self._users:
            self.bus.listen(f"user:{user}")
        for topic in self._notices.topics():
            self.bus.listen(_NOTICE + topic)
        self._follow_again()
        self._attendance.tell_everything()
        if self._was_up:
            self._notices.missed()
        self._was_up = True

    def bus_down(self, why: str) -> None:
        """`Listener`: it takes none any more."""

    def node_swept(self, channel: str, change: Change) -> None:
        """`Listener`: who is in a channel has changed for all nodes together."""
        if change.occupied:
            Channels._occupied(self, channel)
        for user in change.joined:
            Channels._joined(self, channel, user)
        for user in change.left:
            Channels._left(self, channel, user)
        if change.vacated:
            Channels._vacated(self, channel)

    # -- messages

    def publish(
        self, channel: str, message: Message, *, except_id: str | None = None
    ) -> Deferred[int]:
        """See `Channels`; fires with how many were subscribed on all nodes, once the bus has it."""
        check_channel(channel)
        self.published += 1
        envelope = Envelope(
            Kind.MESSAGE, self.node, 0, "", message.payload, message.is_binary, except_id
        )
        published = self.bus.publish(channel, encode(envelope))
        if except_id is not None:
            published.addCallback(self._without, channel, except_id)
        return published

    def _without(self, count: int, channel: str, except_id: str) -> Deferred[int]:
        """`count` less the connection that was left out, if it is subscribed."""

        def less(info: dict[str, Any] | None) -> int:
            return count - (channel in (info or {}).get("channels", ()))

        return self.connection_info(except_id).addCallbacks(less, lambda _: count)

    def send_to_connection(self, connection_id: str, message: Message) -> Deferred[bool]:
        """See `Channels`."""
        if self._is_ours(connection_id):
            return super().send_to_connection(connection_id, message)
        kind = Kind.SEND_TO_CONNECTION
        return self._nodes.ask_node_of(connection_id, kind, message.payload, message.is_binary)

    def close_connection(self, connection_id: str, code: int, reason: str) -> Deferred[bool]:
        """See `Channels`."""
        if self._is_ours(connection_id):
            return super().close_connection(connection_id, code, reason)
        return self._nodes.ask_node_of(connection_id, Kind.CLOSE_CONNECTION, _close(code, reason))

    def send_to_user(self, user: str, message: Message) -> Deferred[int]:
        """See `Channels`."""
        return self._nodes.ask_user(user, Kind.SEND_TO_USER, message.payload, message.is_binary)

    def close_user(self, user: str, code: int, reason: str) -> Deferred[int]:
        """See `Channels`."""
        return self._nodes.ask_user(user, Kind.CLOSE_USER, _close(code, reason))

    def close_subscribers(self, channel: str, code: int, reason: str) -> Deferred[int]:
        """See `Channels`; fires with how many were subscribed on all nodes, once the bus has it."""
        check_channel(channel)
        payload = _close(code, reason)
        return self.bus.publish(
            channel, encode(Envelope(Kind.CLOSE_SUBSCRIBERS, self.node, payload=payload))
        )

    def subscribe_connection(self, connection_id: str, channel: str) -> Deferred[bool]:
        """See `Channels`."""
        if self._is_ours(connection_id):
            return super().subscribe_connection(connection_id, channel)
        return self._nodes.ask_node_of(
            connection_id, Kind.SUBSCRIBE, check_channel(channel).encode()
        )

    def unsubscribe_connection(self, connection_id: str, channel: str) -> Deferred[bool]:
        """See `Channels`."""
        if self._is_ours(connection_id):
            return super().unsubscribe_connection(connection_id, channel)
        return self._nodes.ask_node_of(
            connection_id, Kind.UNSUBSCRIBE, check_channel(channel).encode()
        )

    # -- notices

    def notify(self, topic: str, payload: bytes) -> Deferred[int]:
        """See `Channels`; fires once the bus has it. Where the bus fails, this process was told."""
        check_notice(topic, payload)
        notice = encode(Envelope(Kind.NOTICE, self.node, payload=payload))
        self._notices.tell(topic, payload)
        return self.bus.send(_NOTICE + topic, notice)

    def _notice_came(self, topic: str, data: bytes) -> None:
        notice = decode(data)
        if notice.kind is not Kind.NOTICE:
            raise EnvelopeError("no notice, where notices are sent")
        if notice.node != self.node:
            self._notices.tell(topic, notice.payload)

    # -- what all processes share

    @property
    def is_shared(self) -> bool:
        """See `Channels`."""
        return True

    def take(self, ask: Ask) -> Deferred[Taken]:
        """See `Channels`; nothing waits for a bus that is away."""
        return self.bus.take(ask)

    # -- what there is

    def connection_info(self, connection_id: str) -> Deferred[dict[str, object] | None]:
        """See `Channels`."""
        if self._is_ours(connection_id):
            return super().connection_info(connection_id)
        return self._nodes.ask_node_of(connection_id, Kind.CONNECTION_INFO, nothing=None)

    def channel_info(self, channel: str, *, users: bool) -> Deferred[dict[str, object]]:
        """See `Channels`."""
        asked = self.bus.presence(check_channel(channel), users=users)

        def info(presence: Presence) -> dict[str, object]:
            named = {"users": sorted(presence.users)} if users else {}
            return {"channel": channel, "subscribers": presence.subscribers, **named}

        return asked.addCallback(info)

    # -- other nodes

    def _is_ours(self, connection_id: str) -> bool:
        return node_of(connection_id) == self.node or not is_connection_id(connection_id)

    def message_sent(self, topic: str, data: bytes) -> None:
        """`Listener`: another node asks, or answers."""
        try:
            if topic.startswith(_NOTICE):
                self._notice_came(topic.removeprefix(_NOTICE), data)
            else:
                self._nodes.message_sent(data)
        except ValueError as error:
            self._drop(error)

    def _info_here(self, asked: Envelope) -> Deferred[dict[str, object] | None]:
        return super().connection_info(asked.name)

    def _send_to_user_here(self, asked: Envelope) -> Deferred[int]:
        return super().send_to_user(asked.name, message_in(asked))

    def _send_here(self, asked: Envelope) -> Deferred[bool]:
        return super().send_to_connection(asked.name, message_in(asked))

    def _close_here(self, asked: Envelope) -> Deferred[bool]:
        return super().close_connection(asked.name, *code_and_reason(asked.payload))

    def _close_user_here(self, asked: Envelope) -> Deferred[int]:
        return super().close_user(asked.name, *code_and_reason(asked.payload))

    def _subscribe_here(
        self, act: Callable[[Channels, str, str], Deferred[bool]], asked: Envelope
    ) -> Deferred[bool]:
        return act(self, asked.name, asked.payload.decode("latin-1"))


def _close(code: int, reason: str) -> bytes:
    return json.dumps([code, reason]).encode()
