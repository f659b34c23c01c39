"""Transports that try to write at once.

Twisted's transports only buffer in `write`: they ask the reactor for a turn, send in it, and tell
the reactor that they are done; two `epoll_ctl` calls and a turn for each answer, though the socket
of a client nearly always has room. These send first, and do all that only for what is left over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet import main, tcp, unix
from twisted.internet.interfaces import IListeningPort

if TYPE_CHECKING:
    _Base = tcp.Server
else:
    _Base = object

READ_SIZE = 64 * 1024
"""Bytes taken from a socket at a time; `bufferSize` is left to mean what may wait unsent."""

LARGE_READ_SIZE = 256 * 1024
"""The same after a read that found as much as it asked for: a long message is coming in."""


class EagerWriting(_Base):
    """Mixed in before a server transport of Twisted's; everything but the first try is Twisted's.

    A write that fails is left to Twisted as well, which finds the same error in its next turn: so
    `connectionLost` never comes from within `write`.
    """

    SEND_LIMIT = 1024 * 1024
    _read_size = READ_SIZE

    def write(self, data: bytes) -> None:
        """Send `data` now if nothing waits before it; buffer what the socket does not take."""
        # A side that was shut down for writing refuses, and what it refuses Twisted drops.
        if self.connected and not (self.dataBuffer or self._tempDataBuffer or self.TLS):
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        super().write(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send the pieces in one write."""
        self.write(b"".join(iovec))

    def doRead(self) -> Any:
        """Take what came, at most `LARGE_READ_SIZE` bytes. File descriptors are not received."""
        asked = self._read_size
        try:
            data = self.socket.recv(asked)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        if len(data) >= READ_SIZE:
            self._read_size = LARGE_READ_SIZE
        elif asked != READ_SIZE:
            del self._read_size
        self.protocol.dataReceived(data)
        return None


class EagerTCPServer(EagerWriting, tcp.Server):
    """The transport of a connection accepted on a TCP port."""


class EagerUNIXServer(EagerWriting, unix.Server):
    """The transport of a connection accepted on a UNIX socket."""


def write_eagerly(port: IListeningPort) -> None:
    """Let the connections that `port` accepts from now on write at once.

    TLS and other wrappers sit on top unchanged. A port of any other kind than Twisted's TCP and
    UNIX ports is left as it is.
    """
    if type(port) is tcp.Port:
        port.transport = EagerTCPServer
    elif type(port) is unix.Port:
        port.transport = EagerUNIXServer
