"""The hook `cache`: answers that PHP has given before and allows to be given again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import CancelledError, Deferred

from wsgate.config.cache import CacheOptions
from wsgate.hooks.cache.asker import Asker
from wsgate.hooks.cache.elsewhere import Elsewhere, Found, Shelf
from wsgate.hooks.cache.flight import Flight, Landing
from wsgate.hooks.cache.keys import address_of, message_key
from wsgate.hooks.cache.known import Known, kept_from
from wsgate.hooks.cache.memory import Kept, Memory, Personal
from wsgate.hooks.cache.purging import TOPIC, Purge, read
from wsgate.hooks.cache.terms import MOST_NAMES
from wsgate.hooks.connection import Cancellable, Connection
from wsgate.hooks.errors import MessageRefused
from wsgate.hooks.hook import Answer, Hook, OnMessage, Said
from wsgate.hooks.message import Message, NotToBeAsked
from wsgate.hooks.services import Services

QUIET_FOR = 1.0
"""Seconds for which PHP is not asked again, after it has failed and there is a stale answer."""
RETRY_WITHIN = 1.0
"""Seconds within which PHP must fail for those who wait to ask once more."""
ATTEMPTS = 2
"""How often PHP may fail before all who wait get its failure."""
ROUNDS = 4
"""How often a message waits for the answer to another before it is asked by itself."""
SWEEP_EVERY = 1.0

_OWN = (MessageRefused, NotToBeAsked, CancelledError)
"""Failures that say nothing about what PHP would answer to another."""


class Cache(Hook):
    """One route's cache in one process.

    A hit is answered within the call. Equal messages that come while PHP works on one of them wait
    for its answer, whether or not the client that sent the first is still there. Nothing is asked
    twice.
    """

    asks = True
    outlasts_reload = True

    def __init__(
        self, services: Services, options: CacheOptions, shelf: Shelf | None = None
    ) -> None:
        self._count = partial(services.count, services.name)
        self._timeouts = services.timeouts
        self._seconds = services.timeouts.seconds
        self._soon = partial(services.reactor.callLater, 0)
        self._longest = options.longest_message
        self._query = frozenset(options.query) if options.query is not None else None
        self._memory = Memory(options.memory, options.largest_answer)
        self._known = Known(self._memory, options.vary)
        self._flights: dict[bytes, Flight] = {}
        self._epoch = 0
        self._hits = 0
        self._elsewhere = (
            Elsewhere(services, shelf, options.store_prefix, options.store_timeout, self._count)
            if shelf is not None
            else None
        )
        self._sweeping: Cancellable | None = None
        self._channels = services.channels
        self._route = services.route
        self._deaf: Callable[[], None] | None = None

    def start(self) -> None:
        """Listen to purges."""
        # Of those that were missed nobody knows what they were for.
        self._deaf = self._channels.on_notice(TOPIC, self._told, self._forget)

    async def stop(self) -> None:
        """Forget everything; what is in a store stays there."""
        if self._deaf is not None:
            self._deaf()
            self._deaf = None
        self._tell_hits()
        self._forget()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        if self._elsewhere is not None:
            await self._elsewhere.stop()

    def _told(self, notice: bytes) -> None:
        purge = read(notice)
        if purge is not None and purge.route in ("", self._route):
            self.purge(purge)

    def figures(self) -> dict[str, float]:
        """The bytes and entries in memory."""
        self._tell_hits()
        return {"bytes": self._memory.size, "entries": len(self._memory)}

    def _tell_hits(self) -> None:
        # Together, since there may be tens of thousands in a second.
        if self._hits:
            self._count("hit", self._hits)
            self._hits = 0

    def purge(self, purge: Purge) -> None:
        """From now on give out nothing that PHP was asked about before."""
        self._count("purged")
        self._forget()
        if self._elsewhere is not None:
            self._elsewhere.purge(purge.mark)

    def _forget(self) -> None:
        self._epoch += 1
        self._flights = {}
        self._memory.clear()

    def on_message(self, connection: Connection, message: Message) -> Said[OnMessage]:
        """The answer, where it is known; else a promise of it."""
        payload = message.payload
        if len(payload) > self._longest:
            self._count("passed")
            return None
        memory = connection.memory
        address = memory.get(self)
        if address is None:
            address = memory[self] = address_of(connection, self._query)
        primary = message_key(address, message.is_binary, payload)
        key, slot = self._known.find(primary, connection)
        if type(slot) is Kept:
            if self._seconds() < slot.fresh:
                self._hits += 1
                return slot.answer
            if self._may_be_stale(slot):
                return self._stale(primary, key, slot, connection, message)
        return self._in_company(primary, connection, message)

    # -- stale answers

    def _may_be_stale(self, slot: Kept) -> bool:
        now = self._seconds()
        return now < slot.revalidating or now < min(slot.failing, slot.quiet)

    def _stale(
        self, primary: bytes, key: bytes, slot: Kept, connection: Connection, message: Message
    ) -> Answer:
        """The old answer; a new one is asked for, unless that is under way, or was in vain."""
        self._count("stale")
        if key not in self._flights and self._seconds() >= slot.quiet:
            self._revalidate(primary, key, Asker(connection), message)
        return slot.answer

    def _revalidate(self, primary: bytes, key: bytes, asker: Asker, message: Message) -> None:
        # PHP is asked within this call: the message's own answer is about to be given.
        self._count("revalidated")
        Deferred.fromCoroutine(self._fly(primary, key, asker, message, self._flight(key), None))

    def _instead_of_failure(self, key: bytes) -> Answer | None:
        """What may be given out while PHP fails (RFC 5861 §4)."""
        slot = self._memory.get(key)
        if type(slot) is not Kept:
            return None
        now = self._seconds()
        slot.quiet = now + QUIET_FOR
        return slot.answer if now < slot.failing else None

    # -- new ones

    async def _in_company(
        self, primary: bytes, connection: Connection, message: Message
    ) -> OnMessage:
        attempts = 0
        for _ in range(ROUNDS):
            key, slot = self._known.find(primary, connection)
            if type(slot) is Kept and self._seconds() < slot.fresh:
                self._count("coalesced")
                return slot.answer
            if type(slot) is Personal and slot.end > self._seconds():
                break
            flight = self._flights.get(key)
            if flight is None:
                return await self._lead(primary, key, connection, message, attempts)
            landing = await flight.wait()
            if landing.is_for(primary, connection):
                self._count("stale" if landing.outcome == "stale" else "coalesced")
                return landing.given()
            if landing.failure is None and landing.variant is None:
                break
            attempts = landing.attempts
        return await self._alone(primary, connection, message)

    async def _lead(
        self, primary: bytes, key: bytes, connection: Connection, message: Message, attempts: int
    ) -> Answer:
        flight = self._flight(key, attempts)
        # It may be over before `_fly` comes back.
        waits = flight.wait()
        asker = Asker(connection)
        # Of its own: the client that asked may leave, and what waits for it ends.
        Deferred.fromCoroutine(self._fly(primary, key, asker, message, flight, waits))
        landing = await waits
        self._count(landing.outcome)
        return landing.given()

    async def _alone(self, primary: bytes, connection: Connection, message: Message) -> Answer:
        """The latest answer was personal. Should this one not be, those after it get it."""
        self._count("passed")
        key, _ = self._known.find(primary, connection)
        asker, flight = Asker(connection), Flight(self._seconds(), self._epoch, 0)
        answer = await message.ask()
        self._learn(primary, key, asker, answer, flight)
        return answer

    # -- questions

    def _flight(self, key: bytes, attempts: int = 0) -> Flight:
        flight = self._flights[key] = Flight(self._seconds(), self._epoch, attempts)
        return flight

    async def _fly(
        self,
        primary: bytes,
        key: bytes,
        asker: Asker,
        message: Message,
        flight: Flight,
        waits: Deferred[Landing] | None,
    ) -> None:
        try:
            found = None
            if waits is not None and self._elsewhere is not None:
                found = await self._elsewhere.find(primary, asker)
                if waits.called:
                    # PHP gets no message of a client that has left before; others may be waiting.
                    raise CancelledError
            if flight.epoch != self._epoch:
                found = None
            landing = self._reuse(primary, asker, message, found)
            if landing is None:
                answer = await message.ask()
                landing = self._learn(primary, key, asker, answer, flight, found)
        except Exception as error:
            landing = self._failed(primary, key, error, flight)
        if self._flights.get(key) is flight:
            del self._flights[key]
        flight.land(landing, self._soon)

    def _failed(self, primary: bytes, key: bytes, error: Exception, flight: Flight) -> Landing:
        # A script that fails may still ask for a close, which is meant for one connection.
        if isinstance(error, _OWN) or getattr(error, "close", None) is not None:
            return Landing(failure=error, attempts=flight.attempts)
        stale = self._instead_of_failure(key) if flight.epoch == self._epoch else None
        if stale is not None:
            return Landing(stale, self._known.names(primary), key, outcome="stale")
        attempts = flight.attempts + 1
        is_quick = self._seconds() - flight.asked < RETRY_WITHIN
        return Landing(
            failure=error, attempts=attempts, is_final=attempts >= ATTEMPTS or not is_quick
        )

    def _learn(
        self,
        primary: bytes,
        key: bytes,
        asker: Asker,
        answer: Answer,
        flight: Flight,
        found: Found | None = None,
    ) -> Landing:
        read = self._known.read(primary, asker, answer)
        # What a purge has met on its way is for those who asked before it.
        is_late = flight.epoch != self._epoch
        if read is None:
            if not is_late:
                self._known.note_personal(key, self._seconds())
                self._sweep_later()
            return Landing(answer)
        terms, names, variant = read
        if not is_late:
            kept = kept_from(answer, terms, flight.asked)
            if self._keep(primary, names, variant, kept):
                self._count("stored")
                if self._elsewhere is not None and found is not None:
                    self._elsewhere.keep(primary, Found(found.mark, names, variant), kept)
        return Landing(answer, names, variant)

    def _keep(self, primary: bytes, names: tuple[str, ...], variant: bytes, kept: Kept) -> bool:
        evicted = self._memory.evicted
        is_kept = self._known.keep(primary, names, variant, kept, self._seconds())
        for _ in range(self._memory.evicted - evicted):
            self._count("evicted")
        self._sweep_later()
        return is_kept

    # -- a store

    def _reuse(
        self, primary: bytes, asker: Asker, message: Message, found: Found | None
    ) -> Landing | None:
        """What the store has, if that may be given out; what is too old is kept for failures."""
        if found is None or found.kept is None:
            return None
        kept = found.kept
        names = tuple(sorted({*found.names, *self._known.names(primary)}))
        variant = asker.variant(primary, names) if len(names) <= MOST_NAMES else None
        if variant is None:
            return None
        self._keep(primary, names, variant, kept)
        now = self._seconds()
        if now < kept.fresh:
            return Landing(kept.answer, names, variant, outcome="hit")
        if now >= kept.revalidating:
            return None
        self._revalidate(primary, variant, asker, message)
        return Landing(kept.answer, names, variant, outcome="stale")

    # -- what is past its end

    def _sweep_later(self) -> None:
        if self._sweeping is None and len(self._memory):
            self._sweeping = self._timeouts.call_later(SWEEP_EVERY, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        self._memory.sweep(self._seconds())
        self._sweep_later()
