"""Wires everything together; the only module that knows the real reactor.

`twistd` finds `Options` and `makeService` here by the plugin's description, and a `.tac` file calls
the same two.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.application.service import Service

from wsgate import config as settings
from wsgate import control, grip, php, tls, workers
from wsgate.bus import Bus, Hub, HubBus, ParentBus, channels_over, keeping, make_bus
from wsgate.channels import BusError, Channels
from wsgate.dialects import Pusher, pusher_apps
from wsgate.hooking import Hooks
from wsgate.making import (
    all_routes,
    check_scripts,
    check_state,
    make_factory,
    make_options,
    make_register,
    read_certificates,
)
from wsgate.monotonic import keep_monotonic
from wsgate.options import Options as CommandLine
from wsgate.ports import CannotStart, warnings_to
from wsgate.proxies import LOCAL, TrustedProxies
from wsgate.redis import RedisError
from wsgate.running import GatewayService, Ports, ReadAgain
from wsgate.secretfile import SecretUnusable
from wsgate.stores import StoreError, make_stores
from wsgate.turnover import Turnover
from wsgate.vitals import Vitals

__all__ = ["CannotStart", "Options", "makeService"]


class Options(CommandLine):
    """The command line, which `twistd` makes; its --check does what a start does first."""

    def try_out(self) -> None:
        """Read certificates, find PHP, look at scripts and port strings; open and start nothing.

        Raises:
            CannotStart: one of them is missing or unusable.
        """
        from twisted.internet import reactor

        asked = self.settings.gateway
        # systemd passes its sockets to the service alone.
        ports = tuple(port for port in asked.port if "systemd:" not in port.lower())
        with warnings_to(sys.stderr):
            make_service(reactor, replace(self.settings, gateway=replace(asked, port=ports)))


def makeService(options: Options) -> Service:
    """Make the service that `options.settings` describe.

    Raises:
        CannotStart: a certificate, a port string or PHP itself is missing or unusable.
    """
    from twisted.internet import reactor

    keep_monotonic(reactor)
    return make_service(reactor, options.settings, options.read_again)


def run_worker(brief: workers.Brief) -> None:
    """Be one of several workers until the end; see `wsgate.workers`."""
    from twisted.internet import reactor

    keep_monotonic(reactor)

    def make(ports: Ports) -> GatewayService:
        return _gateway(reactor, brief.settings, ports, bus=_bus_of_worker(reactor, brief))

    workers.run(reactor, brief, make)


def _bus_of_worker(reactor: Any, brief: workers.Brief) -> Bus | None:
    """The way to the other workers; None if there is another bus."""
    if brief.settings.gateway.bus is not None:
        os.close(workers.BUS)
        return None

    def stop() -> None:
        # It would serve clients whom nothing reaches: another worker takes its place.
        os.kill(os.getpid(), signal.SIGTERM)

    return ParentBus(reactor, workers.BUS, brief.settings.limits.bus_buffer, stop)


_WRONG = (*(SecretUnusable, tls.TLSError, php.PHPError, BusError, RedisError, StoreError),)
"""What the parts say that cannot be as they are asked to."""


def make_service(
    reactor: Any, asked: settings.Settings, read_again: ReadAgain | None = None
) -> Service:
    """As `makeService`, on a reactor of the caller's choice.

    `read_again` gives the settings at a reload; left out, they stay.
    """
    read_again = read_again or (lambda: asked)
    try:
        if asked.gateway.workers > 1:
            bus = make_bus(reactor, asked)
            hub = Hub(reactor, keeping(asked.limits))
            # What a worker would find wrong stops the start, instead of every worker's.
            parent = workers.WorkersService(
                reactor,
                asked,
                read_certificates(asked.gateway),
                read_again,
                partial(_as_workers_take_it, reactor),
                _channels_of_parent(reactor, asked, bus or HubBus(hub)),
                hub if bus is None else None,
            )
            return _controlled(reactor, asked, parent)
        certificates = read_certificates(asked.gateway)
        believed = TrustedProxies(asked.gateway.trusted_proxies) or LOCAL
        ports = [
            (port, tls.server_endpoint(reactor, port, certificates, believed))
            for port in asked.gateway.port
        ]
        gateway = _gateway(reactor, asked, ports, certificates, read_again)
        return _controlled(reactor, asked, gateway)
    except _WRONG as error:
        raise CannotStart(str(error)) from None


def _controlled(
    reactor: Any, asked: settings.Settings, served: GatewayService | workers.WorkersService
) -> Service:
    """`served`, with the control interface if there is to be one."""
    if asked.gateway.control is None:
        return served
    publishing = grip.Publishing(reactor, asked)
    served.reload.followers.append(publishing.follow)
    return control.controlled(reactor, asked.gateway, served, publishing.endpoints) or served


def _channels_of_parent(reactor: Any, asked: settings.Settings, bus: Bus) -> Channels | None:
    """Through which the control interface reaches the workers' clients."""
    if not asked.gateway.control:
        return None
    return channels_over(bus)(reactor, make_options(asked.limits).channels, Counter())


def _as_workers_take_it(reactor: Any, asked: settings.Settings) -> settings.Settings:
    """The settings for workers, who cannot all read what the parent can. Raises as they would."""
    asked = replace(asked, routes=tuple(all_routes(asked)))
    _gateway(reactor, asked, ())
    return asked


def _gateway(
    reactor: Any,
    asked: settings.Settings,
    ports: Ports,
    certificates: tls.Certificates | None = None,
    read_again: ReadAgain | None = None,
    bus: Bus | None = None,
) -> GatewayService:
    check_scripts(asked)
    check_state(asked)
    routes = all_routes(asked)
    apps = pusher_apps(routes)
    stores = make_stores(reactor, asked)
    turnover = Turnover(reactor, asked, routes)
    register = make_register(reactor, asked.gateway)
    factory = make_factory(reactor, asked, routes, turnover.pools, register, bus)
    pusher = Pusher(reactor, factory)
    pusher.serve(apps, factory.routes.values())
    hooks = Hooks(reactor, factory.channels, stores)
    made = hooks.make(asked, routes)
    hooks.serve(made, asked, routes, factory.routes.values(), register)
    vitals = Vitals(reactor) if asked.gateway.control else None
    return GatewayService(
        reactor,
        factory,
        ports,
        turnover,
        asked,
        certificates,
        read_again,
        vitals,
        register,
        pusher,
        stores,
        hooks,
    )
