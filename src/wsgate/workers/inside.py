"""A worker from within: its brief, its ports, its reports, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from twisted.internet._posixstdio import StandardIO
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, Logger, LogLevel, eventAsText, globalLogBeginner
from twisted.logger import LogEvent as TwistedLogEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from wsgate import tls
from wsgate.figures import Samples, merged
from wsgate.php.lines import LineSplitter
from wsgate.proxies import LOCAL, TrustedProxies
from wsgate.websocket import RESTARTING, Farewell
from wsgate.workers import reports
from wsgate.workers.adopted import AdoptingReactor, worker_description
from wsgate.workers.balance import Balance
from wsgate.workers.brief import Brief
from wsgate.workers.credentials import LONGEST_LINE, read_renewal

BRIEF, OUTPUT, ERRORS, REPORTS, BALANCE, BUS, FIRST_PORT = range(7)
"""Descriptors. The brief's is a pipe whose end means that the parent has gone; the balance is the
workers' own, the bus leads to the parent, and the ports follow."""

STOP, STOP_REPLACED, HURRY = signal.SIGTERM, signal.SIGUSR2, signal.SIGQUIT
"""Signals from the parent: stop; stop because a successor is there; stop at once."""

REPORT_EVERY = 1.0
"""Seconds between two reports of figures, where they have changed; and two signs of life to the
other workers."""

ORPHAN_LIMIT = 2.0
"""Seconds that a worker without parent gets to finish. Nobody could tell how long it takes."""

FLUSH_LIMIT = 2.0
"""Seconds that the last reports get, should the parent not read them."""

_log = Logger(namespace="wsgate")

Ports = Sequence[tuple[str, IStreamServerEndpoint]]


class Gateway(Protocol):
    """The service that a worker runs."""

    def privilegedStartService(self) -> None:
        """Take the ports."""

    def startService(self) -> None:
        """Begin to serve."""

    def stopService(self) -> Deferred[None]:
        """Finish what is under way."""

    def hurry(self) -> None:
        """End a stop that has begun."""

    farewell: Farewell
    """What clients are told at the end."""

    def figures(self) -> reports.Figures:
        """Messages and connections so far."""


def run(reactor: Any, brief: Brief, make: Callable[[Ports], Gateway]) -> None:
    """Serve until SIGTERM, or until the parent has gone. `make` gets the ports to listen on."""
    stopping = Once(reactor.stop)
    to_parent = Reports(reactor, stopping)
    globalLogBeginner.beginLoggingTo([to_parent], redirectStandardIO=False)
    balance = Balance(BALANCE, brief.number - 1, time.monotonic)
    os.close(BALANCE)

    def gives_way() -> bool:
        balance.tell(gateway.figures().connections)
        return balance.is_ahead()

    certificates = tls.Certificates(brief.credentials) if brief.credentials else None
    if certificates is not None:
        to_parent.renewal_received = partial(_renew, certificates)
    gateway = make(_ports(reactor, brief, certificates, gives_way))
    gateway.privilegedStartService()
    gateway.startService()
    presence = LoopingCall(gives_way)
    figures = LoopingCall(lambda: to_parent.figures(gateway.figures()))
    presence.clock = figures.clock = reactor

    async def stop() -> None:
        # The place in the balance may be a successor's already.
        presence.stop()
        await gateway.stopService()
        figures.stop()
        to_parent.figures(gateway.figures())
        await to_parent.finish()

    reactor.addSystemEventTrigger("before", "shutdown", lambda: ensureDeferred(stop()))
    to_parent.send(reports.Ready())
    presence.start(REPORT_EVERY)
    figures.start(REPORT_EVERY)
    _obey(reactor, gateway, stopping)
    reactor.run()


def _obey(reactor: Any, gateway: Gateway, stopping: Callable[[], None]) -> None:
    """Do what the parent's signals say, once the reactor has installed its own handlers.

    Twisted's own cannot bear a second SIGTERM; systemd sends one to the parent and to each worker.
    """

    def replaced() -> None:
        gateway.farewell = RESTARTING
        stopping()

    def hurry() -> None:
        stopping()
        gateway.hurry()

    acts = {STOP: stopping, STOP_REPLACED: replaced, HURRY: hurry}
    for number, act in acts.items():
        reactor.callWhenRunning(_on_signal, reactor, number, act)


def _on_signal(reactor: Any, number: signal.Signals, act: Callable[[], None]) -> None:
    signal.signal(number, lambda *_: reactor.callFromThread(act))


def _renew(certificates: tls.Certificates, line: bytes) -> None:
    try:
        certificates.use(read_renewal(line))
    except (ValueError, KeyError, TypeError) as error:
        _log.error("renewed certificates cannot be used: {error}", error=type(error).__name__)


def _ports(
    reactor: Any,
    brief: Brief,
    certificates: tls.Certificates | None,
    gives_way: Callable[[], bool],
) -> Ports:
    # Where the parent read them; as another user it may not be ours to enter.
    with contextlib.suppress(OSError):
        os.chdir(brief.folder)
    proxies = TrustedProxies(brief.settings.gateway.trusted_proxies) or LOCAL
    ports = []
    for descriptor, description in enumerate(brief.settings.gateway.port, FIRST_PORT):
        adopting = AdoptingReactor(reactor, descriptor, gives_way)
        asked = worker_description(description)
        ports.append((description, tls.server_endpoint(adopting, asked, certificates, proxies)))
    return ports


class Once:
    """A function that only the first call of it calls."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function

    def __call__(self) -> None:
        """Call it, if nobody has."""
        function, self._function = self._function, None
        if function is not None:
            function()


@implementer(ILogObserver)
class Reports(TwistedProtocol):
    """The worker's end of the pipes.

    While the parent does not read, log lines are dropped and counted; they must not fill memory.
    """

    def __init__(self, reactor: Any, parent_gone: Callable[[], None]) -> None:
        self._reactor = reactor
        self._parent_gone = parent_gone
        self._paused = False
        self._dropped = 0
        self._lost = 0
        self._last = reports.NONE
        self._finished: Deferred[None] | None = None
        self._lines = LineSplitter(LONGEST_LINE)
        self.renewal_received: Callable[[bytes], None] = _pass_over
        """Called with each line of renewed certificates."""
        self._pipes = StandardIO(self, stdin=BRIEF, stdout=REPORTS, reactor=reactor)
        self._pipes.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """The parent writes; after the brief that is renewed certificates."""
        for line in self._lines.feed(data):
            self.renewal_received(line)

    def send(self, report: reports.Report) -> None:
        """Tell the parent."""
        self._pipes.write(reports.to_line(report))

    def __call__(self, event: TwistedLogEvent) -> None:
        """One event of the log."""
        if self._paused:
            self._dropped += 1
            self._lost += 1
            return
        level = event.get("log_level", LogLevel.info).name
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        self.send(reports.LogEvent(level, str(event.get("log_namespace", "")), text))

    def figures(self, figures: reports.Figures) -> None:
        """Tell the parent what has changed, if it reads."""
        if self._paused:
            return
        if self._lost:
            lost: Samples = {("wsgate_log_lost_total",): self._lost}
            figures = figures._replace(samples=merged([figures.samples, lost]))
        for part in figures.since(self._last):
            self.send(part)
        self._last = figures

    def finish(self) -> Deferred[None]:
        """Fires when everything is written, or it takes too long."""
        if self._pipes.disconnected:
            return succeed(None)
        self._finished = Deferred()
        self._finished.addTimeout(FLUSH_LIMIT, self._reactor).addErrback(lambda _: None)
        self._pipes.unregisterProducer()
        self._pipes.loseConnection()
        return self._finished

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Both pipes are closed: by `finish`, or because the parent has gone."""
        finished = self._finished
        if finished is None:
            self._reactor.callLater(ORPHAN_LIMIT, os.kill, os.getpid(), signal.SIGKILL)
            self._parent_gone()
        elif not finished.called:
            finished.callback(None)

    def pauseProducing(self) -> None:
        """The parent does not read."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The parent reads again."""
        self._paused = False
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            _log.warn("{count} log lines were dropped: the parent did not read", count=dropped)

    def stopProducing(self) -> None:
        """The pipe is closed."""


def _pass_over(_line: bytes) -> None:
    """A worker without certificates needs no new ones."""


def read_brief() -> Brief | None:
    """The brief, once the parent has written it; None if it has gone."""
    line = sys.stdin.buffer.readline()
    return Brief.from_line(line) if line.endswith(b"\n") else None
