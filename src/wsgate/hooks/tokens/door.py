"""What hooks that let in by something the client brings have in common.

At the connect it is looked for in the handshake. Where it may come with the first message, a
client without it is let in, but what it sends is not for PHP until it has brought it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import CancelledError

from wsgate.floods import CalmLogger
from wsgate.hooks.connection import Cancellable, Connection
from wsgate.hooks.errors import HookFailed
from wsgate.hooks.hook import Answer, Close, Headers, Hook, OnConnect, OnMessage, Refuse, Said
from wsgate.hooks.message import Message
from wsgate.hooks.services import Services
from wsgate.hooks.tokens.claims import value_at
from wsgate.hooks.tokens.sources import Denied, Source, presented, source

UNAUTHORIZED = 4401
"""The close code: 401 among those of RFC 6455 §7.4.2 that applications give a meaning."""

AWAY = 1013, "try again later"
"""The close where nobody can say now."""

LONGEST_FIRST = 128 * 1024
"""Bytes of a first message."""

DAY = 86400.0

_log = CalmLogger(namespace="wsgate")


class Judge(Protocol):
    """Knows what is good enough to come in."""

    @property
    def what(self) -> str:
        """What clients bring: token, secret."""

    @property
    def outlasts_reload(self) -> bool:
        """See `Hook`."""

    def start(self) -> None:
        """See `Hook`."""

    def stop(self) -> None:
        """See `Hook`."""

    async def judge(self, connection: Connection, brought: str) -> None:
        """Let a client in, or let one that is in stay.

        Raises:
            Denied: what it brings is not good enough.
            HookFailed: nobody can say.
        """


class Door(Hook):
    """Looks for something in the handshake, and asks `judge` about it.

    Args:
        services: of the hook.
        judge: says what is good enough.
        sources: as in the settings.
        optional: whether those who bring nothing are let in.
    """

    def __init__(
        self, services: Services, judge: Judge, sources: Sequence[str], optional: bool = False
    ) -> None:
        self.judge = judge
        self.sources = tuple(map(source, sources))
        self.outlasts_reload = judge.outlasts_reload
        self._services = services
        self._optional = optional
        # What a browser cannot ask its user for has no challenge.
        self._is_bearer = any(place.kind != "header" for place in self.sources)

    def start(self) -> None:
        """See `Hook`."""
        self.judge.start()

    def stop(self) -> None:
        """See `Hook`."""
        self.judge.stop()

    async def on_connect(self, connection: Connection) -> OnConnect:
        """See `Hook`."""
        try:
            brought = presented(self.sources, connection)
            if brought is None:
                return self.without(connection)
            await self.judge.judge(connection, brought)
        except Denied as denied:
            self.denied(connection, denied)
            return self._refusal('error="invalid_token"')
        self.count("let_in")
        return None

    def without(self, connection: Connection) -> OnConnect:
        """What becomes of a client that brings nothing."""
        if self._optional:
            self.count("without")
            return None
        self.denied(connection, Denied("there is none"))
        return self._refusal()

    def _refusal(self, *error: str) -> Refuse:
        """401 or 403, with what RFC 6750 §3 has for it and no more."""
        if not self._is_bearer:
            return Refuse(403, "refused")
        challenge = ", ".join(('Bearer realm="WebSocket"', *error))
        headers: Headers = (("WWW-Authenticate", challenge),)
        return Refuse(401, "not authorized", headers)

    def denied(self, connection: Connection, why: Denied) -> None:
        """Note why a client does not come in, or may not stay."""
        _log.info(
            "hooks.{hook}: {address} refused ({id}): the {what}: {why}",
            hook=self._services.name,
            address=connection.remote_address,
            id=connection.id,
            what=self.judge.what,
            why=why,
        )

    def failed(self, why: HookFailed) -> None:
        """Note that nobody can say."""
        self.count("failed")
        _log.warn("hooks.{hook}: {why}", hook=self._services.name, why=why)

    def count(self, outcome: str) -> None:
        """Add to the metric."""
        self._services.count(self._services.name, outcome)


class LateDoor(Door):
    """One where it may come by message: with the first, or anew with a later one.

    Args:
        patience: seconds that a client may take for the first.
        renew_prefix: what a message that renews begins with; None where none does.
    """

    def __init__(
        self,
        services: Services,
        judge: Judge,
        sources: Sequence[str],
        patience: float,
        renew_prefix: str | None = None,
        optional: bool = False,
    ) -> None:
        super().__init__(services, judge, sources, optional)
        self._late = next((one for one in self.sources if one.kind == "first_message"), None)
        self._patience = patience
        self._renew_prefix = renew_prefix.encode() if renew_prefix else None

    def without(self, connection: Connection) -> OnConnect:
        """It may bring it yet."""
        if self._late is None:
            return super().without(connection)
        timer = connection.call_later(self._patience, lambda: self._too_late(connection))
        connection.memory[self] = timer
        return None

    def on_message(self, connection: Connection, message: Message) -> Said[OnMessage]:
        """See `Hook`: until it has brought it, this is it."""
        if self in connection.memory:
            return self._first(connection, message)
        prefix = self._renew_prefix
        if prefix is None or message.is_binary or not message.payload.startswith(prefix):
            return None
        return self._renewed(connection, str(message.payload[len(prefix) :], "utf-8").strip())

    async def _first(self, connection: Connection, message: Message) -> OnMessage:
        try:
            await self.judge.judge(connection, _brought(message, self._late))
        except Denied as denied:
            self.denied(connection, denied)
            return Close(UNAUTHORIZED, f"invalid {self.judge.what}")
        except HookFailed as failed:
            # Not even a route that goes on without the hook's word has this message for PHP.
            self.failed(failed)
            return Close(*AWAY)
        except CancelledError:
            # No word in time, which is for the route to decide about; the client may have left.
            connection.close(*AWAY)
            raise
        timer: Cancellable = connection.memory.pop(self)
        timer.cancel()
        self.count("let_in")
        return Answer(None)

    async def _renewed(self, connection: Connection, brought: str) -> OnMessage:
        try:
            await self.judge.judge(connection, brought)
        except Denied as denied:
            self.denied(connection, denied)
            return Close(UNAUTHORIZED, f"invalid {self.judge.what}")
        except HookFailed as failed:
            self.failed(failed)
            return Refuse(503, "not available, try again later")
        self.count("renewed")
        return Answer(None)

    def _too_late(self, connection: Connection) -> None:
        self.count("late")
        self.denied(connection, Denied("it did not come in time"))
        connection.close(UNAUTHORIZED, f"no {self.judge.what} in time")


class Ending:
    """The end of what let a client in, and so of its connection.

    Args:
        services: of the hook.
        what: ends.
        ends: when, in Unix time.
    """

    def __init__(self, services: Services, connection: Connection, what: str, ends: float) -> None:
        self._services = services
        self._connection = connection
        self._what = what
        self._ends = ends
        self._timer: Cancellable | None = None
        self._look()

    def cancel(self) -> None:
        """The client has brought something better."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        left = self._ends - self._services.wall()
        if left > 0:
            # The wall's clock may be set, and no reactor takes a number of any size.
            self._timer = self._connection.call_later(min(left, DAY), self._look)
            return
        self._services.count(self._services.name, "expired")
        self._connection.close(UNAUTHORIZED, f"{self._what} expired")


def _brought(message: Message, place: Source | None) -> str:
    text = message.text if len(message.payload) <= LONGEST_FIRST else None
    if text is None:
        raise Denied("the first message is binary, or long")
    if place is None or not place.name:
        return text.strip()
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        raise Denied("the first message is not JSON") from None
    found = value_at(parsed, place.name) if isinstance(parsed, dict) else None
    if not isinstance(found, str):
        raise Denied("the first message has no such field")
    return found
