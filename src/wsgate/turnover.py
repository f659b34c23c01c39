"""One set of pools takes over from another, and no request is lost in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import DeferredList, ensureDeferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsgate import php
from wsgate.config import Route, Settings
from wsgate.fastcgi import ConnectionPool
from wsgate.figures import Samples, lasting, merged
from wsgate.measures import pool_samples
from wsgate.pools import make_pools, recipes
from wsgate.reload import NotTaken

log = Logger(namespace="wsgate")

ANSWER_LIMIT = 15.0
"""Seconds that a new private PHP gets to answer; then the old one stays."""

GLANCE = 0.1
"""Seconds between two looks at something that is waited for."""


class Turnover:
    """The pools of a gateway, by name, and the private PHPs among them, through all changes.

    Raises:
        php.PHPError: there is no PHP, or it cannot be run as it should.
    """

    def __init__(self, reactor: Any, asked: Settings, routes: Sequence[Route]) -> None:
        self._reactor = reactor
        self._recipes = recipes(asked, routes)
        self.pools, self.privates = make_pools(reactor, asked, routes)
        self._leaving: list[ConnectionPool] = []
        self.past: Samples = {}
        """What pools that are gone had counted."""
        self._every_private = list(self.privates)

    async def change(
        self,
        asked: Settings,
        routes: Sequence[Route],
        switch: Callable[[dict[str, ConnectionPool]], Callable[[], bool]],
    ) -> None:
        """Make what is new or other, wait until it answers, `switch` to it, retire what was.

        `switch` gets all pools, and gives back a function that says whether those that are left
        out are still used by somebody.

        Raises:
            php.PHPError, OSError, NotTaken: a new PHP does not come up. Nothing has changed.
            Exception: what `switch` raises. Nothing has changed here either.
        """
        after = recipes(asked, routes)
        names = [name for name in after if after[name] != self._recipes.get(name)]
        made, privates = make_pools(self._reactor, asked, routes, names)
        await self._start(privates)
        before, privates_before, recipes_before = self.pools, self.privates, self._recipes
        self._recipes = after
        self.pools = {name: made[name] if name in made else before[name] for name in after}
        kept = [p for p in privates_before if p.pool_name in after and p.pool_name not in made]
        self.privates = [*kept, *privates]
        try:
            is_used = switch(self.pools)
        except BaseException:
            self.pools, self.privates, self._recipes = before, privates_before, recipes_before
            await self._stop(privates)
            raise
        leaving = [pool for name, pool in before.items() if self.pools.get(name) is not pool]
        self._leaving += leaving
        stopping = [private for private in privates_before if private not in kept]
        ensureDeferred(self._retire(leaving, stopping, is_used)).addErrback(_bug)

    @property
    def every_pool(self) -> Sequence[ConnectionPool]:
        """Those in use, and those that finish what they have."""
        return (*self.pools.values(), *self._leaving)

    def stop_pools(self) -> None:
        """Take no request any more; also not in those that are about to go."""
        for pool in (*self.pools.values(), *self._leaving):
            pool.stop()

    async def stop_privates(self) -> None:
        """Stop every PHP of ours."""
        await _stop_all(self._every_private)

    async def are_answering(self, privates: Sequence[php.PrivatePHP], seconds: float) -> bool:
        """Wait until all of `privates` answer, or for so long; whether they do."""
        deadline = self._reactor.seconds() + seconds
        while not all(private.is_answering for private in privates):
            if self._reactor.seconds() >= deadline:
                return False
            await deferLater(self._reactor, GLANCE)
        return True

    async def _start(self, privates: Sequence[php.PrivatePHP]) -> None:
        self._every_private += privates
        try:
            for private in privates:
                private.startService()
            if not await self.are_answering(privates, ANSWER_LIMIT):
                names = ", ".join(p.pool_name for p in privates if not p.is_answering)
                raise NotTaken(f"the new PHP of pool {names} does not answer")
        except BaseException:
            await self._stop(privates)
            raise

    async def _stop(self, privates: Sequence[php.PrivatePHP]) -> None:
        await _stop_all(privates)
        self._every_private = [p for p in self._every_private if p not in privates]

    async def _retire(
        self,
        pools: Sequence[ConnectionPool],
        privates: Sequence[php.PrivatePHP],
        is_used: Callable[[], bool],
    ) -> None:
        """Let `pools` finish what they have, then end them and their PHP."""
        while is_used() or not all(map(_is_over, pools)):
            await deferLater(self._reactor, GLANCE)
        for pool in pools:
            pool.stop()
            self._leaving.remove(pool)
            self.past = merged([self.past, lasting(pool_samples(pool))])
            log.info("pool {pool}, as it was, has finished", pool=pool.name)
        await self._stop(privates)


def _is_over(pool: ConnectionPool) -> bool:
    return pool.stopped or not pool.in_flight + pool.waiting


async def _stop_all(privates: Sequence[php.PrivatePHP]) -> None:
    await DeferredList([maybeDeferred(private.stopService) for private in privates])


def _bug(failure: Failure) -> None:
    log.failure("retiring a pool failed", failure)
