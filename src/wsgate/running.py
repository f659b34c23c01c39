"""A gateway from its start to its stop: ports, connections, pools and PHP in the right order."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger

from wsgate import config as settings
from wsgate import floods, php, tls, workers
from wsgate.accepting import accept_while_there_is_room
from wsgate.channels import Channels
from wsgate.dialects import Pusher, pusher_apps
from wsgate.dispatch import call_directly
from wsgate.eager import write_eagerly
from wsgate.fastcgi import ConnectionPool
from wsgate.figures import Samples, expiry_samples, merged, php_is_away
from wsgate.garbage import collect_rarely
from wsgate.gateway import Register
from wsgate.hooking import Hooks
from wsgate.journal import JournalError
from wsgate.logfile import reopen_log
from wsgate.logpipe import never_wait_for_reader
from wsgate.making import (
    all_routes,
    check_scripts,
    departure_limits,
    make_options,
    make_register,
    make_routes,
)
from wsgate.measures import gateway_samples
from wsgate.ports import SPARE_FILES, StartFailed, announce, bind, raise_file_limit
from wsgate.redis import RedisError
from wsgate.reload import NotTaken, Reload
from wsgate.secretfile import SecretUnusable
from wsgate.signals import Signals
from wsgate.stores import StoreError, Stores, make_stores, store_samples
from wsgate.systemd import Systemd
from wsgate.threads import ReactorThreads
from wsgate.turnover import Turnover
from wsgate.vitals import Vitals
from wsgate.websocket import GOING_AWAY, Farewell, GatewayFactory

log = Logger(namespace="wsgate")

Ports = Sequence[tuple[str, IStreamServerEndpoint]]
"""Each `--port` string and what it means."""

ReadAgain = Callable[[], settings.Settings]
"""The settings as they are written now. Raises ConfigError."""


class GatewayService(Service):
    """Ports, connections, pools and PHP, started and stopped in the right order.

    Ports are bound before privileges are dropped; PHP starts after that. Messages that come
    before PHP answers wait in the pool's queue.

    With `read_again` it is the whole process's: it says where it listens, and obeys its signals.
    """

    name = "wsgate"

    def __init__(
        self,
        reactor: Any,
        factory: GatewayFactory,
        ports: Ports,
        turnover: Turnover,
        asked: settings.Settings,
        certificates: tls.Certificates | None = None,
        read_again: ReadAgain | None = None,
        vitals: Vitals | None = None,
        register: Register | None = None,
        pusher: Pusher | None = None,
        stores: Stores | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self.certificates = certificates
        """Those of `tls:PORT`, if there are any; in a worker the parent renews them."""
        self.factory = factory
        self.ready = False
        """Whether clients are served: from the start until a stop begins."""
        self.farewell: Farewell = GOING_AWAY
        """What clients are told when they are closed at the end."""
        others = [certificates.reload] if certificates is not None else []
        systemd = self._systemd = Systemd(reactor, os.environ, lambda: self.figures().in_words())
        self.reload = Reload(
            asked,
            read_again or (lambda: asked),
            self._take,
            others=[reopen_log, *others],
            begins=systemd.reloading,
            is_over=systemd.ready,
        )
        """Takes the settings anew when it is called."""
        self._reactor = reactor
        self._ports = ports
        self._turnover = turnover
        self._is_alone = read_again is not None
        self._vitals = vitals
        self._pusher = pusher or Pusher(reactor, factory)
        self._register = register or make_register(reactor, asked.gateway)
        self._stores = make_stores(reactor, asked) if stores is None else stores
        self._hooks = hooks or Hooks(reactor, factory.channels, self._stores)
        self._threads = ReactorThreads(reactor)
        self._stopping = False
        self._watch: tls.CertificateWatch | None = None
        self.listening: list[IListeningPort] = []

    @property
    def pools(self) -> Sequence[ConnectionPool]:
        """Those in use."""
        return list(self._turnover.pools.values())

    @property
    def channels(self) -> Channels:
        """Who is reached by a push."""
        return self.factory.channels

    @property
    def _asked(self) -> settings.Gateway:
        return self.reload.settings.gateway

    def privilegedStartService(self) -> None:
        """Bind the ports.

        Raises:
            StartFailed: one of them cannot be bound.
        """
        super().privilegedStartService()
        self._make_room()
        for description, endpoint in self._ports:
            port = bind(description, endpoint, self.factory)
            write_eagerly(port)
            accept_while_there_is_room(port, self._reactor, self.factory.room)
            self.listening.append(port)

    def _make_room(self) -> None:
        """Take as many clients as there are descriptors for."""
        others = sum(pool.max_in_flight for pool in self.pools)
        others += sum(store.descriptors for store in self._stores.values())
        if self._is_alone and self._asked.control is not None:
            # The others are among the spare ones.
            others += max(0, self._asked.control_max_connections - SPARE_FILES // 2)
        self.factory.census.limit = raise_file_limit(self.factory.options.max_connections, others)

    def startService(self) -> None:
        """Start PHP and say where wsgate is."""
        if not self.listening:
            self.privilegedStartService()
        super().startService()
        call_directly(self._reactor)
        self._threads.start()
        try:
            self._begin_journal(self.reload.settings.routes)
            for private in self._turnover.privates:
                private.startService()
        except (JournalError, php.PHPError, OSError) as error:
            raise StartFailed(str(error)) from None
        self._register.serve(self.factory.routes)
        self.channels.start()
        self._stores.start()
        self._pusher.start()
        self._hooks.start()
        self._watch_certificates()
        collect_rarely()
        floods.OF_THIS_PROCESS.start(self._reactor)
        self.ready = True
        if self._vitals is not None:
            self._vitals.start()
        if self._is_alone:
            never_wait_for_reader()
            Signals(
                self._reactor,
                hurry=self.hurry,
                reload=self.reload,
                limit=lambda: self._asked.stop_timeout,
            ).install()
            announce([description for description, _ in self._ports], self.listening)
            self._systemd.start(lambda: all(p.is_answering for p in self._turnover.privates))

    def _watch_certificates(self) -> None:
        if self.certificates is not None:
            interval = self._asked.certificate_check_interval
            self._watch = tls.CertificateWatch(self._reactor, self.certificates, interval)
            self._watch.startService()

    def figures(self) -> workers.Figures:
        """Messages since the start, and connections open now."""
        return workers.Figures(self.factory.tally(), len(self.factory.connections), self.samples())

    def samples(self) -> Samples:
        """The figures of `/metrics`; none where there is no control interface."""
        if self._vitals is None:
            return {}
        turnover = self._turnover
        gateway = gateway_samples(
            self.factory,
            self._register,
            self._pusher.applications,
            self._hooks.outcomes,
            self._hooks.figures,
            turnover.every_pool,
            turnover.privates,
        )
        expiries = self.certificates.expiries() if self.certificates is not None else {}
        stores = dict(store_samples(self._stores.values()))
        now = gateway | self._vitals.samples() | expiry_samples(expiries) | stores
        return merged([turnover.past, now])

    def not_ready(self) -> str | None:
        """Why no clients should be sent here; None if they should."""
        if not self.ready:
            return "shutting down" if self._stopping else "starting"
        return php_is_away(self.samples())

    def stopService(self) -> Deferred[None]:
        """Stop without losing what is under way.

        Accept nothing new; close every connection as soon as it has its answers, spread over
        `close_spread`. What has no answer within `drain_timeout` gets an error. Then stop PHP.
        """
        self.ready = False
        super().stopService()
        self._stopping = True
        self._systemd.stopping()
        if self._watch is not None:
            self._watch.stopService()
        return ensureDeferred(self._stop())

    def hurry(self) -> None:
        """End a stop that has begun: cut off what is left, at once."""
        self._register.departures.stop()
        self._threads.give_up()
        self.factory.drop_all()

    async def _take(self, asked: settings.Settings) -> None:
        """Put other settings in place. Nothing has changed if it raises."""
        check_scripts(asked)
        routes = all_routes(asked)
        try:
            self._begin_journal(routes)
        except JournalError as error:
            raise NotTaken(str(error)) from None

        try:
            self._stores.check(asked)
        except (StoreError, RedisError, SecretUnusable) as error:
            raise NotTaken(str(error)) from None
        apps = pusher_apps(routes)

        def switch(pools: Mapping[str, ConnectionPool]) -> Callable[[], bool]:
            made = make_routes(routes, pools, self._register, asked.limits)
            options = make_options(asked.limits)
            if options != self.factory.options:
                self.factory.change_options(options)
            self._make_room()
            self._pusher.serve(apps, made)
            self._hooks.serve(hooks, asked, routes, made, self._register)
            has_clients = self.factory.change_routes(made, asked.gateway.close_spread)
            self._register.limits = departure_limits(asked.gateway)
            self._register.serve(self.factory.routes)
            departures = self._register.departures
            return lambda: has_clients() or departures.is_using_others(self.pools)

        self._stores.change(asked)
        try:
            hooks = self._hooks.make(asked, routes)
            await self._turnover.change(asked, routes, switch)
        except BaseException:
            self._stores.change(self.reload.settings)
            raise

    def _begin_journal(self, routes: Sequence[settings.Route]) -> None:
        if any("disconnect" in route.events for route in routes):
            self._register.begin()

    async def _stop(self) -> None:
        await DeferredList([_deferred(port.stopListening()) for port in self.listening])
        self.listening = []
        drained = self.factory.drain(self.farewell, self._asked.close_spread)
        limit = self._reactor.callLater(self._asked.drain_timeout, self._give_up)
        until = self._reactor.seconds() + self._asked.drain_timeout
        await drained
        await self._register.departures.settled()
        await self._hooks.stop()
        if limit.active():
            limit.cancel()
        self._turnover.stop_pools()
        await self._turnover.stop_privates()
        self._register.stop()
        self._pusher.close()
        await self.channels.stop()
        await self._stores.stop()
        await self._threads.finish(until - self._reactor.seconds())
        if self._vitals is not None:
            self._vitals.stop()
        floods.OF_THIS_PROCESS.stop()
        log.info("stopped; messages: {tally}", tally=self.factory.tally())

    def _give_up(self) -> None:
        log.warn(
            "what has no answer after {seconds:g} s is given up",
            seconds=self._asked.drain_timeout,
        )
        self._register.departures.stop()
        self._turnover.stop_pools()
        self.factory.give_up()
        self.factory.close_all()


def _deferred(result: Any) -> Deferred[Any]:
    return maybeDeferred(lambda: result)
