"""One connection to Redis: commands out in order, answers and messages in, nothing waited for.

The wire (RESP3) is read and written by hiredis, which Redis itself maintains; moving the bytes is
Twisted's, as everywhere in wsgate. With RESP3 one connection takes commands and messages of
channels, so a publish that follows a subscribe is heard.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from hiredis import ProtocolError, PushNotification, Reader, ReplyError, pack_command
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from wsgate.redis.errors import RedisGarbled, RedisRefused, RedisUnanswered
from wsgate.redis.url import Address
from wsgate.silence import Silence

Word = str | bytes | int
Push = Callable[[list[Any]], object]


class RedisConnection(Protocol):
    """A connection that greets with HELLO 3, and is told of with `greeted`.

    Args:
        pushed: called with each message of a channel that came, as Redis sends it.
        ended: called once with why it ended, after everything owed has failed.
    """

    transport: Any  # connected; whatever the endpoint makes

    def __init__(
        self,
        clock: IReactorTime,
        address: Address,
        name: str,
        pushed: Push,
        ended: Callable[[str], object],
    ) -> None:
        self.greeted: Deferred[None] = Deferred()
        """Fires when Redis takes commands; fails with RedisRefused or RedisUnanswered."""
        self._address = address
        self._name = name
        self._pushed = pushed
        self._ended = ended
        self._complaint = ""
        self._is_garbled = False
        self._reader = Reader()
        self._owed: deque[Deferred[Any]] = deque()
        self._silence = Silence(
            clock, lambda: bool(self._owed), self._ask_whether_it_is_there, self.end
        )

    @property
    def owed(self) -> int:
        """How many answers are due."""
        return len(self._owed)

    def connectionMade(self) -> None:
        """Twisted: connected. Introduce ourselves, as RESP3 wants it."""
        self._silence.start()
        who: list[Word] = ["HELLO", 3]
        if self._address.password:
            who += ["AUTH", self._address.user or "default", self._address.password]
        self.ask(*who, "SETNAME", self._name).addErrback(self._greeting_failed)
        if self._address.database:
            self.ask("SELECT", self._address.database).addErrback(self._greeting_failed)
        # While it loads its data it answers HELLO, and refuses everything else.
        self.ask("PING").addCallbacks(self._greeting_over, self._greeting_failed)

    def _greeting_over(self, _: object) -> None:
        if not self.greeted.called:
            self.greeted.callback(None)

    def _greeting_failed(self, failure: Failure) -> None:
        if not self.greeted.called:
            self.greeted.errback(failure)
        self.end(f"it refuses us: {failure.getErrorMessage()}")

    def ask(self, *words: Word) -> Deferred[Any]:
        """Send a command; fires with Redis' answer.

        Fails with RedisRefused where that is an error, with RedisUnanswered if none comes.
        Commands are done in the order in which they are given.
        """
        answer: Deferred[Any] = Deferred()
        # First, for it raises if a word is none.
        self.tell(*words)
        self._owed.append(answer)
        return answer

    def tell(self, *words: Word) -> None:
        """Send a command that has no answer: those that (un)subscribe are confirmed by a push."""
        self.transport.write(pack_command(words))  # type: ignore[arg-type]  # typed as of one word

    def end(self, why: str) -> None:
        """End the connection at once; `why` is for the log."""
        self._complaint = self._complaint or why
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes came."""
        reader = self._reader
        self._silence.broken()
        try:
            reader.feed(data)
            while (said := reader.gets()) is not False:
                self._take(said)
        except ProtocolError:
            self._is_garbled = True
            self.end("it does not speak Redis' protocol")

    def _take(self, said: Any) -> None:
        if isinstance(said, PushNotification):
            self._pushed(said)
        elif not self._owed:
            self._is_garbled = True
            self.end("it answered what was not asked")
        else:
            answer = self._owed.popleft()
            if isinstance(said, ReplyError):
                answer.errback(RedisRefused(str(said)))
            else:
                answer.callback(said)

    def _ask_whether_it_is_there(self) -> None:
        self.ask("PING").addErrback(lambda _: None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the connection is gone, and with it everything that was owed."""
        self._silence.stop()
        why = self._complaint or "the connection was lost"
        owed, self._owed = self._owed, deque()
        error = RedisGarbled if self._is_garbled else RedisUnanswered
        for answer in owed:
            answer.errback(error(why))
        self._ended(why)
