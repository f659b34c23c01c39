"""A conversation as channels know it, and what an answer does to it beside being sent."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from twisted.logger import Logger
from twisted.python.failure import Failure

from wsgate.channels import ChannelError, Channels, ChannelSet, Message
from wsgate.fastcgi import decode_params
from wsgate.gateway.actions import Actions, Publish
from wsgate.gateway.arrival import Arrival
from wsgate.gateway.kept import NOTHING_KEPT, Kept

_log = Logger(namespace="wsgate")

Warn = Callable[[str], None]
"""Takes one line for the log."""

MOST_PLACES = 64
"""Values of `last` in a handshake's query that are looked at."""


class Membership:
    """The part of a conversation that lasts: its user, its channels, its variables.

    Its params hold user and variables, and are encoded when these change, not with each message.
    """

    __slots__ = ("_kept", "_params", "_peer", "connection_id")

    def __init__(self, arrival: Arrival) -> None:
        self.connection_id = arrival.connection_id
        self._params = arrival.params
        self._peer = arrival.peer
        self._kept = NOTHING_KEPT

    @property
    def user(self) -> str | None:
        """The user it is bound to; every request from now on says so."""
        return self._kept.user

    @user.setter
    def user(self, user: str | None) -> None:
        self._own_kept().user = user
        self._encode_kept()

    @property
    def channels(self) -> ChannelSet:
        """What it is subscribed to."""
        return self._kept.channels

    @channels.setter
    def channels(self, channels: ChannelSet) -> None:
        self._own_kept().channels = channels

    @property
    def places(self) -> tuple[str, ...]:
        """The values of `last` in the handshake's query: where the client wants to go on."""
        query = decode_params(self._params).get(b"QUERY_STRING", b"")
        found = [
            unquote_to_bytes(value).decode("latin-1")
            for name, _, value in (pair.partition(b"=") for pair in query.split(b"&"))
            if name == b"last"
        ]
        return tuple(found[:MOST_PLACES])

    def push(self, message: Message) -> bool:
        """Send a message that no request asked for; False if it is not taken."""
        raise NotImplementedError

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake."""
        raise NotImplementedError

    def info(self) -> dict[str, object]:
        """What an operator may know of it, as JSON can hold it."""
        raise NotImplementedError

    def params_changed(self) -> None:
        """User or variables are others now; for whoever keeps the params elsewhere as well."""

    def _own_kept(self) -> Kept:
        self._kept = kept = self._kept.of_its_own(self._params)
        return kept

    def _encode_kept(self) -> None:
        self._params = self._kept.params()
        self.params_changed()

    # -- what an answer asks for

    def _act(self, actions: Actions, body: Message | None, warn: Warn) -> None:
        """Do what an answer asks for; what cannot be done is a warning.

        Args:
            body: of the answer; None where it has none.
        """
        channels = self._peer.channels
        if actions.variables:
            self._set_variables(actions, warn)
        if actions.user is not None:
            channels.bind_user(self, actions.user)
        for channel in actions.unsubscribe:
            channels.unsubscribe(self, channel)
        for channel, recovers in actions.subscribe:
            try:
                channels.subscribe(self, channel, recover_from=self.places if recovers else None)
            except ChannelError as error:
                warn(f"Wsgate-Subscribe: {error}")
        for asked in actions.publish:
            left_out = self.connection_id if asked.except_self else None
            publish(channels, asked, body, left_out, warn)

    def _set_variables(self, actions: Actions, warn: Warn) -> None:
        kept = self._own_kept()
        limits = self._peer.channels.limits
        before = dict(kept.variables)
        for name, value in actions.variables:
            limit = kept.set(name, value, limits)
            if limit:
                self._peer.channels.hit(limit)
                warn(
                    f"Wsgate-Set: {name} is not kept; set fewer variables or shorter ones, or "
                    f"raise limits.{limit}"
                )
        if kept.variables != before:
            self._encode_kept()


def publish(
    channels: Channels, asked: Publish, body: Message | None, except_id: str | None, warn: Warn
) -> None:
    """Publish `body` as an answer asks; what cannot be done is a warning.

    Args:
        body: of the answer; None where it has none.
        except_id: the connection that does not get it.
    """
    if body is None:
        warn("Wsgate-Publish: the answer has no body; send one, with another status than 204")
        return
    for channel in asked.channels:
        try:
            published = channels.publish(channel, body, except_id=except_id)
        except ChannelError as error:
            warn(f"Wsgate-Publish: {error}")
        else:
            published.addErrback(_not_published, channel)


def _not_published(failure: Failure, channel: str) -> None:
    _log.error(
        "not published to {channel}: {error}", channel=channel, error=failure.getErrorMessage()
    )
