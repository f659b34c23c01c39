"""The parent of the workers: binds the ports, and never accepts on them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from wsgate import tls
from wsgate.bus import Hub, bus_samples, keeping
from wsgate.channels import Channels
from wsgate.config import Settings
from wsgate.figures import Samples, expiry_samples, merged, php_is_away
from wsgate.interpreter import why_no_python
from wsgate.logfile import reopen_log
from wsgate.logpipe import never_wait_for_reader
from wsgate.ports import CannotStart, StartFailed, announce, bind
from wsgate.reload import NotTaken, Reload, TakenInPart
from wsgate.signals import Signals
from wsgate.systemd import Systemd
from wsgate.threads import ReactorThreads
from wsgate.vitals import Vitals
from wsgate.workers import inside
from wsgate.workers.balance import make_memory
from wsgate.workers.brief import Brief
from wsgate.workers.credentials import renewal_line
from wsgate.workers.process import WorkerProcess
from wsgate.workers.reports import Figures
from wsgate.workers.shares import settings_of_worker
from wsgate.workers.slot import Slot
from wsgate.workers.supervisor import Supervisor

log = Logger(namespace="wsgate")

STOP_PATIENCE = 8.0
"""Seconds beside those for requests and closes: PHP's end, and the last reports."""


class WorkersService(Service):
    """Runs `settings.gateway.workers` processes that share its ports.

    SIGHUP reads the settings anew, by `read_again`, and restarts them one by one. `check` gives the
    settings as workers take them, or raises what a worker would. `hub` connects the workers, if
    nothing else does.

    Raises:
        tls.TLSError: a certificate or a port string cannot be used.
    """

    name = "wsgate"

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        certificates: tls.Certificates | None,
        read_again: Callable[[], Settings],
        check: Callable[[Settings], Settings],
        channels: Channels | None = None,
        hub: Hub | None = None,
    ) -> None:
        self._hub = hub
        self.channels = channels
        """Through which the workers' clients are reached; None where they cannot be."""
        self._reactor = reactor
        others = [certificates.reload] if certificates is not None else []
        self._systemd = Systemd(reactor, os.environ, lambda: self.figures().in_words())
        self.reload = Reload(
            settings,
            read_again,
            self._take,
            others=[reopen_log, *others],
            begins=self._systemd.reloading,
            is_over=self._systemd.ready,
        )
        """Takes settings and certificates anew when it is called, and restarts the workers."""
        self._check = check
        self._settings = check(settings)
        self._folder = os.getcwd()
        self._certificates = certificates
        self._watch: tls.CertificateWatch | None = None
        if certificates is not None:
            certificates.renewed = self._tell_workers
            self._watch = tls.CertificateWatch(
                reactor, certificates, settings.gateway.certificate_check_interval
            )
        self._ports: list[tuple[str, IStreamServerEndpoint]] = [
            (port, tls.server_endpoint(reactor, port, certificates))
            for port in settings.gateway.port
        ]
        self._listening: list[Any] = []
        self._balance = -1
        self._threads = ReactorThreads(reactor)
        self._stopping = False
        self._vitals = Vitals(reactor)
        self.supervisor = Supervisor(reactor, settings.gateway.workers, self._start_worker)

    @property
    def listening(self) -> Sequence[IListeningPort]:
        """The ports, in the order of the settings."""
        return self._listening

    def figures(self) -> Figures:
        """Messages of all workers since the start, ended ones too; connections open now."""
        return self.supervisor.figures()

    def samples(self) -> Samples:
        """The figures of `/metrics`: those of all workers, ended ones too, and of this process."""
        slots = self.supervisor.slots
        own: Samples = {("wsgate_worker_ends_total",): sum(slot.ends for slot in slots)}
        if self._certificates is not None:
            own |= expiry_samples(self._certificates.expiries())
        if self.channels is not None:
            own |= bus_samples(self.channels)
        return merged([self._vitals.samples(), self.figures().samples, own])

    def not_ready(self) -> str | None:
        """Why no clients should be sent here; None if they should."""
        if not self.running:
            return "starting" if not self._stopping else "shutting down"
        if not any(slot.is_serving for slot in self.supervisor.slots):
            return "no worker process is ready"
        return php_is_away(self.figures().samples)

    def privilegedStartService(self) -> None:
        """Bind the ports.

        Raises:
            CannotStart: one of them cannot be bound, or is of a kind that cannot be shared.
        """
        super().privilegedStartService()
        for description, endpoint in self._ports:
            port: Any = bind(description, endpoint, _Nobody())
            if not (hasattr(port, "fileno") and hasattr(port, "stopReading")):
                raise CannotStart(
                    f"--port {description}: workers cannot share this kind of port; use --workers 1"
                )
            port.stopReading()
            # Shut down by one of its owners, a socket is dead for all.
            port._shouldShutdown = False
            self._listening.append(port)

    def startService(self) -> None:
        """Start the workers, and say where wsgate is."""
        if not self._listening:
            self.privilegedStartService()
        super().startService()
        no_workers = why_no_python(inside.__file__)
        if no_workers:
            raise StartFailed(f"--workers: {no_workers}")
        self._balance = make_memory(self._settings.gateway.workers)
        self._threads.start()
        self.supervisor.start()
        never_wait_for_reader()
        Signals(
            self._reactor,
            hurry=self._hurry,
            reload=self.reload,
            limit=lambda: self._settings.gateway.stop_timeout,
        ).install()
        self._vitals.start()
        if self.channels is not None:
            self.channels.start()
        if self._watch is not None:
            self._watch.startService()
        announce(self._settings.gateway.port, self._listening)
        self._systemd.start(lambda: all(slot.is_serving for slot in self.supervisor.slots))

    def stopService(self) -> Deferred[None]:
        """Let all workers finish what they have begun; fires when they have ended."""
        super().stopService()
        self._stopping = True
        self._systemd.stopping()
        if self._watch is not None:
            self._watch.stopService()
        return ensureDeferred(self._stop())

    def _hurry(self) -> None:
        self._threads.give_up()
        self.supervisor.hurry()

    async def _stop(self) -> None:
        ended = self.supervisor.stop()
        for port in self._listening:
            await port.stopListening()
        self._listening = []
        await ended
        if self.channels is not None:
            await self.channels.stop()
        await self._threads.finish(0)
        self._vitals.stop()
        os.close(self._balance)
        log.info("stopped; messages: {tally}", tally=self.figures().tally)

    def _tell_workers(self, credentials: tls.Credentials) -> None:
        line = renewal_line(credentials)
        for slot in self.supervisor.slots:
            for run in slot.runs:
                run.renew(line)

    async def _take(self, settings: Settings) -> None:
        """Restart the workers with other settings, or go on with those that they have."""
        before, self._settings = self._settings, self._check(settings)
        if self._hub is not None:
            self._hub.exchange.keeping = keeping(settings.limits)
        replaced = await self.supervisor.reload()
        if replaced < len(self.supervisor.slots):
            self._settings = before
            raise _not_taken(replaced)

    def _drain_limit(self) -> float:
        """Seconds after which a worker that ends is killed."""
        gateway = self._settings.gateway
        longest = gateway.drain_timeout + self._settings.limits.close_timeout + STOP_PATIENCE
        return min(longest, gateway.stop_timeout)

    def _start_worker(self, slot: Slot) -> WorkerProcess:
        worker = WorkerProcess(self._reactor, slot.number, slot, self._drain_limit())
        brief = Brief(
            number=slot.number,
            settings=settings_of_worker(self._settings, slot.number - 1),
            credentials=self._certificates.credentials if self._certificates else None,
            reactor=type(self._reactor).__module__,
            folder=self._folder,
        )
        ports = [port.fileno() for port in self._listening]
        ours, theirs = socket.socketpair()
        with ours, theirs:
            worker.spawn(brief.to_line(), self._balance, theirs.fileno(), ports)
            if self._hub is not None:
                self._hub.adopt(ours)
        return worker


def _not_taken(replaced: int) -> NotTaken | TakenInPart:
    """What to say when the first `replaced` workers have the new settings, and the others not."""
    what = "a worker could not be replaced"
    if not replaced:
        return NotTaken(what)
    some = "worker 1 has" if replaced == 1 else f"workers 1 to {replaced} have"
    return TakenInPart(f"{what}; {some} the new settings, the others those of before")


class _Nobody(Factory):
    """The factory of a port that nothing is accepted on."""

    noisy = False
