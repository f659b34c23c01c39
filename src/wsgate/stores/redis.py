"""Redis as a store: one connection, on which commands do not wait for each other's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsgate import redis
from wsgate.redis.client import RedisClient, endpoint_of
from wsgate.stores.errors import StoreAnswer, StoreAway, StoreError, StoreUnusable
from wsgate.stores.store import Announcer, IsLate, OneConnection, Recipe

Word = str | bytes | int

NOT_SHARED = frozenset(
    (
        *("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"),
        *("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "SELECT", "AUTH", "HELLO", "RESET"),
        *("QUIT", "MONITOR", "SYNC", "PSYNC", "CLIENT", "READONLY", "READWRITE", "ASKING", "WAIT"),
        *("BLPOP", "BRPOP", "BLMOVE", "BLMPOP", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "BZMPOP"),
        *("WAITAOF", "SHUTDOWN"),
    )
)
"""Commands that change the connection, or hold it up, for everybody who shares it."""


class RedisStore(OneConnection[RedisClient]):
    """A Redis, or what speaks its protocol (Valkey, KeyDB, Dragonfly).

    Raises:
        StoreUnusable: a file of the URL cannot be used.
        RedisMissing: its client is not installed.
    """

    kind: ClassVar[str] = "redis"

    def ask(self, *words: Word) -> Deferred[Any]:
        """Send a command, like `ask("GET", "key")`; fires with Redis' answer.

        Texts come as bytes, numbers as int, nil as None, maps as dict. Fails with a StoreError: see
        `Store`; an error that Redis answers is a StoreAnswer.

        Raises:
            ValueError: the command is one of `NOT_SHARED`.
        """
        command = words[0] if words else ""
        name = command.decode("latin-1") if isinstance(command, bytes) else str(command)
        if not name or name.upper() in NOT_SHARED:
            raise ValueError(f"not a command for a connection that others use too: {name!r}")
        return self._request(lambda _: self._client.ask(*words), self._translate)

    def run(self, script: str, keys: Sequence[Word], *arguments: Word) -> Deferred[Any]:
        """Run Lua as one step; fires with what it gives. Fails as `ask`."""
        lua = _SCRIPTS.get(script) or _remember(script)

        def ask(is_late: IsLate) -> Deferred[Any]:
            return self._client.run(lua, tuple(keys), *arguments, is_late=is_late)

        return self._request(ask, self._translate)

    def _make(self, recipe: Recipe) -> RedisClient:
        name, settings = recipe.settings.name, recipe.settings
        called = f"stores.{name}.url"
        redis.require(called)
        address = redis.parse(settings.url)
        if recipe.password:
            address = replace(address, password=recipe.password)
        try:
            endpoint = endpoint_of(self._reactor, address, settings.connect_timeout, called)
        except OSError as error:
            raise StoreUnusable(f"{called}: {error.filename}: {error.strerror}") from None
        except ValueError as error:
            raise StoreUnusable(f"{called}: {error}") from None
        announcer = Announcer(name, str(address))
        return RedisClient(self._reactor, address, f"wsgate-{name}", announcer, endpoint)

    def _translate(self, failure: Failure) -> StoreError:
        error = failure.value
        if isinstance(error, (redis.RedisRefused, redis.RedisGarbled)):
            return StoreAnswer(f"store {self.name}: {error}")
        if isinstance(error, redis.RedisError):
            return StoreAway(f"store {self.name}: {error}")
        return StoreAnswer(f"store {self.name}: {failure.getErrorMessage()}")


_SCRIPTS: dict[str, redis.Script] = {}
"""Those that were run, so that each is hashed once. Hooks have a few, as constants."""


def _remember(source: str) -> redis.Script:
    script = redis.Script(source)
    if len(_SCRIPTS) < 256:
        _SCRIPTS[source] = script
    return script
