"""One application at work: what its clients and its HTTP API do to its channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from wsgate.channels import BusError, ChannelError, Channels, Member, Message
from wsgate.floods import CalmLogger
from wsgate.pusher import names, told
from wsgate.pusher.app import App
from wsgate.pusher.cache import Cache
from wsgate.pusher.calls import Trigger
from wsgate.pusher.counting import Counting
from wsgate.pusher.faults import TERMINATED
from wsgate.pusher.neighbours import Neighbours
from wsgate.pusher.presence import Presence
from wsgate.pusher.roster import Person
from wsgate.pusher.socketid import socket_id_of
from wsgate.pusher.webhooks import Webhooks
from wsgate.timeouts import Timeouts

_log = CalmLogger(namespace="wsgate")


class Application:
    """Channels, members and last events of one application.

    Args:
        app: its settings; may be replaced at any time, for what comes after.
        channels: those of all dialects, of which it has its own.
        seconds: the time, for how long events are kept.
        webhooks: whom to tell; None: nobody.
        timeouts: for telling subscribers how many they are; None: nobody is told.
    """

    def __init__(
        self,
        app: App,
        channels: Channels,
        seconds: Callable[[], float],
        webhooks: Webhooks | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.app = app
        self.webhooks = webhooks
        self.presence = Presence(self, self._give)
        self.client_events = 0
        """Events that clients have sent to others."""
        self.triggered = 0
        """Events that the application has sent, one for each channel."""
        self.refusals = 0
        """What clients wanted and did not get."""
        self.seconds = seconds
        self._channels = channels
        self._cache = Cache()
        self._neighbours: Neighbours | None = None
        self._counting = Counting(timeouts, self._tell_count) if timeouts is not None else None
        channels.on_occupied.append(self._occupied)
        channels.on_vacated.append(self._vacated)

    def meet(self, timeouts: Timeouts) -> None:
        """Share members with this application's processes; there are others, over a bus."""
        name = names.of_nodes(self.app.id)
        self._neighbours = Neighbours(name, self._channels, timeouts, self)
        self._neighbours.start()

    def stop(self) -> None:
        """Nobody is here any more."""
        if self._neighbours is not None:
            self._neighbours.stop()

    # -- clients

    def subscribe(self, client: Member, channel: str, person: Person | None) -> None:
        """Give a client what comes to a channel, and tell it that it does.

        Raises:
            ChannelError: it is in too many, or there are too many.
        """
        self._channels.subscribe(client, self._inner(channel))
        if person is None:
            client.push(Message(told.event(told.SUBSCRIBED, channel=channel)))
            if self._counting is not None and self.app.subscription_counts:
                self._counting.came(client, channel)
        else:
            self.presence.join(channel, client, person)
            about = told.presence(self.presence.members(channel))
            client.push(Message(told.event(told.SUBSCRIBED, about, channel=channel)))
        if names.is_cache(channel):
            self._give_last(client, channel)

    def _give_last(self, client: Member, channel: str) -> None:
        last = self._cache.find(channel, self.seconds())
        if last is not None:
            client.push(Message(last))
            return
        client.push(Message(told.event("pusher:cache_miss", channel=channel)))
        self._tell("cache_miss", channel=channel)

    def unsubscribe(self, client: Member, channel: str) -> None:
        """Give a client nothing more of a channel."""
        self._channels.unsubscribe(client, self._inner(channel))
        self.presence.leave(channel, client)
        if self._counting is not None:
            self._counting.went(client, channel)

    def is_subscribed(self, client: Member, channel: str) -> bool:
        """Whether a client gets what comes to a channel."""
        return self._inner(channel) in client.channels

    def is_full(self, channel: str, person: Person) -> bool:
        """Whether a presence channel takes no further user."""
        members = self.presence.members(channel)
        return person.user_id not in members and len(members) >= self.app.max_presence_members

    def forget(self, client: Member) -> None:
        """A client is gone; `Channels` knows already."""
        self.presence.forget(client)
        if self._counting is not None:
            self._counting.gone(client)

    def _tell_count(self, channel: str) -> None:
        Deferred.fromCoroutine(self._publish_count(channel)).addErrback(_not_sent)

    async def _publish_count(self, channel: str) -> None:
        count = await self.subscribers(channel)
        if count:
            about = {"subscription_count": count}
            event = told.event(told.SUBSCRIPTION_COUNT, about, channel=channel)
            await self._channels.publish(self._inner(channel), Message(event))

    def sign_in(self, client: Member, user_id: str) -> None:
        """A client is a connection of this user now.

        Raises:
            ChannelError: it is in too many channels.
        """
        self._channels.bind_user(client, names.inner_user(self.app.id, user_id))
        self._channels.subscribe(client, self._inner(names.channel_of_user(user_id)))

    def client_event(self, client: Member, event: str, channel: str, data: object) -> None:
        """A client tells the others of a channel something.

        Raises:
            ChannelError: more is published than goes out.
        """
        person = self.presence.person(channel, client)
        user_id = person.user_id if person is not None else None
        message = Message(told.client_event(event, channel, data, user_id))
        sent = self._channels.publish(self._inner(channel), message, except_id=client.connection_id)
        sent.addErrback(_not_sent)
        self.client_events += 1
        if self.webhooks is not None:
            from_user = {} if user_id is None else {"user_id": user_id}
            self.webhooks.tell(
                "client_event",
                channel=channel,
                event=event,
                data=data if isinstance(data, str) else told.encoded(data),
                socket_id=socket_id_of(client.connection_id),
                **from_user,
            )

    # -- the HTTP API

    async def trigger(self, asked: Trigger) -> None:
        """Send an event; it is on its way then.

        Raises:
            ChannelError: more is published than goes out.
            BusError: other processes cannot be reached.
        """
        sent = [self._send(asked, channel) for channel in asked.channels]
        for is_done, result in await DeferredList(sent, consumeErrors=True):
            if not is_done and isinstance(result, Failure):
                result.raiseException()

    def _send(self, asked: Trigger, channel: str) -> Deferred[int]:
        event = told.event(asked.name, asked.data, channel=channel)
        if names.is_cache(channel):
            self.keep(channel, event)
            if self._neighbours is not None:
                self._neighbours.keep(channel, event)
        self.triggered += 1
        message = Message(event)
        return self._channels.publish(self._inner(channel), message, except_id=asked.except_id)

    async def info(self, channel: str, attributes: Iterable[str]) -> dict[str, object]:
        """What is asked about a channel. User counts are of presence channels only."""
        found: dict[str, object] = {}
        if "user_count" in attributes and names.is_presence(channel):
            found["user_count"] = len(self.presence.members(channel))
        if "subscription_count" in attributes:
            found["subscription_count"] = await self.subscribers(channel)
        return found

    async def subscribers(self, channel: str) -> int:
        """How many connections get what comes to a channel."""
        about = await self._channels.channel_info(self._inner(channel), users=False)
        count = about["subscribers"]
        assert isinstance(count, int)
        return count

    async def occupied(self, prefix: str) -> dict[str, int]:
        """Channels with subscribers, and how many; those whose names begin with `prefix`."""
        counts = self.occupied_here(prefix)
        if self._neighbours is not None:
            for name, count in (await self._neighbours.ask_occupied(prefix)).items():
                counts[name] = counts.get(name, 0) + count
        return counts

    def terminate(self, user_id: str) -> Deferred[int]:
        """Close all connections of a signed-in user; fires with how many there were."""
        return self._channels.close_user(names.inner_user(self.app.id, user_id), *TERMINATED)

    # -- what others are told

    def member_added(self, channel: str, user_id: str) -> None:
        """As `Watcher` says."""
        if self.webhooks is not None:
            key = ("member", channel, user_id)
            self.webhooks.begins("member_added", *key, channel=channel, user_id=user_id)

    def member_removed(self, channel: str, user_id: str) -> None:
        """As `Watcher` says."""
        if self.webhooks is not None:
            key = ("member", channel, user_id)
            self.webhooks.ends("member_removed", *key, channel=channel, user_id=user_id)

    def member_count(self, channel: str, person: Person, count: int) -> None:
        """As `Watcher` says."""
        if self._neighbours is not None:
            self._neighbours.count(channel, person, count)

    def _give(
        self,
        channel: str,
        members: Sequence[Member],
        message: Message,
        wants: Callable[[Member], bool],
    ) -> None:
        self._channels.give(self._inner(channel), members, message, wants)

    # -- as `House` says

    def members_here(self) -> list[tuple[str, Person, int]]:
        """The members with connections in this process."""
        return self.presence.counts_here()

    def members_there(self, node: str, channel: str, person: Person, count: int) -> None:
        """How many connections of a user are in another process."""
        self.presence.set_node(node, channel, person, count)

    def node_gone(self, node: str, *, is_ours_to_tell: bool) -> None:
        """Another process has ended."""
        for channel, user_id in self.presence.drop_node(node):
            if is_ours_to_tell:
                self.member_removed(channel, user_id)

    def keep(self, channel: str, event: bytes) -> None:
        """An event is the last one of a cache channel."""
        self._cache.keep(channel, event, self.seconds())

    def occupied_here(self, prefix: str) -> dict[str, int]:
        """Channels with subscribers in this process, and how many."""
        counts = self._channels.counts(names.prefix(self.app.id) + prefix)
        found = ((names.outer(self.app.id, name), count) for name, count in counts.items())
        return {name: count for name, count in found if name is not None}

    def _occupied(self, name: str) -> None:
        channel = names.outer(self.app.id, name)
        if self.webhooks is not None and channel is not None:
            self.webhooks.begins("channel_occupied", "channel", channel, channel=channel)

    def _vacated(self, name: str) -> None:
        channel = names.outer(self.app.id, name)
        if self.webhooks is not None and channel is not None:
            self.webhooks.ends("channel_vacated", "channel", channel, channel=channel)

    def _tell(self, name: str, **about: object) -> None:
        if self.webhooks is not None:
            self.webhooks.tell(name, **about)

    def _inner(self, channel: str) -> str:
        return names.inner(self.app.id, channel)


def _not_sent(failure: Failure) -> None:
    failure.trap(BusError, ChannelError)
    _log.warn("pusher: an event is lost: {error}", error=str(failure.value), kind="event")
