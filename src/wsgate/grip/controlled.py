"""What a script has said of one connection: what it keeps on it, and its control messages."""

from __future__ import annotations

from typing import Protocol

from wsgate.channels import ChannelError, Channels, Member, Message
from wsgate.fastcgi import encode_params
from wsgate.grip.control import (
    Control,
    Detach,
    FlushDelayed,
    KeepAlive,
    SendDelayed,
    Subscribe,
    Unsubscribe,
)
from wsgate.grip.names import channel_name
from wsgate.grip.pulses import Pulses
from wsgate.grip.request import NO_META, TooMuchMeta, changed_meta, meta_params
from wsgate.grip.sharing import Shared


class Connection(Member, Protocol):
    """A connection whose script may leave it to itself."""

    def detach(self) -> None:
        """Let the script hear nothing more of it."""


class Controlled:
    """The state that a script has given a connection, and what it may do with it."""

    __slots__ = ("_channels", "_connection", "_meta", "_pulses", "_shared", "params", "prefix")

    def __init__(self, connection: Connection, channels: Channels, shared: Shared) -> None:
        self._connection = connection
        self._channels = channels
        self._shared = shared
        self._meta = NO_META
        self._pulses: Pulses | None = None
        self.params = b""
        """The PARAMS records of what is kept."""
        self.prefix: bytes | None = None
        """What messages for the client begin with; None without the extension grip."""

    def keep(self, changes: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
        """Keep what `Set-Meta-*` say; the result is what is wrong with it, and then none is."""
        limits = self._channels.limits
        try:
            meta = changed_meta(
                self._meta,
                changes,
                count=limits.variables_per_connection,
                size=limits.variable_bytes_per_connection,
            )
        except TooMuchMeta as error:
            self._channels.hit(error.limit)
            return (str(error),)
        except ValueError as error:
            return (str(error),)
        self._meta = meta
        self.params = encode_params(meta_params(meta))
        return ()

    def follow(self, control: Control) -> tuple[str, ...]:
        """Do what a control message says; the result is why that cannot be done, if so."""
        try:
            match control:
                case Subscribe(channel):
                    self._channels.subscribe(self._connection, self._name(channel))
                case Unsubscribe(channel):
                    self._channels.unsubscribe(self._connection, self._name(channel))
                case Detach():
                    self._connection.detach()
                case KeepAlive() if control.content is None and self._pulses is None:
                    pass
                case KeepAlive():
                    self._own_pulses().keep_alive(control)
                case SendDelayed():
                    self._own_pulses().delay(control)
                case FlushDelayed():
                    self._own_pulses().flush()
        except ChannelError as error:
            return (f"{type(control).__name__.lower()}: {error}",)
        return ()

    def said(self) -> None:
        """The client is sent something."""
        if self._pulses is not None:
            self._pulses.sent()

    def stop(self) -> None:
        """Nothing is sent any more."""
        if self._pulses is not None:
            self._pulses.stop()

    def _name(self, channel: str) -> str:
        return channel_name(channel, self._shared.prefix)

    def _own_pulses(self) -> Pulses:
        if self._pulses is None:
            self._pulses = Pulses(self._shared.timeouts, self._push)
        return self._pulses

    def _push(self, payload: bytes, is_binary: bool) -> None:
        self._connection.push(Message(payload, is_binary))
