"""What a hook is, and what it may say. Pure.

A hook acts on a route's connections before PHP does: it may let pass, answer, refuse, close, change
a message, add params for PHP, subscribe. Those that come with wsgate have no other way in than this
one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import NamedTuple, TypeAlias, TypeVar

from wsgate.hooks.connection import Connection
from wsgate.hooks.message import Message

Headers = tuple[tuple[str, str], ...]


class Refuse(NamedTuple):
    """A client or a message is refused.

    At a connect the client gets `status` with `headers` and `body`, or `reason` as text without
    one. A message gets the error message of `status` and `reason`.

    `reason` is for the client: one line that says nothing of what it must not know.
    """

    status: int = 403
    reason: str = "refused"
    headers: Headers = ()
    body: bytes | None = None


class Close(NamedTuple):
    """The connection is closed with this code and reason (RFC 6455 §7.4), the message refused.

    `code` is one of 1000, 1008, 1011, 1013 or 3000 to 4999; `reason` takes 123 bytes of UTF-8.
    """

    code: int = 1008
    reason: str = ""


class Answer(NamedTuple):
    """What a message is answered with. `payload` is None where nothing is sent.

    From `Message.ask` it is PHP's, with the status and headers that it had, names in lower case,
    and what else it asks for in `actions`; returned as it came, or with another payload, that is
    done too.
    """

    payload: bytes | memoryview | None
    is_binary: bool = False
    status: int = 200
    headers: Headers = ()
    actions: object | None = None
    is_clean: bool = True
    """Whether nothing of it went to the log: neither what PHP wrote there nor a warning of ours."""


T = TypeVar("T")
Said: TypeAlias = Awaitable[T] | T

OnConnect: TypeAlias = Refuse | None
OnMessage: TypeAlias = Answer | Refuse | Close | Message | None


class Hook:
    """Lets everything pass; made once for each route and started with it.

    Methods may be plain ones or `async def`, in which a Deferred can be awaited. Hooks of a route
    act in the order of its settings, each on what those before it have let pass; at a disconnect
    the other way round. An exception, or no word within `limits.hook_timeout`, is a failure: the
    client or message is refused with 503, or goes on where the route says so by
    `on_hook_failure = "pass"`. Nobody else's connection notices.

    A method that blocks holds up everybody: wait for what takes time, or use
    `twisted.internet.threads.deferToThread`.
    """

    asks = False
    """Whether `on_message` awaits answers of PHP: the pool's times then bound it as well."""

    outlasts_reload = False
    """Whether it goes on at a reload that changes none of its settings: for one that remembers. Any
    other is made anew then, for the connections that come from then on."""

    def __init__(self, services: object = None) -> None:
        """Take what `wsgate.hooks.Services` offers; options of the settings come by name."""

    def start(self) -> Said[None]:
        """The gateway begins to serve, or a reload has brought this hook."""
        return None

    def stop(self) -> Said[None]:
        """No connection will need it any more."""
        return None

    def on_connect(self, connection: Connection) -> Said[OnConnect]:
        """A client wants in, with a good handshake: None lets it go on, to PHP if PHP is asked."""
        return None

    def on_message(self, connection: Connection, message: Message) -> Said[OnMessage]:
        """One whole message: None lets it pass, a Message takes its place."""
        return None

    def figures(self) -> Mapping[str, float]:
        """What it has now, by short words: read when somebody asks for the metrics.

        `wsgate_hook_figures{hook,figure}`, those of all routes and processes together.
        """
        return {}

    def on_disconnect(self, connection: Connection, code: int, reason: str) -> Said[None]:
        """One that was let in has left; code and reason are those of RFC 6455 §7.1.5."""
        return None
