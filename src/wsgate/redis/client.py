"""Redis, as long as it takes: connects, and connects again, with a growing pause."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure

from wsgate.backoff import Backoff
from wsgate.redis.connection import RedisConnection, Word
from wsgate.redis.errors import RedisAway, RedisError
from wsgate.redis.scripts import Script
from wsgate.redis.url import Address
from wsgate.secure import SecureEndpoint

CONNECT_TIMEOUT = 5.0
"""Seconds, for TCP and TLS each."""

_ROOTS = "name its authority in the URL: rediss://…?ssl_ca_certs=FILE"


class Told(Protocol):
    """Who wants to know of Redis' coming and going."""

    def up(self) -> None:
        """Redis takes commands; nothing of what it knew of this connection is left."""

    def down(self, why: str) -> None:
        """It takes none any more. Only after `up`."""

    def failed(self, why: str) -> None:
        """An attempt to connect failed; there will be another."""

    def pushed(self, message: list[Any]) -> None:
        """A message of a channel came, as Redis sends it."""


class RedisClient:
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
        self.connects = 0
        """How often Redis was reached."""
        self._reactor = reactor
        self._address = address
        self.name = name
        """Of connections to come."""
        self._told = told
        self._endpoint = endpoint or endpoint_of(reactor, address)
        self._backoff = Backoff(first=0.05, longest=2.0)
        self._connection: RedisConnection | None = None
        self._connecting: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        self._since = 0.0
        self._is_up = False
        self._stopped: Deferred[None] | None = None

    @property
    def is_up(self) -> bool:
        """Whether Redis takes commands now."""
        return self._is_up

    def start(self) -> None:
        """Connect."""
        self._timer = None
        factory = Factory.forProtocol(self._make)
        factory.noisy = False
        self._connecting = self._endpoint.connect(factory)
        self._connecting.addCallbacks(self._connected, self._not_connected)

    def stop(self) -> Deferred[None]:
        """End the connection at once; fires when it has ended. What is owed fails."""
        stopped: Deferred[None] = Deferred()
        self._stopped = stopped
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._connection is not None:
            # A Redis that is stuck would not take a farewell.
            self._connection.end("wsgate stops")
        elif self._connecting is not None:
            self._connecting.cancel()
        else:
            stopped.callback(None)
        return stopped

    def ask(self, *words: Word) -> Deferred[Any]:
        """As `RedisConnection.ask`; fails with RedisAway if there is no connection."""
        if not self._is_up or self._connection is None:
            return fail(RedisAway("Redis is away"))
        return self._connection.ask(*words)

    def tell(self, *words: Word) -> None:
        """As `RedisConnection.tell`; nothing happens if there is no connection."""
        if self._is_up and self._connection is not None:
            self._connection.tell(*words)

    def run(self, script: Script, keys: tuple[Word, ...], *arguments: Word) -> Deferred[Any]:
        """Run a script; fires with what it gives.

        Redis loses scripts when it is started anew or told to; it is then sent again, once. It had
        not run, so it runs once.
        """
        asked = self.ask("EVALSHA", script.digest, len(keys), *keys, *arguments)

        def again(failure: Failure) -> Any:
            failure.trap(RedisError)
            if not str(failure.value).startswith("NOSCRIPT"):
                return failure
            return self.ask("EVAL", script.source, len(keys), *keys, *arguments)

        return asked.addErrback(again)

    def end(self, why: str) -> None:
        """End this connection and make another; `why` is for the log."""
        if self._connection is not None:
            self._connection.end(why)

    def _make(self) -> RedisConnection:
        return RedisConnection(
            self._reactor, self._address, self.name, self._told.pushed, self._ended
        )

    def _connected(self, connection: RedisConnection) -> None:
        self._connecting = None
        self._connection = connection
        if self._stopped is not None:
            connection.transport.loseConnection()
            return
        # Why a greeting failed is told when the connection has ended.
        connection.greeted.addCallbacks(self._greeted, lambda _: None)

    def _greeted(self, _: None) -> None:
        self._is_up = True
        self._since = self._reactor.seconds()
        self.connects += 1
        self._told.up()

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        self._over(f"cannot connect: {failure.getErrorMessage()}")

    def _ended(self, why: str) -> None:
        self._connection = None
        self._over(why)

    def _over(self, why: str) -> None:
        was_up, self._is_up = self._is_up, False
        if self._stopped is not None:
            if was_up:
                self._told.down("wsgate stops")
            self._stopped.callback(None)
            return
        served = self._reactor.seconds() - self._since if was_up else 0.0
        # Not all nodes at the same moment.
        pause = self._backoff.after(served) * random.uniform(0.75, 1.25)
        self._timer = self._reactor.callLater(pause, self.start)
        tell: Callable[[str], None] = self._told.down if was_up else self._told.failed
        tell(why)


def endpoint_of(reactor: Any, address: Address) -> IStreamClientEndpoint:
    """Where to connect for `address`, with the certificate verified where it is `rediss://`.

    Raises:
        ValueError, OSError: see `RedisClient`.
    """
    if address.path:
        return UNIXClientEndpoint(reactor, address.path, timeout=CONNECT_TIMEOUT)
    # It leaves an address as it is, and tries all that a name has.
    endpoint = HostnameEndpoint(reactor, address.host, address.port, timeout=CONNECT_TIMEOUT)
    if not address.secure:
        return endpoint
    roots = _roots(address.roots) if address.roots else None
    options = optionsForClientTLS(address.host, trustRoot=roots)
    called = "the URL of the bus"
    return SecureEndpoint(wrapClientTLS(options, endpoint), address.host, called, _ROOTS)


def _roots(path: str) -> Any:
    end = b"-----END CERTIFICATE-----"
    with open(path, "rb") as file:
        blocks = [block + end for block in file.read().split(end)[:-1]]
    if not blocks:
        raise ValueError(f"{path}: no certificates in it")
    try:
        return trustRootFromCertificates([Certificate.loadPEM(block) for block in blocks])
    except Exception:
        # Whatever OpenSSL calls it.
        raise ValueError(f"{path}: a certificate in it cannot be read") from None
