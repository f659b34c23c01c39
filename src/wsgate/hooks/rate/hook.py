"""The hook `rate`: so many connects or messages in a time, for each user, address or connection."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import TypeAlias, TypeVar

from twisted.internet.defer import Deferred

from wsgate.hooks.connection import Connection
from wsgate.hooks.hook import Close, Hook, OnConnect, OnMessage, Refuse, Said
from wsgate.hooks.message import Message
from wsgate.networks import network_of

Take: TypeAlias = Callable[[str], float | Deferred[float]]
"""Takes a token of a key: 0.0 if there is one, else the seconds until there may be."""

Decision = TypeVar("Decision")

TOO_MANY = 429


def _nothing() -> None:
    """Nothing has to stop."""


class Rate(Hook):
    """Lets as many pass as `take` has tokens for.

    Args:
        take: from this process or all.
        take_here: from this process; for connections, which have no other.
        by: `user`, `address` or `connection`.
        of: `connects`, `messages` or `both`, which then share the tokens.
        close_after: refused messages in a row after which a connection is closed; 0: none.
        stopped: called when nothing more is taken.
    """

    def __init__(
        self,
        take: Take,
        take_here: Take,
        by: str,
        of: str,
        close_after: int,
        stopped: Callable[[], object] = _nothing,
    ) -> None:
        self._take = take
        self._take_here = take_here
        self._by = by
        self._of = of
        self._close_after = close_after
        self._stopped = stopped

    def stop(self) -> None:
        """See `Hook`."""
        self._stopped()

    def on_connect(self, connection: Connection) -> Said[OnConnect]:
        """See `Hook`. A client of no known address or user may come as often as it likes."""
        key = self._key(connection) if self._of != "messages" else None
        return None if key is None else _when_known(self._take(key), connection, self._let_in)

    def on_message(self, connection: Connection, message: Message) -> Said[OnMessage]:
        """See `Hook`."""
        if self._of == "connects":
            return None
        key = self._key(connection)
        wait = self._take_here(f"c/{connection.id}") if key is None else self._take(key)
        return _when_known(wait, connection, self._let_pass)

    def _key(self, connection: Connection) -> str | None:
        """Whose tokens are taken; None: its own."""
        if self._by == "connection":
            return None
        if self._by == "user" and connection.user is not None:
            return f"u/{connection.user}"
        network = network_of(connection.remote_address)
        return None if network is None else f"a/{network}"

    def _let_in(self, connection: Connection, wait: float) -> OnConnect:
        if not wait:
            return None
        seconds = _whole(wait)
        headers = (("Retry-After", str(seconds)),)
        return Refuse(TOO_MANY, f"too many connections, try again in {seconds} s", headers)

    def _let_pass(self, connection: Connection, wait: float) -> OnMessage:
        if not wait:
            if self._close_after:
                connection.memory.pop(self, None)
            return None
        if self._close_after:
            refused = connection.memory.get(self, 0) + 1
            connection.memory[self] = refused
            if refused >= self._close_after:
                return Close(1008, "too many messages")
        return Refuse(TOO_MANY, f"too many messages, try again in {_whole(wait)} s")


def _when_known(
    wait: float | Deferred[float],
    connection: Connection,
    decide: Callable[[Connection, float], Decision],
) -> Said[Decision]:
    if not isinstance(wait, Deferred):
        return decide(connection, wait)
    return _later(wait, connection, decide)


async def _later(
    wait: Deferred[float],
    connection: Connection,
    decide: Callable[[Connection, float], Decision],
) -> Decision:
    return decide(connection, await wait)


def _whole(seconds: float) -> int:
    return max(1, ceil(seconds))
