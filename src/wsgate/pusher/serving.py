"""The HTTP API on the clients' own port: who may call is known before a body is read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from twisted.web.http import Request

from wsgate.control.answers import Answer, Asked
from wsgate.control.factory import ControlFactory, ControlLimits
from wsgate.control.http import ControlChannel, ControlRequest
from wsgate.gateway import Route
from wsgate.http1 import RequestHead
from wsgate.pusher.api import api, check, refusal
from wsgate.pusher.applications import Applications
from wsgate.pusher.calls import Call, Refused

CONNECTIONS = 256
"""At a time. They count among the clients' too."""

_APPS = "/apps/"


class ApiRequest(ControlRequest):
    """One request."""

    def _asked(self) -> Asked:
        asked = super()._asked()
        return asked._replace(path=without_prefix(asked.path))


class ApiChannel(ControlChannel):
    """One connection, which was a client's until its first request was read."""

    requestFactory = ApiRequest

    def signed(self) -> None:
        """Called when the application has signed a request. Whoever made this may set it."""


class ApiFactory(ControlFactory):
    """Makes what reads the API's requests, on connections that are there already."""

    protocol: Any = ApiChannel

    def __init__(self, reactor: Any, applications: Applications, now: Callable[[], float]) -> None:
        super().__init__(
            reactor,
            api(applications.find, now),
            None,
            ControlLimits(sys.maxsize, CONNECTIONS),
        )
        self.statuses = applications.statuses
        self._applications = applications
        self._now = now

    def takes(self, head: RequestHead) -> bool:
        """Whether a request that is no handshake is for the API."""
        return self._applications.has_api_at(head.target.decode("latin-1"))

    def route_for(self, path: str) -> Route | None:
        """The route of a client that asks for an application which is not here."""
        return self._applications.stranger(path)

    def refusal(self, request: Request, path: bytes, length: int | None) -> Answer | None:
        """As the control interface's. The signature is over the body's digest, not the body."""
        most = self._applications.body_limit
        if length is not None and length > most:
            return refusal(Refused(413, f"A request may have {most} bytes (max_event_size)"))
        refused = super().refusal(request, path, length)
        if refused is not None:
            return refused
        channel: Any = request.channel
        target, _, query = path.decode("latin-1").partition("?")
        # The method stands in the request only when its body is there.
        call = Call(channel._command.decode("latin-1"), without_prefix(target), query, b"")
        try:
            check(self._applications.find, self._now, call)
        except Refused as error:
            return refusal(error)
        channel.signed()
        return None


def without_prefix(path: str) -> str:
    """The path as it was signed, which is without what stands before `/apps/`."""
    start = path.find(_APPS)
    return path[start:] if start > 0 else path
