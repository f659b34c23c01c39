"""Sessions that PHP keeps in a store: what its extensions redis, memcached and memcache save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wsgate.hooks.errors import HookFailed
from wsgate.hooks.session.sources import Source
from wsgate.stores import Store, StoreError

# What they need is there only where one of them is in the settings.
if TYPE_CHECKING:
    from wsgate.stores.memcached import MemcachedStore
    from wsgate.stores.redis import RedisStore

REDIS_PREFIX = "PHPREDIS_SESSION:"
"""Of the extension redis, unless session.save_path has `prefix=`."""

MEMCACHED_PREFIX = "memc.sess.key."
"""memcached.sess_prefix of the extension memcached; the extension memcache has none."""

_LONGEST_KEY = 250
"""Bytes that memcached takes for a key; PHP cannot keep a session of a longer one there either."""


class InRedis(Source):
    """Texts by `prefix` and id. Locks have keys that are longer, and no id is so long a name."""

    def __init__(self, store: RedisStore, prefix: str | None, max_size: int) -> None:
        self._store = store
        self._prefix = REDIS_PREFIX if prefix is None else prefix
        self._max_size = max_size

    async def look_up(self, session: str) -> bytes | None:
        """As `Source.look_up`."""
        # One byte more than may be, so that a session too long shows; never the whole of it.
        words = ("GETRANGE", self._prefix + session, 0, self._max_size)
        try:
            found = await self._store.ask(*words)
        except StoreError as error:
            raise HookFailed(str(error)) from None
        return _checked(found, self._max_size)


class InMemcached(Source):
    """Values by `prefix` and id."""

    def __init__(self, store: MemcachedStore, prefix: str | None, max_size: int) -> None:
        self._store = store
        self._prefix = MEMCACHED_PREFIX if prefix is None else prefix
        self._max_size = max_size

    async def look_up(self, session: str) -> bytes | None:
        """As `Source.look_up`."""
        key = self._prefix + session
        if len(key) > _LONGEST_KEY:
            return None
        try:
            found = await self._store.get(key)
        except StoreError as error:
            raise HookFailed(str(error)) from None
        return _checked(found, self._max_size)


def _checked(found: object, max_size: int) -> bytes | None:
    """What a store gave, if it may be a session.

    Raises:
        HookFailed: it may not.
    """
    if found is None:
        return None
    if not isinstance(found, bytes):
        raise HookFailed("a session in the store is no text")
    if len(found) > max_size:
        raise HookFailed(f"a session in the store is longer than max_size = {max_size} bytes")
    return found


_KINDS: dict[str, Any] = {"redis": InRedis, "memcached": InMemcached}


def in_store(store: Store, prefix: str | None, max_size: int) -> Source:
    """Where sessions are in this store.

    Raises:
        ValueError: PHP keeps none in a store of that kind.
    """
    if store.kind not in _KINDS:
        raise ValueError(f"a {store.kind}; sessions are looked up in Redis or memcached")
    source: Source = _KINDS[store.kind](store, prefix, max_size)
    return source
