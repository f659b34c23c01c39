"""The stores that the settings ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from wsgate import redis
from wsgate.config import Settings, StoreSettings
from wsgate.secretfile import read_secret
from wsgate.stores.errors import StoreUnusable
from wsgate.stores.store import Recipe, Store
from wsgate.timeouts import Timeouts


class Stores(Mapping[str, Store]):
    """The stores by name, through all reloads; nothing is connected before `start`.

    A store whose settings change stays the object that hooks know, unless it becomes one of another
    kind.

    Raises:
        SecretUnusable: a password cannot be read.
        StoreUnusable: a file of a URL is of no use, or a driver is not installed.
        RedisMissing: Redis' client is not installed.
    """

    def __init__(self, reactor: Any, asked: Settings) -> None:
        self._reactor = reactor
        self._timeouts = Timeouts(reactor)
        self._is_running = False
        self._stores = {name: self._make(recipe) for name, recipe in _recipes(asked.stores).items()}
        self._leaving: list[Store] = []

    def __getitem__(self, name: str) -> Store:
        return self._stores[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stores)

    def __len__(self) -> int:
        return len(self._stores)

    def start(self) -> None:
        """Connect them all; none is waited for."""
        self._is_running = True
        for store in self._stores.values():
            store.start()

    def stop(self) -> Deferred[None]:
        """Let go of all; fires when nothing is left. What they owe fails."""
        self._is_running = False
        every = [*self._stores.values(), *self._leaving]
        self._leaving = []
        stopped: Deferred[Any] = DeferredList([store.stop() for store in every])
        return stopped.addCallback(lambda _: self._timeouts.close())

    def check(self, asked: Settings) -> None:
        """See whether `change` would succeed.

        Raises:
            SecretUnusable, StoreUnusable, RedisMissing: it would not.
        """
        for name, recipe in _recipes(asked.stores).items():
            before = self._stores.get(name)
            if before is None or before.recipe != recipe:
                self._make(recipe)

    def change(self, asked: Settings) -> None:
        """Keep what is unchanged, change what is not, and let go of what is not asked for any more.

        Raises:
            SecretUnusable, StoreUnusable, RedisMissing: as when made; never after `check`.
        """
        before, after = self._stores, {}
        for name, recipe in _recipes(asked.stores).items():
            store = before.get(name)
            if store is None or store.kind != recipe.settings.kind:
                after[name] = self._make(recipe)
                if self._is_running:
                    after[name].start()
                continue
            if store.recipe != recipe:
                store.change(recipe)
            after[name] = store
        self._stores = after
        for name, store in before.items():
            if after.get(name) is not store:
                self._leaving.append(store)
                self._timeouts.call_later(store.recipe.settings.timeout, self._retire, store)

    def _retire(self, store: Store) -> None:
        if store in self._leaving:
            self._leaving.remove(store)
            store.stop()

    def _make(self, recipe: Recipe) -> Store:
        kind = recipe.settings.kind
        # Each only where it is used: they need what not everybody has installed.
        if kind == "redis":
            redis.require(f"stores.{recipe.settings.name}.url")
            from wsgate.stores.redis import RedisStore

            return RedisStore(self._reactor, self._timeouts, recipe)
        if kind == "memcached":
            from wsgate.stores.memcached import MemcachedStore

            return MemcachedStore(self._reactor, self._timeouts, recipe)
        _require(recipe.settings.name, kind)
        from wsgate.stores import sql

        made = sql.PostgreSQLStore if kind == "postgresql" else sql.MySQLStore
        return made(self._reactor, self._timeouts, recipe)


def _require(name: str, kind: str) -> None:
    module = "psycopg" if kind == "postgresql" else "pymysql"
    if find_spec(module) is None:
        raise StoreUnusable(
            f"stores.{name}.url: what speaks to {kind} is not installed; install it with: "
            "pip install 'wsgate[stores]'"
        )


def make_stores(reactor: Any, asked: Settings) -> Stores:
    """The stores of `[stores]`; see `Stores`."""
    return Stores(reactor, asked)


def _recipes(asked: Mapping[str, StoreSettings]) -> dict[str, Recipe]:
    return {name: Recipe(store, _password(store)) for name, store in asked.items()}


def _password(store: StoreSettings) -> str:
    """The first line of `password_file`; empty without one. Raises SecretUnusable."""
    path = store.password_file
    if path is None:
        return ""
    named = f'stores.{store.name}.password_file = "{path}"'
    return read_secret(path, named, _first_line, "a password in its first line, in UTF-8")


def _first_line(content: bytes) -> str:
    line = content.partition(b"\n")[0].rstrip(b"\r")
    if not line:
        raise ValueError
    return line.decode()
