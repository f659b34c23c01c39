"""Answers in memcached or Redis, for all gateways and after a restart.

Nothing here fails: a store that is away, slow or full of garbage knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from os import urandom
from typing import Any, NamedTuple, Protocol, TypeVar

from twisted.internet.defer import Deferred, gatherResults

from wsgate.backoff import Backoff
from wsgate.floods import CalmLogger
from wsgate.hooks.cache.asker import Asker
from wsgate.hooks.cache.keys import digest
from wsgate.hooks.cache.memory import Kept
from wsgate.hooks.cache.purging import MARK_SIZE
from wsgate.hooks.cache.values import Stored, read, write
from wsgate.hooks.services import Services

LONGEST = 30 * 24 * 3600
"""Seconds that memcached takes for a time to keep something; longer is a date for it."""

T = TypeVar("T")

_log = CalmLogger(namespace="wsgate")


class Shelf(Protocol):
    """What is asked of a store of either kind; Deferreds fail with a StoreError."""

    @property
    def is_up(self) -> bool: ...

    def get(self, keys: list[str]) -> Deferred[list[object]]: ...

    def set(self, key: str, value: bytes, seconds: float) -> Deferred[Any]: ...

    def add(self, key: str, value: bytes) -> Deferred[Any]: ...


class _Shelf:
    def __init__(self, store: Any) -> None:
        self._store = store

    @property
    def is_up(self) -> bool:
        return bool(self._store.is_up)


class RedisShelf(_Shelf):
    """Redis."""

    def get(self, keys: list[str]) -> Deferred[list[object]]:
        asked: Deferred[Any] = self._store.ask("MGET", *keys)
        return asked.addCallback(lambda values: values if isinstance(values, list) else [])

    def set(self, key: str, value: bytes, seconds: float) -> Deferred[Any]:
        ends = ("PX", str(ceil(seconds * 1000))) if seconds else ()
        asked: Deferred[Any] = self._store.ask("SET", key, value, *ends)
        return asked

    def add(self, key: str, value: bytes) -> Deferred[Any]:
        asked: Deferred[Any] = self._store.ask("SET", key, value, "NX")
        return asked


class MemcachedShelf(_Shelf):
    """memcached."""

    def get(self, keys: list[str]) -> Deferred[list[object]]:
        values: Deferred[list[object]] = gatherResults(
            [self._store.get(key) for key in keys], consumeErrors=True
        )
        return values

    def set(self, key: str, value: bytes, seconds: float) -> Deferred[Any]:
        asked: Deferred[Any] = self._store.set(key, value, ceil(seconds))
        return asked

    def add(self, key: str, value: bytes) -> Deferred[Any]:
        asked: Deferred[Any] = self._store.add(key, value)
        return asked


class Found(NamedTuple):
    """What a store knows: `mark` is what has to be stored with what it does not.

    `kept` is for those whose key with `names` is `variant`.
    """

    mark: bytes
    names: tuple[str, ...] = ()
    variant: bytes = b""
    kept: Kept | None = None


class Elsewhere:
    """A store that several gateways share.

    What is stored carries the mark of its time, which stands in the store too, for each route; a
    purge sets another. One that was lost from the store is made anew, and is another one then.

    A store that is known to be away is not asked. After a failure it is left alone for a second,
    then for longer, up to half a minute; one request finds out.
    """

    def __init__(
        self,
        services: Services,
        shelf: Shelf,
        prefix: str,
        patience: float,
        count: Callable[[str], object],
    ) -> None:
        self._name, self._route = services.name, services.route
        self._shelf = shelf
        self._prefix = prefix
        self._mark_key = f"{prefix}mark:{digest(services.route.encode()).hex()}"
        self._timeouts = services.timeouts
        self._seconds = services.timeouts.seconds
        self._wall = services.wall
        self._patience = patience
        self._count = count
        self._due: bytes | None = None
        self._is_settling = False
        self._backoff = Backoff(1.0, 30.0, 0.0)
        self._is_failing = False
        self._rests_until = 0.0

    # -- what is asked

    async def find(self, primary: bytes, asker: Asker) -> Found | None:
        """What it knows of a message; None where it cannot be asked."""
        if not self._may_be_asked():
            return None
        try:
            return await self._in_time(Deferred.fromCoroutine(self._find(primary, asker)))
        except Exception:
            return None

    def keep(self, primary: bytes, found: Found, kept: Kept) -> None:
        """Store an answer, with the mark that it was asked under."""
        if self._is_failing or self._due is not None:
            return
        now, wall = self._seconds(), self._wall()
        times = (kept.fresh - now, kept.revalidating - now, kept.failing - now)
        lasts = min(kept.end - now, LONGEST)
        if lasts <= 0:
            return
        stored = Stored(found.mark, wall, *times)
        if found.names:
            index = stored._replace(names=found.names)
            Deferred.fromCoroutine(self._set(primary, index, lasts))
        stored = stored._replace(answer=kept.answer)
        Deferred.fromCoroutine(self._set(found.variant, stored, lasts))

    def purge(self, mark: bytes) -> None:
        """Nothing stored until now counts any more, as soon as the store takes `mark`."""
        self._due = mark
        self._begin_to_settle()

    async def stop(self) -> None:
        """Ask nothing more. A purge that the store does not take even now is told of in the log."""
        if self._shelf.is_up:
            await self._settle()
        if self._due is not None:
            _log.warn(
                "hook {name}: a purge of {route} has not reached the store; what it has of before "
                "may be given out again: purge once more when it is up",
                name=self._name,
                route=self._route,
            )

    # -- how

    async def _find(self, primary: bytes, asker: Asker) -> Found | None:
        mark, value = await self._shelf.get([self._mark_key, self._key(primary)])
        if not isinstance(mark, bytes) or len(mark) != MARK_SIZE:
            mark = await self._new_mark(mark)
        stored = self._read(primary, value, mark)
        names = () if stored is None else stored.names
        variant = asker.variant(primary, names) if names else primary
        if variant is None:
            return Found(mark, names)
        if names:
            (value,) = await self._shelf.get([self._key(variant)])
            stored = self._read(variant, value, mark)
        kept = None if stored is None else stored.kept(self._seconds(), self._wall())
        return Found(mark, names, variant, kept)

    async def _new_mark(self, there: object) -> bytes:
        mark = urandom(MARK_SIZE)
        if there is not None:
            # No mark of ours: garbage.
            await self._shelf.set(self._mark_key, mark, 0)
            return mark
        await self._shelf.add(self._mark_key, mark)
        # Another gateway may have been quicker.
        (there,) = await self._shelf.get([self._mark_key])
        return there if isinstance(there, bytes) and len(there) == MARK_SIZE else mark

    def _read(self, key: bytes, value: object, mark: bytes) -> Stored | None:
        stored = read(key, value, self._wall())
        return stored if stored is not None and stored.mark == mark else None

    def _key(self, key: bytes) -> str:
        return self._prefix + key.hex()

    async def _set(self, key: bytes, stored: Stored, seconds: float) -> None:
        try:
            await self._in_time(self._shelf.set(self._key(key), write(key, stored), seconds))
        except Exception:
            # Counted; the answer is not there, that is all.
            return

    # -- when it fails

    def _may_be_asked(self) -> bool:
        now = self._seconds()
        if now < self._rests_until or not self._shelf.is_up:
            return False
        if self._is_failing:
            self._rests_until = now + self._backoff.after(0.0)
        if self._due is not None:
            self._begin_to_settle()
            return False
        return True

    def _begin_to_settle(self) -> None:
        if self._shelf.is_up and not self._is_settling:
            Deferred.fromCoroutine(self._settle())

    async def _settle(self) -> None:
        self._is_settling = True
        try:
            while self._due is not None:
                mark = self._due
                await self._in_time(self._shelf.set(self._mark_key, mark, 0))
                if self._due == mark:
                    self._due = None
        except Exception:
            # It is tried again when the store has rested.
            return
        finally:
            self._is_settling = False

    async def _in_time(self, waits: Deferred[T]) -> T:
        """What comes within `store_timeout`.

        Raises what the store fails with, or CancelledError.
        """
        timeout = self._timeouts.call_later(self._patience, waits.cancel)
        try:
            result: T = await waits
        except Exception:
            self._note_failure()
            raise
        finally:
            timeout.cancel()
        self._is_failing = False
        self._rests_until = 0.0
        return result

    def _note_failure(self) -> None:
        self._count("store_failed")
        if not self._is_failing:
            self._is_failing = True
            self._backoff = Backoff(1.0, 30.0)
            self._rests_until = self._seconds() + self._backoff.after(0.0)
