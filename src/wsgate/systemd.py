"""What systemd is told of a service of `Type=notify`: sd_notify(3), without its library."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.task import LoopingCall

GLANCE = 0.1
"""Seconds between two looks at whether the service is ready."""

STATUS_EVERY = 10.0
"""Seconds between two lines for `systemctl status`, where the watchdog does not want more."""


class Systemd:
    """Says to systemd that the service is ready, reloads or stops, and that it lives.

    `environ` names the socket (`NOTIFY_SOCKET`); without it nothing is done. With `WATCHDOG_USEC`
    a sign of life goes out from the reactor twice in that time, so one that hangs gives none.
    `status` is a line for people.
    """

    def __init__(self, reactor: Any, environ: Mapping[str, str], status: Callable[[], str]) -> None:
        self._reactor = reactor
        self._environ = environ
        self._status = status
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._stopping = False
        self._life = LoopingCall(self._live)
        self._life.clock = reactor

    def start(self, is_ready: Callable[[], bool]) -> None:
        """Say that the service is ready once it `is_ready`; signs of life go out from now on."""
        if self._address:
            self._life.start(self._interval())
            self._await(is_ready)

    def ready(self) -> None:
        """Clients are served, with the settings as they are now."""
        if not self._stopping:
            self._tell("READY=1", f"STATUS={self._status()}")

    def reloading(self) -> None:
        """The settings are read anew; `ready` follows."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """No more clients are taken."""
        self._stopping = True
        self._tell("STOPPING=1", "STATUS=stopping: " + self._status())

    def _interval(self) -> float:
        me = str(os.getpid())
        watchdog = self._environ.get("WATCHDOG_USEC", "")
        if not watchdog.isdigit() or self._environ.get("WATCHDOG_PID", me) != me:
            return STATUS_EVERY
        return min(STATUS_EVERY, int(watchdog) / 2e6)

    def _live(self) -> None:
        self._tell("WATCHDOG=1", f"STATUS={self._status()}")

    def _await(self, is_ready: Callable[[], bool]) -> None:
        if is_ready():
            self.ready()
        elif not self._stopping:
            self._reactor.callLater(GLANCE, self._await, is_ready)

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        # An address that begins with @ is in Linux's abstract namespace.
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto("\n".join(lines).encode(), address)
