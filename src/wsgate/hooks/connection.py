"""A connection as hooks see it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Cancellable(Protocol):
    """Something that is due, unless it is cancelled."""

    def cancel(self) -> None:
        """Drop it; harmless when it is over."""


class Connection(Protocol):
    """One client of a route with hooks, the same object from connect to disconnect."""

    @property
    def id(self) -> str:
        """As in WSGATE_CONNECTION_ID."""

    @property
    def route(self) -> str:
        """The path of the route in the settings; "/" serves every path."""

    @property
    def path(self) -> str:
        """The path that the client asked for, as sent, without the query."""

    @property
    def query_string(self) -> str:
        """What follows the question mark, as sent; empty without one."""

    @property
    def remote_address(self) -> str:
        """The client's, as in REMOTE_ADDR; "unix:" where there is none."""

    @property
    def is_secure(self) -> bool:
        """Whether it came over TLS, as far as wsgate can tell."""

    @property
    def offered_subprotocols(self) -> tuple[str, ...]:
        """Those of the handshake, in its order."""

    @property
    def subprotocol(self) -> str | None:
        """The one that is, or will be, taken."""

    def take_subprotocol(self, name: str | None) -> None:
        """Take another, one of those offered; only in `on_connect`. PHP may still choose.

        Raises:
            ValueError: it was not offered, or the client is in already.
        """

    def header(self, name: str) -> str | None:
        """The first field of that name in the handshake (any case), as Latin-1 text."""

    def headers(self, name: str) -> tuple[str, ...]:
        """All of them, in the order sent."""

    def cookie(self, name: str) -> str | None:
        """The first cookie of that name (RFC 6265 §5.4), as sent; names compare exactly."""

    def query(self, name: str) -> str | None:
        """The first value of that name in the query, percent-decoded as UTF-8.

        None also where it is not UTF-8.
        """

    @property
    def memory(self) -> dict[Any, Any]:
        """For hooks, to keep things in as long as the connection lives; PHP never sees it."""

    # -- what PHP is told

    @property
    def params(self) -> Mapping[str, str]:
        """The params that hooks have set, by name."""

    def set_param(self, name: str, value: str) -> None:
        """Let PHP see `name` with each event from now on; an empty value takes it away.

        Names are 1 to 64 of A to Z, 0 to 9 and _, beginning with a letter. Those that HTTP, CGI,
        PHP or wsgate itself give a meaning are refused, among them HTTP_*, PHP_*, SCRIPT_* and
        DOCUMENT_*, except REMOTE_USER and AUTH_TYPE; so are WSGATE_* but for WSGATE_CLAIM_* and
        WSGATE_SESSION_*. They take `limits.hook_param_bytes` together, names and values in UTF-8.

        Raises:
            ValueError: the name or the value may not be, or there is no room.
        """

    @property
    def user(self) -> str | None:
        """The user it is bound to, by a hook or by PHP."""

    def bind_user(self, user: str) -> None:
        """Bind it to a user, "" to nobody; as Wsgate-User does, and PHP sees WSGATE_USER.

        Raises:
            ValueError: no name for a user.
        """

    @property
    def variables(self) -> Mapping[str, str]:
        """What PHP has set by Wsgate-Set, names in upper case."""

    # -- what it gets

    def subscribe(self, channel: str) -> None:
        """Subscribe it; before the 101 this happens as soon as it is in.

        Raises:
            ValueError: no name for a channel, or too many of them.
        """

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe it, if it is subscribed."""

    def send(self, payload: str | bytes) -> bool:
        """Send a message that nobody asked for, text or binary; False if it is not taken.

        Before the 101 it waits for it.
        """

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it: what waits never starts. Codes and reasons are those of `Close`.

        Raises:
            ValueError: they may not be sent.
        """

    def call_later(self, delay: float, function: Callable[[], object]) -> Cancellable:
        """Call `function` in `delay` seconds, at most 0.1 s late; not if it has left by then."""
