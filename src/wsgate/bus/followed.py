"""`Channels` whose messages come over a bus: in its order, with its places, and with its past."""

from __future__ import annotations

import json
from collections import Counter

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wsgate.bus.envelope import Envelope, EnvelopeError, Kind, decode
from wsgate.bus.following import Following, Gap, Step
from wsgate.bus.interface import Bus, Entry, Position, Stretch
from wsgate.channels import BusError, ChannelError, ChannelLimits, Channels, Member, Message
from wsgate.channels.channel import Channel
from wsgate.channels.published import opening
from wsgate.floods import CalmLogger

_log = CalmLogger(namespace="wsgate.bus")

_OF_CHANNELS = (Kind.MESSAGE, Kind.CLOSE_SUBSCRIBERS)


class FollowedChannels(Channels):
    """Follows on the bus the channels that somebody is subscribed to here.

    What the bus keeps of a channel's past is kept here too as long as the channel is followed, so
    that whoever comes back may go on from where it was, on whichever node.
    """

    def __init__(
        self,
        clock: IReactorTime,
        limits: ChannelLimits | None,
        hits: Counter[str] | None,
        bus: Bus,
    ) -> None:
        super().__init__(clock, limits, hits)
        self.bus = bus
        self.gaps = 0
        """How often messages of a channel were missed."""
        self.missed = 0
        """Messages that were missed, as far as they can be counted."""
        self.malformed = 0
        """What came over the bus and was none of ours."""
        self._following: dict[str, Following] = {}
        self._recovering: dict[str, dict[Member, tuple[str, ...]]] = {}
        """Who waits for the bus to say where a channel is, and the places it would go on from."""

    # -- which channels

    def _follow(self, channel: str) -> None:
        following = self._following[channel] = Following()
        self._ask(channel, following, self.bus.follow(channel))

    def _unfollow(self, channel: str) -> None:
        del self._following[channel]
        self._recovering.pop(channel, None)
        self.bus.unfollow(channel)

    def _follow_again(self) -> None:
        for channel, following in tuple(self._following.items()):
            following.forget_held()
            self._ask(channel, following, self.bus.follow(channel, following.position))

    def _begin_envelopes(self, member: Member, channel: Channel, places: tuple[str, ...]) -> None:
        following = self._following.get(channel.name)
        if following is not None and following.position is not None:
            super()._begin_envelopes(member, channel, places)
        else:
            self._recovering.setdefault(channel.name, {})[member] = places

    # -- what the bus says of them

    def message_published(self, channel: str, position: Position, data: bytes) -> None:
        """`Listener`: a message of a channel came."""
        following = self._following.get(channel)
        if following is None:
            return
        steps = following.received(position, data)
        if steps is None:
            after = following.position or Position("", 0)
            self._ask(channel, following, self.bus.read(channel, after))
        else:
            self._take(channel, steps)

    def _ask(self, channel: str, following: Following, asked: Deferred[Stretch]) -> None:
        asked.addErrback(self._no_stretch, following)
        asked.addCallback(self._answered, channel, following)

    def _no_stretch(self, failure: Failure, following: Following) -> Stretch | None:
        failure.trap(BusError)
        if not self.bus.is_up:
            # It is asked again when the bus is back.
            return None
        _log.error("the bus: {error}", error=failure.getErrorMessage(), kind="no stretch")
        return following.as_held()

    def _answered(self, stretch: Stretch | None, channel: str, following: Following) -> None:
        if stretch is None or self._following.get(channel) is not following or not following.waits:
            return
        is_first = following.position is None
        catch_up = following.answered(stretch)
        if is_first:
            self._begin(channel, catch_up.after, catch_up.history)
        self._take(channel, catch_up.steps)

    def _begin(self, name: str, position: Position, history: tuple[Entry, ...]) -> None:
        """What is delivered of a channel comes after `position`; before that came `history`."""
        channel = self._channels[name]
        self._past.forget(channel)
        self._move(channel, position)
        if self.limits.channel_history:
            self._remember(channel, position, history)
        for member, places in self._recovering.pop(name, {}).items():
            if name in member.channels:
                super()._begin_envelopes(member, channel, places)

    def _remember(self, channel: Channel, last: Position, history: tuple[Entry, ...]) -> None:
        """Keep `history` as if it had been published here, if it leads to `last` without a gap."""
        offsets = [entry.offset for entry in history]
        if offsets != list(range(last.offset - len(offsets) + 1, last.offset + 1)):
            return
        channel.offset = last.offset - len(offsets)
        for entry in history:
            try:
                envelope = decode(entry.data)
            except EnvelopeError as error:
                self._drop(error)
                self._past.forget(channel)
                channel.offset += 1
                continue
            if envelope.kind is Kind.MESSAGE:
                now = self._clock.seconds()
                self._keep(channel, channel.advance(message_in(envelope), now))
            else:
                channel.offset += 1

    def _take(self, name: str, steps: tuple[Step, ...]) -> None:
        for step in steps:
            channel = self._channels.get(name)
            if channel is None:
                return
            if isinstance(step, Gap):
                self._gap(channel, step)
            else:
                self._deliver_due(channel, step.position, step.data)

    def _deliver_due(self, channel: Channel, position: Position, data: bytes) -> None:
        try:
            envelope = decode(data)
            if envelope.kind not in _OF_CHANNELS:
                raise EnvelopeError("not a message of a channel")
            if envelope.kind is Kind.MESSAGE:
                message = message_in(envelope)
                self._publish_here(channel.name, message, envelope.except_id, position)
                return
            Channels.close_subscribers(self, channel.name, *code_and_reason(envelope.payload))
        except EnvelopeError as error:
            self._drop(error)
        except ChannelError as error:
            _log.error("channel {channel}: {error}", channel=channel.name, error=str(error))
            self._gap(channel, Gap(1, position))
        # It had a place, though it is no message of the channel.
        self._move(channel, position)

    def _gap(self, channel: Channel, gap: Gap) -> None:
        self.gaps += 1
        self.missed += gap.missed or 0
        _log.error(
            "{count} messages of channel {channel} were missed on this node",
            count="an unknown number of" if gap.missed is None else gap.missed,
            channel=channel.name,
            kind="missed",
        )
        self._past.forget(channel)
        self._move(channel, gap.position)
        told = opening(channel.name, *gap.position, False)
        members = tuple(filter(channel.gets_envelopes, channel.receivers()))
        self._fanout.send(channel.name, members, lambda member: member.push(told), len(told))

    def _move(self, channel: Channel, position: Position) -> None:
        if channel.epoch != position.epoch:
            self._past.forget(channel)
        channel.move_to(*position)

    def _drop(self, error: ValueError) -> None:
        self.malformed += 1
        _log.warn("dropped what came over the bus: {error}", error=str(error), kind="malformed")


def message_in(envelope: Envelope) -> Message:
    """The message that `envelope` brings."""
    return Message(envelope.payload, envelope.is_binary)


def code_and_reason(payload: bytes) -> tuple[int, str]:
    """Those of a close. Raises ChannelError where there are none."""
    try:
        code, reason = json.loads(payload)
        return int(code), str(reason)
    except (ValueError, TypeError):
        raise ChannelError("a close needs a code and a reason") from None
