"""The hook `cache`, as its options ask for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from wsgate.config.cache import CacheOptions
from wsgate.config.errors import OptionError, did_you_mean
from wsgate.hooks.cache.elsewhere import MemcachedShelf, RedisShelf, Shelf
from wsgate.hooks.cache.hook import Cache
from wsgate.hooks.cache.terms import MOST_NAMES, is_varying
from wsgate.hooks.services import Services

_SHELVES: dict[str, Callable[[Any], Shelf]] = {"redis": RedisShelf, "memcached": MemcachedShelf}


def make(services: Services, options: CacheOptions) -> Cache:
    """A cache for one route.

    Raises:
        OptionError: an option cannot be as it is.
    """
    varies = tuple(name.lower() for name in options.vary)
    for name in varies:
        if not is_varying(name):
            raise OptionError(
                "vary",
                f"{name!r} is neither the name of a header, nor Wsgate-User, Wsgate-Var-NAME or "
                "Wsgate-Param-NAME",
            )
    if len(varies) > MOST_NAMES:
        raise OptionError("vary", f"{len(varies)} names; {MOST_NAMES} are the most")
    return Cache(services, replace(options, vary=varies), _shelf(services, options.store))


def _shelf(services: Services, name: str | None) -> Shelf | None:
    if name is None:
        return None
    store = services.stores.get(name)
    if store is None:
        mend = did_you_mean(name, services.stores) or "; write it as [stores.NAME]"
        raise OptionError("store", f"no such store in [stores]{mend}")
    if store.kind not in _SHELVES:
        raise OptionError("store", f"answers are kept in redis or memcached, not in {store.kind}")
    return _SHELVES[store.kind](store)
