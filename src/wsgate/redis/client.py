"""Redis, as long as it takes: connects, and connects again, with a growing pause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from wsgate import reconnecting
from wsgate.reconnecting import Reconnecting
from wsgate.redis.connection import RedisConnection, Word
from wsgate.redis.errors import RedisAway, RedisError
from wsgate.redis.scripts import Script
from wsgate.redis.url import Address
from wsgate.secure import SecureEndpoint, trust_roots

CONNECT_TIMEOUT = 5.0
"""Seconds, for TCP and TLS each."""

_ROOTS = "name its authority in the URL: rediss://…?ssl_ca_certs=FILE"


class Told(reconnecting.Told, Protocol):
    """Who wants to know of Redis' coming and going."""

    def pushed(self, message: list[Any]) -> None:
        """A message of a channel came, as Redis sends it."""


class RedisClient(Reconnecting[RedisConnection]):
    """A connection to Redis that is made again when it ends, until `stop`.

    Nothing is kept for later: what is asked while Redis is away fails at once, with RedisAway.
    `endpoint` is where to connect; that of `address` if left out.

    Args:
        name: what CLIENT LIST calls the connection; without spaces.

    Raises:
        ValueError: the file of `?ssl_ca_certs=` holds no certificates.
        OSError: it cannot be read.
    """

    def __init__(
        self,
        reactor: Any,
        address: Address,
        name: str,
        told: Told,
        endpoint: IStreamClientEndpoint | None = None,
    ) -> None:
        self.name = name
        """Of connections to come."""

        def make(ended: Callable[[str], None]) -> RedisConnection:
            return RedisConnection(reactor, address, self.name, told.pushed, ended)

        super().__init__(reactor, endpoint or endpoint_of(reactor, address), make, told)

    def ask(self, *words: Word) -> Deferred[Any]:
        """As `RedisConnection.ask`; fails with RedisAway if there is no connection."""
        connection = self.connection
        if connection is None:
            return fail(RedisAway("Redis is away"))
        return connection.ask(*words)

    def tell(self, *words: Word) -> None:
        """As `RedisConnection.tell`; nothing happens if there is no connection."""
        connection = self.connection
        if connection is not None:
            connection.tell(*words)

    def run(
        self,
        script: Script,
        keys: tuple[Word, ...],
        *arguments: Word,
        is_late: Callable[[], bool] = lambda: False,
    ) -> Deferred[Any]:
        """Run a script; fires with what it gives.

        Redis loses scripts when it is started anew or told to; it is then sent again, once, unless
        it `is_late` by then. It had not run, so it runs once.
        """
        asked = self.ask("EVALSHA", script.digest, len(keys), *keys, *arguments)

        def again(failure: Failure) -> Any:
            failure.trap(RedisError)
            if is_late() or not str(failure.value).startswith("NOSCRIPT"):
                return failure
            return self.ask("EVAL", script.source, len(keys), *keys, *arguments)

        return asked.addErrback(again)


def endpoint_of(
    reactor: Any,
    address: Address,
    timeout: float = CONNECT_TIMEOUT,
    called: str = "the URL of the bus",
) -> IStreamClientEndpoint:
    """Where to connect for `address`, with the certificate verified where it is `rediss://`.

    TCP and TLS get `timeout` seconds each; `called` is where the host comes from, for errors.

    Raises:
        ValueError, OSError: see `RedisClient`.
    """
    if address.path:
        return UNIXClientEndpoint(reactor, address.path, timeout=timeout)
    # It leaves an address as it is, and tries all that a name has.
    endpoint = HostnameEndpoint(reactor, address.host, address.port, timeout=timeout)
    if not address.secure:
        return endpoint
    roots = trust_roots(address.roots) if address.roots else None
    options = optionsForClientTLS(address.host, trustRoot=roots)
    return SecureEndpoint(wrapClientTLS(options, endpoint), address.host, called, _ROOTS)
