"""Connections to a UNIX socket, made and written at once.

A UNIX socket connects or refuses within the call, so there is nothing to wait for. Twisted's own
client waits all the same, reads by `recvmsg` in case file descriptors come, and buffers every write
until the next turn of the reactor; with a connection for each request that is half the price of it.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any, Protocol

from twisted.internet import defer, main
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionAborted, getConnectError
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorFDSet,
    IReadWriteDescriptor,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

READ_SIZE = 120 * 1024
"""Bytes taken from a socket at a time: a message of 64 KiB, and more. From 128 KiB on the C library
may map the memory anew for each read, which costs more than all that is done for an answer."""

LARGE_READ_SIZE = 256 * 1024
"""The same after a read that found as much as it asked for; more than a UNIX socket holds."""

MAX_PARTS = 64
"""Pieces given to the kernel in one call: more than the socket takes at once."""


class Path(Protocol):
    """Gives the path of the socket when it is needed: a private PHP's changes with each start."""

    def __call__(self) -> str:
        """The path of now."""


@implementer(IStreamClientEndpoint)
class UNIXEndpoint:
    """Where a UNIX socket listens."""

    def __init__(self, reactor: IReactorFDSet, path: Path) -> None:
        self._reactor = reactor
        self._path = path

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect now: the result has fired already.

        Fails with a ConnectError; its `osError` is EAGAIN when the socket's queue of connections is
        full, ENOENT or ECONNREFUSED when nobody listens.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            connection.connect(self._path())
        except OSError as error:
            connection.close()
            return defer.fail(_connect_error(error))
        protocol = protocolFactory.buildProtocol(UNIXAddress(None))
        if protocol is None:
            connection.close()
            return defer.fail(ConnectError(string="the connection is no longer wanted"))
        transport: Any = UNIXTransport(self._reactor, connection, protocol)
        protocol.makeConnection(transport)
        return defer.succeed(protocol)


def _connect_error(error: OSError) -> ConnectError:
    if error.errno is None:  # a path that is no path, such as one too long
        return ConnectError(string=str(error))
    connect_error: ConnectError = getConnectError((error.errno, os.strerror(error.errno)))
    return connect_error


_ABORTED = Failure(ConnectionAborted())


@implementer(IReadWriteDescriptor)
class UNIXTransport:
    """The transport of one such connection: as much of ITransport as FastCGI needs."""

    __slots__ = (
        "_protocol",
        "_reactor",
        "_read_size",
        "_recv",
        "_send",
        "_sendmsg",
        "_socket",
        "_unsent",
        "fileno",
    )

    def __init__(
        self, reactor: IReactorFDSet, connection: socket.socket, protocol: IProtocol
    ) -> None:
        self._reactor = reactor
        self._protocol = protocol
        self._read_size = READ_SIZE
        self._socket: socket.socket | None = connection
        self._recv = connection.recv
        self._send = connection.send
        self._sendmsg = connection.sendmsg
        self._unsent: deque[memoryview] = deque()
        self.fileno = connection.fileno
        reactor.addReader(self)

    def write(self, data: bytes) -> None:
        """Send `data` now; what the socket does not take goes out when it can."""
        if self._socket is None:
            return
        sent = 0
        if not self._unsent:
            try:
                sent = self._send(data)
            except OSError:
                # Full for now, or broken: `doWrite` will find out which, outside of this call.
                sent = 0
        if sent != len(data):
            self._wait_with((memoryview(data)[sent:],))

    def write_parts(self, parts: Iterable[bytes | memoryview]) -> None:
        """Send `parts` one after the other as the socket has room, without joining them."""
        if self._socket is not None:
            self._wait_with(memoryview(part) for part in parts)

    @property
    def unsent_size(self) -> int:
        """Bytes that the socket has yet to take."""
        return sum(map(len, self._unsent))

    def _wait_with(self, parts: Iterable[memoryview]) -> None:
        self._unsent.extend(parts)
        self._reactor.addWriter(self)

    def pauseProducing(self) -> None:
        """Read nothing until `resumeProducing`: the application will have to wait as it writes."""
        self._reactor.removeReader(self)

    def resumeProducing(self) -> None:
        """Read on. Harmless when closed, or not paused."""
        if self._socket is not None:
            self._reactor.addReader(self)

    def abortConnection(self) -> None:
        """Close at once; the protocol hears of it within this call."""
        if self._socket is not None:
            self.connectionLost(_ABORTED)

    def doRead(self) -> Any:
        """Called by the reactor: there is data, or the end."""
        asked = self._read_size
        try:
            data = self._recv(asked)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        if len(data) >= READ_SIZE:
            self._read_size = LARGE_READ_SIZE
        elif asked != READ_SIZE:
            self._read_size = READ_SIZE
        self._protocol.dataReceived(data)
        return None

    def doWrite(self) -> Any:
        """Called by the reactor: there is room."""
        unsent = self._unsent
        try:
            sent = self._sendmsg(list(islice(unsent, MAX_PARTS)))
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        while unsent and sent >= len(unsent[0]):
            sent -= len(unsent.popleft())
        if unsent:
            unsent[0] = unsent[0][sent:]
        else:
            self._reactor.removeWriter(self)
        return None

    def connectionLost(self, reason: Failure) -> None:
        """Called by the reactor, or by `abortConnection`: close and tell the protocol."""
        connection, self._socket = self._socket, None
        if connection is None:
            return
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        connection.close()
        self._protocol.connectionLost(reason)

    def logPrefix(self) -> str:
        """What Twisted's log calls it."""
        return "FastCGI"
