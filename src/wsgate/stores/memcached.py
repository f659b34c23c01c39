"""memcached as a store: one connection, on which requests do not wait for each other's answers.

Twisted's own client (26.4) lets keys with blanks and line ends through, which are commands then,
keeps a value of any length in memory, and takes any word for an answer; so the protocol is ours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from wsgate.config import addresses
from wsgate.reconnecting import Reconnecting
from wsgate.silence import Silence
from wsgate.stores import memcached_wire as wire
from wsgate.stores.errors import StoreAnswer, StoreAway, StoreError
from wsgate.stores.store import Announcer, IsLate, OneConnection, Recipe, away


class MemcachedConnection(Protocol):
    """A connection that greets by asking for the version, and is told of with `greeted`.

    `ended` is called once with why it ended, before everything owed fails.
    """

    transport: Any  # connected; whatever the endpoint makes

    def __init__(self, clock: IReactorTime, ended: Callable[[str], object]) -> None:
        self.greeted: Deferred[None] = Deferred()
        """Fires when it takes requests; fails with a StoreError."""
        self._ended = ended
        self._reader = wire.Reader()
        self._owed: deque[Deferred[Any]] = deque()
        self._complaint = ""
        self._is_garbled = False
        self._silence = Silence(
            clock, lambda: bool(self._owed), self._ask_whether_it_is_there, self.end
        )

    def connectionMade(self) -> None:
        """Twisted: connected. See whether it is a memcached."""
        self._silence.start()
        self.ask(wire.VERSION, "version").addCallbacks(self._greeted, self._not_greeted)

    def _greeted(self, answer: object) -> None:
        if answer is True:
            self.greeted.callback(None)
        else:
            self.end("it refuses us")

    def _not_greeted(self, failure: Failure) -> None:
        self.greeted.errback(failure)

    def ask(self, request: bytes, due: wire.Due, key: bytes = b"") -> Deferred[Any]:
        """Send a request; fires with what `wire.Reader` makes of the answer.

        Fails with StoreAway or StoreAnswer if there is none.
        """
        answer: Deferred[Any] = Deferred()
        self._owed.append(answer)
        self._reader.expect(due, key)
        self.transport.write(request)
        return answer

    def end(self, why: str) -> None:
        """End the connection at once; `why` is for the log."""
        self._complaint = self._complaint or why
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes came."""
        self._silence.broken()
        if self._complaint:
            return
        try:
            answers = self._reader.feed(data)
        except wire.Nonsense as error:
            self._is_garbled = True
            self.end(str(error))
            return
        for answer in answers:
            self._owed.popleft().callback(answer)

    def _ask_whether_it_is_there(self) -> None:
        self.ask(wire.VERSION, "version").addErrback(lambda _: None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the connection is gone, and with it everything that was owed."""
        self._silence.stop()
        why = self._complaint or "the connection was lost"
        error = StoreAnswer if self._is_garbled else StoreAway
        owed, self._owed = self._owed, deque()
        # First, so that who asks again at once is not given this connection.
        self._ended(why)
        for answer in owed:
            answer.errback(error(why))
        self.greeted.addErrback(lambda _: None)


class MemcachedStore(OneConnection[Reconnecting[MemcachedConnection]]):
    """A memcached. Keys are texts of 1 to 250 bytes without blanks, values bytes up to 16 MiB.

    memcached itself takes values up to 1 MiB, unless it is told otherwise: `-I`.
    """

    kind: ClassVar[str] = "memcached"

    def get(self, key: str) -> Deferred[bytes | None]:
        """The value of `key`; None without one.

        Fails with a StoreError; raises ValueError for what is no key.
        """
        return self._send(wire.get(key), "value", wire.key_bytes(key))

    def set(self, key: str, value: bytes, expire: int = 0) -> Deferred[None]:
        """Keep `value` for `expire` seconds, 0 to 30 days; 0: as long as there is room.

        Fails with a StoreError: StoreAnswer where the value is too long for memcached. Raises
        ValueError for what is no key, or a value or time out of range.
        """
        asked = self._send(wire.store("set", key, value, expire), "stored")
        return asked.addCallback(lambda _: None)

    def add(self, key: str, value: bytes, expire: int = 0) -> Deferred[bool]:
        """As `set`, if there is no value; whether there was none."""
        return self._send(wire.store("add", key, value, expire), "added")

    def delete(self, key: str) -> Deferred[bool]:
        """Forget the value of `key`; whether there was one. Fails and raises as `get`."""
        return self._send(wire.delete(key), "deleted")

    def _send(self, request: bytes, due: wire.Due, key: bytes = b"") -> Deferred[Any]:
        def ask(_: IsLate) -> Deferred[Any]:
            connection = self._client.connection
            if connection is None:
                return fail(away(self.name))
            return connection.ask(request, due, key).addCallback(_taken)

        return self._request(ask, self._translate)

    def _make(self, recipe: Recipe) -> Reconnecting[MemcachedConnection]:
        address, seconds = addresses.parse(recipe.settings.url), recipe.settings.connect_timeout
        reactor = self._reactor
        endpoint = (
            UNIXClientEndpoint(reactor, address.path, timeout=seconds)
            if address.path
            else HostnameEndpoint(reactor, address.host, address.port, timeout=seconds)
        )
        return Reconnecting(
            reactor,
            endpoint,
            lambda ended: MemcachedConnection(reactor, ended),
            Announcer(recipe.settings.name, str(address)),
        )

    def _translate(self, failure: Failure) -> StoreError:
        error = StoreAway if isinstance(failure.value, StoreAway) else StoreAnswer
        why = failure.getErrorMessage().removeprefix(f"store {self.name}: ")
        return error(f"store {self.name}: {why}")


def _taken(answer: wire.Answer) -> bytes | bool | None:
    if isinstance(answer, wire.Refused):
        raise StoreAnswer(answer.why)
    return answer
