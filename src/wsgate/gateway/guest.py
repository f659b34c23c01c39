"""A connection as its hooks see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsgate.channels import ChannelError, Message, check_channel, check_user
from wsgate.fastcgi import decode_params
from wsgate.floods import CalmLogger
from wsgate.gateway.words import fit_close
from wsgate.hooks import Cancellable, Close
from wsgate.hooks.params import check_param
from wsgate.http1 import RequestHead
from wsgate.timeouts import Timeout, Timeouts

if TYPE_CHECKING:
    from wsgate.gateway.guesting import GuestConversation

_log = CalmLogger(namespace="wsgate")


class Guest:
    """`wsgate.hooks.Connection`, which says what everything does."""

    __slots__ = ("_client", "_conversation", "_head", "_memory", "_pending", "_timeouts", "_timers")

    def __init__(
        self, conversation: GuestConversation, head: RequestHead, timeouts: Timeouts
    ) -> None:
        self._conversation = conversation
        self._head = head
        self._timeouts = timeouts
        self._memory: dict[Any, Any] | None = None
        self._client: tuple[str, bool] | None = None
        self._pending: list[Callable[[], object]] = []
        self._timers: set[Ring] | None = None

    # -- the handshake

    @property
    def id(self) -> str:
        return self._conversation.connection_id

    @property
    def route(self) -> str:
        return self._conversation.route.path

    @property
    def path(self) -> str:
        return self._head.target.partition(b"?")[0].decode("latin-1")

    @property
    def query_string(self) -> str:
        return self._head.target.partition(b"?")[2].decode("latin-1")

    @property
    def remote_address(self) -> str:
        return self._known()[0]

    @property
    def is_secure(self) -> bool:
        return self._known()[1]

    def _known(self) -> tuple[str, bool]:
        if self._client is None:
            params = decode_params(self._conversation.params)
            address = params.get(b"REMOTE_ADDR", b"unix:").decode("latin-1")
            self._client = (address, params.get(b"HTTPS") == b"on")
        return self._client

    @property
    def offered_subprotocols(self) -> tuple[str, ...]:
        offered = self._head.tokens(b"sec-websocket-protocol")
        return tuple(token.decode("latin-1") for token in offered)

    @property
    def subprotocol(self) -> str | None:
        return self._conversation.subprotocol

    def take_subprotocol(self, name: str | None) -> None:
        if name is not None and name not in self.offered_subprotocols:
            raise ValueError("that subprotocol was not offered")
        self._conversation.take_subprotocol(name)

    def header(self, name: str) -> str | None:
        found = self.headers(name)
        return found[0] if found else None

    def headers(self, name: str) -> tuple[str, ...]:
        try:
            wanted = name.lower().encode("latin-1")
        except UnicodeEncodeError:
            return ()
        return tuple(v.decode("latin-1") for field, v in self._head.headers if field == wanted)

    def cookie(self, name: str) -> str | None:
        for line in self.headers("cookie"):
            for pair in line.split(";"):
                found, equals, value = pair.strip(" \t").partition("=")
                if equals and found == name:
                    return value
        return None

    def query(self, name: str) -> str | None:
        for pair in self._head.target.partition(b"?")[2].split(b"&"):
            found, _, value = pair.partition(b"=")
            if _decoded(found) == name:
                return _decoded(value)
        return None

    @property
    def memory(self) -> dict[Any, Any]:
        if self._memory is None:
            self._memory = {}
        return self._memory

    # -- what PHP is told

    @property
    def params(self) -> Mapping[str, str]:
        return MappingProxyType(self._conversation.hook_params)

    def set_param(self, name: str, value: str) -> None:
        check_param(name, value)
        self._conversation.set_hook_param(name, value)

    @property
    def user(self) -> str | None:
        return self._conversation.user

    def bind_user(self, user: str) -> None:
        try:
            self._conversation.bind_user(check_user(user) if user else "")
        except ChannelError as error:
            raise ValueError(str(error)) from None

    @property
    def variables(self) -> Mapping[str, str]:
        return MappingProxyType(self._conversation.variables)

    # -- what it gets

    def subscribe(self, channel: str) -> None:
        try:
            check_channel(channel)
            self._soon_as_in(partial(self._conversation.subscribe, channel))
        except ChannelError as error:
            raise ValueError(str(error)) from None

    def unsubscribe(self, channel: str) -> None:
        self._soon_as_in(partial(self._conversation.unsubscribe, channel))

    def send(self, payload: str | bytes) -> bool:
        is_binary = not isinstance(payload, str)
        data = payload.encode() if isinstance(payload, str) else bytes(payload)
        if self._conversation.is_in:
            return self._conversation.push(Message(data, is_binary))
        self._pending.append(partial(self._conversation.push, Message(data, is_binary)))
        return not self._conversation.has_left

    def close(self, code: int = 1000, reason: str = "") -> None:
        if fit_close(Close(code, reason)) != (code, reason) or len(reason.encode()) > 123:
            raise ValueError(
                "a close code is 1000, 1008, 1011, 1013 or 3000 to 4999, and its reason 123 bytes"
            )
        self._soon_as_in(partial(self._conversation.close, code, reason))

    def call_later(self, delay: float, function: Callable[[], object]) -> Cancellable:
        ring = Ring(function, self._rang)
        if not self._conversation.has_left:
            if self._timers is None:
                self._timers = set()
            self._timers.add(ring)
            ring.timeout = self._timeouts.call_later(delay, ring.ring)
        return ring

    def _rang(self, ring: Ring) -> None:
        if self._timers is not None:
            self._timers.discard(ring)

    # -- its conversation calls these

    def is_in(self) -> None:
        """The 101 is out."""
        pending, self._pending = self._pending, []
        for act in pending:
            try:
                act()
            except ChannelError as error:
                _log.warn("a hook's subscribe: {error}", error=error, kind="hook subscribe")

    def has_left(self) -> None:
        """Nothing that was to come later will."""
        timers, self._timers = self._timers, None
        for ring in timers or ():
            ring.cancel()
        self._pending.clear()

    def _soon_as_in(self, act: Callable[[], object]) -> None:
        if self._conversation.is_in:
            act()
        elif not self._conversation.has_left:
            self._pending.append(act)


class Ring:
    """A call that is due; an exception in it is nobody else's."""

    __slots__ = ("_done", "_function", "timeout")

    def __init__(self, function: Callable[[], object], done: Callable[[Ring], object]) -> None:
        self._function = function
        self._done = done
        self.timeout: Timeout | None = None

    def cancel(self) -> None:
        """Drop it."""
        if self.timeout is not None:
            self.timeout.cancel()
            self.timeout = None
            self._done(self)

    def ring(self) -> None:
        """It is time."""
        self.timeout = None
        self._done(self)
        try:
            said = self._function()
        except Exception:
            _failed(Failure())
            return
        if isinstance(said, Deferred):
            said.addErrback(_failed)
        elif isinstance(said, Awaitable):
            Deferred.fromCoroutine(_finished(said)).addErrback(_failed)


async def _finished(said: Awaitable[object]) -> None:
    await said


def _failed(failure: Failure) -> None:
    # Its text may hold what the client has sent.
    _log.error(
        "what a hook wanted to do later failed: {error}",
        error=failure.type.__name__ if failure.type is not None else "",
        kind=("hook call_later", failure.type),
    )


def _decoded(value: bytes) -> str | None:
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        return None
