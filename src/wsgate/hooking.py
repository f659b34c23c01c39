"""The hooks of a gateway's routes through all changes: made, started, exchanged, stopped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsgate import config as settings
from wsgate.channels import Channels
from wsgate.gateway import Chain, ChainLimits, HookedConversation, Link, Register, Route
from wsgate.gateway.chain import Wait, deferred_of, described
from wsgate.hooks import HookUnusable, Services
from wsgate.hooks.making import find_modules_in, make_hook
from wsgate.ports import CannotStart, StartFailed
from wsgate.timeouts import Timeouts

log = Logger(namespace="wsgate")

GLANCE = 0.05
"""Seconds between two looks whether hooks still have something to do."""

Made = Mapping[str, Sequence[tuple[settings.NamedHook, Link]]]
"""The hooks of routes, by path."""


class Hooks:
    """The hooks of all routes, each made for one.

    `outcomes` counts what they say, by name and word.
    """

    def __init__(
        self,
        reactor: Any,
        channels: Channels,
        stores: Mapping[str, Any],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self._reactor = reactor
        self._timeouts = Timeouts(reactor)
        self._services = Services(
            reactor=reactor,
            wall=wall,
            timeouts=self._timeouts,
            channels=channels,
            stores=stores,
            count=self._count,
        )
        self._made: Made = {}
        self._had: Mapping[str, Any] = {}
        """The stores that these were made with."""
        self._chains: list[Chain] = []
        """Those that connections have, or will."""
        self._is_running = False
        self._started: set[Link] = set()
        self._patience = 0.0

    def _count(self, hook: str, outcome: str, times: int = 1) -> None:
        self.outcomes[hook, outcome] += times
        if outcome == "timeout":
            self._services.channels.hit("hook_timeout")

    @property
    def figures(self) -> dict[tuple[str, str], float]:
        """What hooks have now, by name and word."""
        found: Counter[Any] = Counter()
        for link in self._links():
            try:
                told = dict(link.hook.figures()) if hasattr(link.hook, "figures") else {}
                found.update({(link.name, str(word)): value for word, value in told.items()})
            except Exception as error:
                self._failed("figures", link, error)
        return dict(found)

    def make(self, asked: settings.Settings, routes: Sequence[settings.Route]) -> Made:
        """Those that `routes` ask for. One that outlasts a reload is the same as before.

        Raises:
            CannotStart: one cannot be made.
        """
        find_modules_in(asked.hook_folders)
        made: dict[str, list[tuple[settings.NamedHook, Link]]] = {}
        try:
            for route in routes:
                if route.hooks:
                    named = [asked.hooks[name] for name in route.hooks]
                    made[route.path] = [(one, self._link(one, route.path)) for one in named]
        except HookUnusable as error:
            raise CannotStart(str(error)) from None
        return made

    def _link(self, named: settings.NamedHook, path: str) -> Link:
        for before, link in self._made.get(path, ()):
            if before == named and getattr(link.hook, "outlasts_reload", False):
                store = getattr(named.options, "store", None) or ""
                if self._had.get(store) is self._services.stores.get(store):
                    return link
        return Link(named.name, make_hook(named, self._services, path))

    def serve(
        self,
        made: Made,
        asked: settings.Settings,
        wanted: Sequence[settings.Route],
        routes: Iterable[Route],
        register: Register,
    ) -> None:
        """Let `routes` have the hooks that were made for them, and no others."""
        before, self._chains = self._chains, []
        self._made = made
        self._had = dict(self._services.stores)
        limits = asked.limits
        self._patience = limits.hook_timeout
        passing = {route.path for route in wanted if route.on_hook_failure == "pass"}
        for route in routes:
            links = [link for _, link in made.get(route.path, ())]
            if links:
                told = ChainLimits(
                    limits.hook_timeout, limits.hook_param_bytes, route.path in passing
                )
                chain = Chain(links, told, self._timeouts, self._count, self._released)
                self._chains.append(chain)
                route.make_conversation = partial(HookedConversation, chain, register)
        if self._is_running:
            for link in self._links():
                self._start(link)
        for chain in before:
            self._chains.append(chain)
            chain.retire()

    def _links(self) -> list[Link]:
        """Each once, in the order of routes."""
        return list(dict.fromkeys(link for links in self._made.values() for _, link in links))

    def start(self) -> None:
        """The gateway begins to serve.

        Raises:
            StartFailed: a hook cannot begin.
        """
        self._is_running = True
        for link in self._links():
            fault = self._start(link)
            if fault:
                raise StartFailed(fault)

    def _start(self, link: Link) -> str:
        """Start a hook that was not; what is wrong, empty if nothing is or it takes its time."""
        if link in self._started:
            return ""
        self._started.add(link)
        try:
            said: Any = link.hook.start() if hasattr(link.hook, "start") else None
        except Exception as error:
            return self._failed("start", link, error)
        if hasattr(said, "__await__"):
            deferred_of(said).addErrback(self._failed_later, "start", link)
        return ""

    def _failed(self, what: str, link: Link, error: BaseException) -> str:
        line = f"hook {link.name} failed at its {what}: {described(error)}"
        log.error("{line}", line=line)
        return line

    def _failed_later(self, failure: Failure, what: str, link: Link) -> None:
        error = failure.value
        assert error is not None
        self._failed(what, link, error)

    def _released(self, chain: Chain) -> None:
        self._chains.remove(chain)
        for link in chain.links:
            if not link.uses:
                self._stop(link)

    def _stop(self, link: Link) -> Deferred[Any]:
        """Stop a hook; fires when it has, or took too long."""
        stopped: Deferred[Any] = Deferred()
        if link not in self._started:
            stopped.callback(None)
            return stopped
        self._started.discard(link)
        try:
            said: Any = link.hook.stop() if hasattr(link.hook, "stop") else None
        except Exception as error:
            self._failed("stop", link, error)
            said = None
        if hasattr(said, "__await__"):
            wait = Wait(self._timeouts, self._patience, stopped.callback)
            wait.begin(said)
        else:
            stopped.callback(None)
        stopped.addErrback(self._failed_later, "stop", link)
        return stopped

    async def stop(self) -> None:
        """All clients have left: wait until hooks have heard of it, and stop them."""
        if not self._is_running:
            return
        deadline = self._reactor.seconds() + self._patience
        while any(chain.connections for chain in self._chains):
            if self._reactor.seconds() >= deadline:
                break
            await deferLater(self._reactor, GLANCE)
        await DeferredList([self._stop(link) for link in tuple(self._started)])
        self._is_running = False
        self._timeouts.close()
