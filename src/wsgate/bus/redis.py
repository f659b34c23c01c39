"""The bus that is a Redis: its pub/sub, a stream for each channel's history, presence in hashes."""

from __future__ import annotations

import json
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from wsgate.bus import lua
from wsgate.bus.buckets import ROUNDING
from wsgate.bus.interface import BusCounts, Change, Entry, Listener, Position, Presence, Stretch
from wsgate.bus.limits import BusLimits
from wsgate.channels import BusAway, BusError, BusUnanswered
from wsgate.channels.tokens import LEASE, Ask, Taken
from wsgate.floods import CalmLogger
from wsgate.redis import Address, RedisAway, RedisError, RedisUnanswered
from wsgate.redis.client import RedisClient

KEEP_POSITION = 24 * 3600 * 1000
"""Milliseconds that the place of a channel is kept, or its history if that is longer, after its
last message or subscriber. PHP may name channels as it likes, one for each user for example."""

SWEEP = 100
"""Channels of dead nodes that are taken away in one step of Redis."""

_HEAD = re.compile(rb"([0-9a-f]{1,32}):([0-9]{1,15}) ")

_log = CalmLogger(namespace="wsgate.bus")


class _Waiting(NamedTuple):
    """What is to be sent once Redis is there, or given up."""

    until: float
    size: int
    go: Callable[[], Deferred[Any]]
    outcome: Deferred[Any]


class RedisBus:
    """See `wsgate.bus.interface.Bus`. `prefix` tells this bus from others in the same Redis.

    Raises:
        ValueError, OSError: see `RedisClient`.
    """

    def __init__(self, reactor: Any, address: Address, prefix: str, limits: BusLimits) -> None:
        self.limits = limits
        self.counts = BusCounts()
        self._reactor = reactor
        self._address = address
        self._keys = lua.Keys(prefix)
        self._channels = self._keys.channel_topic("").encode()
        self._client = RedisClient(reactor, address, "wsgate", self)
        self._listener: Listener
        self._node = ""
        self._waiting: deque[_Waiting] = deque()
        self._renewal = LoopingCall(self._renew)
        self._renewal.clock = reactor

    def __str__(self) -> str:
        return str(self._address)

    @property
    def is_up(self) -> bool:
        """Whether Redis takes commands now."""
        return self._client.is_up

    @property
    def _keep(self) -> int:
        return max(KEEP_POSITION, int(self.limits.history_age * 1000))

    def start(self, node: str, listener: Listener) -> None:
        """Connect as `node`."""
        self._node = node
        self._listener = listener
        self._client.name = f"wsgate-{node}"
        self._client.start()
        # A lease ends after two thirds, and is renewed and looked at every sixth.
        self._renewal.start(self.limits.lease / 6, now=False)

    def stop(self) -> Deferred[None]:
        """Give the lease up, so that another node takes our presence away, and disconnect."""
        if not self._renewal.running:
            return succeed(None)
        self._renewal.stop()
        self._give_up(BusAway("wsgate stops"), everything=True)
        resigned = self._client.run(lua.RESIGN, (self._keys.nodes,), self._node)
        resigned.addTimeout(1.0, self._reactor)
        resigned.addBoth(lambda _: self._client.stop())
        return resigned

    # -- Redis comes and goes

    def up(self) -> None:
        """`RedisClient`: it takes commands."""
        self.counts.connects += 1
        _log.info("the bus {bus} is there", bus=str(self._address))
        self._renew(first=True)
        self._listener.bus_up()
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            self.counts.waiting_bytes -= one.size
            self._go(one)

    def down(self, why: str) -> None:
        """`RedisClient`: it does not any more."""
        _log.error(
            "the bus {bus} is away: {why}; nothing is published until it is back",
            bus=str(self._address),
            why=why,
        )
        self._listener.bus_down(why)

    def failed(self, why: str) -> None:
        """`RedisClient`: it could not be reached."""
        self.counts.failed += 1
        _log.warn("the bus {bus}: {why}", bus=str(self._address), why=why)

    def pushed(self, message: list[Any]) -> None:
        """`RedisClient`: a message came, or a (un)subscribe is confirmed."""
        if len(message) != 3 or message[0] != b"message":
            return
        _, topic, data = message
        self.counts.received += 1
        if topic.startswith(self._channels):
            self._published(topic[len(self._channels) :], data)
        else:
            inner = topic.removeprefix(self._keys.topic("").encode())
            self._listener.message_sent(inner.decode(errors="replace"), data)

    def _published(self, channel: bytes, data: bytes) -> None:
        head = _HEAD.match(data)
        if head is None:
            self.counts.malformed += 1
            _log.warn("the bus {bus} gave what is no message", bus=str(self._address))
            return
        position = Position(head[1].decode(), int(head[2]))
        self._listener.message_published(channel.decode("latin-1"), position, data[head.end() :])

    # -- what a node asks

    def listen(self, topic: str) -> None:
        """See `Bus`."""
        self._client.tell("SUBSCRIBE", self._keys.topic(topic))

    def unlisten(self, topic: str) -> None:
        """See `Bus`."""
        self._client.tell("UNSUBSCRIBE", self._keys.topic(topic))

    def send(self, topic: str, data: bytes) -> Deferred[int]:
        """See `Bus`."""
        return self._when_up(
            len(data), lambda: self._client.ask("PUBLISH", self._keys.topic(topic), data)
        )

    def publish(self, channel: str, data: bytes) -> Deferred[int]:
        """See `Bus`."""
        keys, limits = self._keys, self.limits
        names = (keys.at(channel), keys.log(channel), keys.attendance(channel))
        self.counts.published += 1
        return self._when_up(
            len(data),
            lambda: self._client.run(
                lua.PUBLISH,
                names,
                data,
                secrets.token_hex(8),
                keys.channel_topic(channel),
                limits.history,
                int(limits.history_age * 1000),
                self._keep,
            ),
        )

    def follow(self, channel: str, after: Position | None = None) -> Deferred[Stretch]:
        """See `Bus`."""
        self._client.tell("SUBSCRIBE", self._keys.channel_topic(channel))
        return self.read(channel, after or Position("", 0))

    def unfollow(self, channel: str) -> None:
        """See `Bus`."""
        self._client.tell("UNSUBSCRIBE", self._keys.channel_topic(channel))

    def read(self, channel: str, after: Position) -> Deferred[Stretch]:
        """See `Bus`."""
        keys, limits = self._keys, self.limits
        asked = self._client.run(
            lua.READ,
            (keys.at(channel), keys.log(channel)),
            after.epoch,
            after.offset,
            limits.history,
            int(limits.history_age * 1000),
            secrets.token_hex(8),
            self._keep,
        )
        return asked.addCallbacks(_stretch, _as_bus_error)

    def attend(
        self,
        channel: str,
        count: int,
        joined: Iterable[str] = (),
        left: Iterable[str] = (),
        *,
        anew: bool = False,
    ) -> Deferred[Change]:
        """See `Bus`."""
        keys, node = self._keys, self._node
        asked = self._client.run(
            lua.ATTEND,
            (
                *(keys.attendance(channel), keys.who(channel)),
                *(keys.who_of(node, channel), keys.channels_of(node), keys.at(channel)),
            ),
            *(node, channel, count, json.dumps([*joined]), json.dumps([*left]), int(anew)),
            *(keys.channel_topic(channel), self._keep),
        )
        return asked.addCallbacks(
            lambda said: Change(bool(said[0]), bool(said[1]), _names(said[2]), _names(said[3])),
            _as_bus_error,
        )

    def presence(self, channel: str, *, users: bool) -> Deferred[Presence]:
        """See `Bus`."""
        names = (self._keys.attendance(channel), self._keys.who(channel))
        asked = self._client.run(lua.PRESENCE, names, int(users))
        return asked.addCallbacks(lambda said: Presence(said[0], _names(said[1])), _as_bus_error)

    def take(self, ask: Ask) -> Deferred[Taken]:
        """See `Bus`."""
        asked = self._client.run(
            lua.TAKE,
            (self._keys.bucket(ask.key),),
            *(self._node, repr(ask.rate), ask.burst, ask.need, ask.ahead, ask.back),
            *(repr(LEASE), repr(ROUNDING)),
        )
        return asked.addCallbacks(
            lambda said: Taken(said[0], said[1], said[2] / 1000), _as_bus_error
        )

    # -- what waits for Redis

    def _when_up(self, size: int, go: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        counts, limits = self.counts, self.limits
        if counts.waiting_bytes + size > limits.buffer and counts.waiting_bytes:
            counts.not_published["full"] += 1
            return fail(BusAway(f"{counts.waiting_bytes} bytes wait for the bus already"))
        outcome: Deferred[Any] = Deferred()
        one = _Waiting(self._reactor.seconds() + limits.patience, size, go, outcome)
        if self._client.is_up:
            self._go(one)
        else:
            counts.waiting_bytes += size
            self._waiting.append(one)
            self._reactor.callLater(limits.patience, self._give_up, BusAway("the bus is away"))
        return outcome

    def _go(self, one: _Waiting) -> None:
        counts = self.counts
        counts.waiting_bytes += one.size

        def over(result: Any) -> Any:
            counts.waiting_bytes -= one.size
            if isinstance(result, Failure):
                counts.not_published["failed"] += 1
                return _as_bus_error(result)
            return result

        one.go().addBoth(over).chainDeferred(one.outcome)

    def _give_up(self, why: BusError, *, everything: bool = False) -> None:
        now = self._reactor.seconds()
        while self._waiting and (everything or self._waiting[0].until <= now):
            one = self._waiting.popleft()
            self.counts.waiting_bytes -= one.size
            self.counts.not_published["late"] += 1
            one.outcome.errback(why)

    # -- the lease

    def _renew(self, first: bool = False) -> None:
        if not self._client.is_up:
            return
        lease = int(self.limits.lease * 1000 * 2 / 3)
        keys = self._keys
        what = (keys.prefix, self._node, lease, SWEEP, self._keep)
        asked = self._client.run(lua.RENEW, (keys.nodes,), *what)
        asked.addCallbacks(self._renewed, self._not_renewed, callbackArgs=(first,))

    def _renewed(self, said: list[Any], first: bool) -> None:
        held, changes, more = said
        for channel, vacated, left in changes:
            change = Change(vacated=bool(vacated), left=_names(left))
            self._listener.node_swept(channel.decode("latin-1"), change)
        if not held and not first:
            _log.error("the lease of this node on the bus {bus} had ended", bus=str(self._address))
            self._listener.bus_up()
        if more:
            self._renew()

    def _not_renewed(self, failure: Failure) -> None:
        failure.trap(RedisError)
        why = failure.getErrorMessage()
        _log.error("the bus {bus} does not work: {why}", bus=str(self._address), why=why)
        if why.startswith("READONLY"):
            # A primary that has become a replica: its name may mean another machine by now.
            self._client.end(why)


def _as_bus_error(failure: Failure) -> Any:
    failure.trap(RedisError)
    text = failure.getErrorMessage()
    if failure.check(RedisAway):
        raise BusAway("the bus is away") from None
    if failure.check(RedisUnanswered):
        raise BusUnanswered(f"the bus went away before it answered: {text}") from None
    raise BusError(f"Redis refuses: {text}") from None


def _stretch(said: list[Any]) -> Stretch:
    epoch, offset, raw = said
    entries = tuple(
        Entry(int(name.partition(b"-")[0]), data)
        for name, data in zip(raw[::2], raw[1::2], strict=True)
    )
    return Stretch(Position(epoch.decode(), int(offset)), entries)


def _names(raw: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(name.decode(errors="replace") for name in raw)
