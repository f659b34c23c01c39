"""The control interface's port, and what is served with it, as one service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger

from wsgate.accepting import accept_while_there_is_room
from wsgate.channels import Channels
from wsgate.control.answers import Endpoint, Refusal
from wsgate.control.factory import ControlFactory, ControlLimits
from wsgate.control.health import health
from wsgate.control.metrics import metrics
from wsgate.control.openapi import described
from wsgate.control.purge import purging
from wsgate.control.push import Source, push
from wsgate.figures import Samples, merged, stores_in
from wsgate.ports import bind

_log = Logger(namespace="wsgate")


class Served(Protocol):
    """What the interface tells about: a gateway, or the parent of several."""

    def privilegedStartService(self) -> None: ...

    def startService(self) -> None: ...

    def stopService(self) -> Deferred[None]: ...

    def samples(self) -> Samples:
        """Its figures now."""

    def not_ready(self) -> str | None:
        """Why it should get no clients; None if it should."""

    @property
    def channels(self) -> Channels | None:
        """Who is reached by a push; None where nobody is."""


MoreEndpoints = Callable[[Source], Sequence[Endpoint]]
"""Endpoints of another room; it is given what gives the channels."""


def no_more(source: Source) -> Sequence[Endpoint]:
    """No other endpoints."""
    return ()


class ControlledService(Service):
    """A service, and the control interface that tells about it from its first to its last moment.

    `endpoint` is where the interface listens, as `--control description` says. A UNIX socket is
    made after privileges are dropped, so that it belongs to the user who serves; any other port
    is bound before. `token` is what every request must prove, or None.
    """

    name = "wsgate"

    def __init__(
        self,
        reactor: Any,
        served: Served,
        description: str,
        endpoint: IStreamServerEndpoint,
        token: bytes | None,
        limits: ControlLimits,
        more: MoreEndpoints = no_more,
        *,
        late: bool = False,
    ) -> None:
        self.served = served
        self._reactor = reactor
        self._description = description
        self._endpoint = endpoint
        self._late = late
        self._port: Any = None
        self.pushed: Counter[str] = Counter()
        endpoints = [
            *health(served.not_ready, lambda: stores_in(served.samples())),
            *metrics(reactor, self.samples),
            *push(self._channels, self.pushed),
            *purging(self._channels),
            *more(self._channels),
        ]
        endpoints = described(endpoints, needs_token=token is not None)
        self.factory = ControlFactory(reactor, endpoints, token, limits)

    def samples(self) -> Samples:
        """The figures of what is served, and of the interface itself."""
        own: Samples = {
            ("wsgate_control_requests_total", str(status)): count
            for status, count in self.factory.statuses.items()
        }
        own |= {("wsgate_control_pushes_total", to): n for to, n in self.pushed.items()}
        own["wsgate_ready",] = self.served.not_ready() is None
        return merged([self.served.samples(), own])

    def _channels(self) -> Channels:
        channels = self.served.channels
        if channels is None:
            raise Refusal(503, "with --workers nobody can be reached from here")
        return channels

    def privilegedStartService(self) -> None:
        """Bind the ports. Raises StartFailed."""
        super().privilegedStartService()
        if not self._late:
            self._listen()
        self.served.privilegedStartService()

    def startService(self) -> None:
        """Answer questions, then serve: a start that takes long can be watched."""
        super().startService()
        if self._port is None:
            self._listen()
        self.served.startService()
        _log.info("control interface on {description}", description=self._description)

    def stopService(self) -> Deferred[None]:
        """Stop what is served; questions are answered until that is done."""
        super().stopService()
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        try:
            await maybeDeferred(self.served.stopService)
        finally:
            if self._port is not None:
                await maybeDeferred(self._port.stopListening)
            self.factory.close()

    def _listen(self) -> None:
        self._port = bind(self._description, self._endpoint, self.factory, option="--control")
        accept_while_there_is_room(self._port, self._reactor, self.factory.room)
