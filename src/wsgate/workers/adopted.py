"""Ports that the parent has bound: a worker accepts on them and never changes them.

The socket is one for all workers. Twisted's own adoption (`adoptStreamPort`) believes it is the
only owner: of a UNIX socket it resets backlog and mode, and unlinks the path at its end.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet import tcp, unix
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from wsgate.eager import EagerTCPServer, EagerUNIXServer

if TYPE_CHECKING:
    _Base = tcp.Port
else:
    _Base = object


GIVE_WAY = 0.002
"""Seconds that a worker with more connections than another leaves a new one to the others."""


class _Adopted(_Base):
    """Mixed in before a port of Twisted's that was made of a listening socket.

    It accepts one connection in each turn of the reactor, and lets workers with fewer go first.
    Twisted would take up to a hundred at once.
    """

    gives_way: Callable[[], bool]
    _gave_way = False

    def startListening(self) -> None:
        """Begin to accept."""
        tcp._reservedFD.reserve()
        adopted: Any = self._preexistingSocket
        self._preexistingSocket = None
        # Shut down, it would be dead for all.
        self._shouldShutdown = False
        assert self.factory is not None
        self.factory.doStart()
        self.socket = adopted
        self.fileno = adopted.fileno  # type: ignore[method-assign]  # as Twisted's ports do
        self.connected = True
        self.startReading()

    def doRead(self) -> None:
        """Accept, or give way to the others for a moment; after that take what they left."""
        if not self._gave_way and self.gives_way():
            self._gave_way = True
            self.stopReading()
            clock: Any = self.reactor
            clock.callLater(GIVE_WAY, self._try_again)
            return
        self._gave_way = False
        self.numberAccepts = 1
        super().doRead()

    def _try_again(self) -> None:
        if self.connected and not self.disconnecting:
            self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        """Close this process's descriptor; a UNIX path is the parent's to remove."""
        tcp.Port.connectionLost(self, reason)

    def _logConnectionLostMsg(self) -> None:
        """The parent says where wsgate listens; each worker's line would add nothing."""


class AdoptedTCPPort(_Adopted, tcp.Port):
    """A TCP port of the parent's."""

    transport = EagerTCPServer


class AdoptedUNIXPort(_Adopted, unix.Port):
    """A UNIX port of the parent's, which alone sets its mode."""

    transport = EagerUNIXServer


class AdoptingReactor:
    """A reactor for one endpoint, which gets the port `descriptor` whatever it asks to bind.

    `gives_way` says whether other workers should have the next connection.
    Everything that is not about binding a stream port goes to the real reactor.
    """

    def __init__(self, reactor: Any, descriptor: int, gives_way: Callable[[], bool]) -> None:
        self._reactor = reactor
        self._gives_way = gives_way
        self._descriptor = descriptor
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, *_args: object, **_options: object) -> Any:
        """Adopt the port, of whatever family it is."""
        return self._adopt(factory)

    def listenUNIX(self, address: str, factory: Any, *_args: object, **_options: object) -> Any:
        """Adopt the port, of whatever family it is."""
        return self._adopt(factory)

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, *_args: object, **_options: object
    ) -> Any:
        """Adopt the port and speak TLS on it."""
        return self._adopt(TLSMemoryBIOFactory(contextFactory, False, factory))

    def _adopt(self, factory: Any) -> Any:
        family = _family(self._descriptor)
        port: Any
        if family == socket.AF_UNIX:
            port = AdoptedUNIXPort._fromListeningDescriptor(
                self._reactor, self._descriptor, factory
            )
        else:
            port = AdoptedTCPPort._fromListeningDescriptor(
                self._reactor, self._descriptor, family, factory
            )
        # The port has its own, which no child process inherits.
        os.close(self._descriptor)
        port.gives_way = self._gives_way
        port.startListening()
        return port


def _family(descriptor: int) -> socket.AddressFamily:
    asked = socket.socket(fileno=descriptor)
    try:
        return socket.AddressFamily(asked.family)
    finally:
        asked.detach()


def worker_description(description: str) -> str:
    """The `--port` string a worker reads in place of `description`.

    systemd passed its sockets to the parent, who passes them on; what wraps them stays.
    """
    return re.sub(r"^(haproxy:)?systemd:.*", r"\1tcp:0", description, flags=re.I | re.S)
