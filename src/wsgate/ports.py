"""Binding ports, saying where they are, and having descriptors enough for their clients."""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import ILogObserver, Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.logger import LogEvent as TwistedLogEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from wsgate import __version__
from wsgate.compiled import DESCRIPTION

log = Logger(namespace="wsgate")


class CannotStart(SystemExit):
    """The service cannot start: Python prints one line on standard error, exit status 1."""

    def __init__(self, line: str) -> None:
        super().__init__(f"wsgate: {line}")


@contextmanager
def warnings_to(stream: TextIO) -> Iterator[None]:
    """Print what is logged as a warning or worse, while there is no log yet."""
    printing = _Printing(stream)
    globalLogPublisher.addObserver(printing)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(printing)


@implementer(ILogObserver)
class _Printing:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: TwistedLogEvent) -> None:
        if event["log_level"] in (LogLevel.warn, LogLevel.error, LogLevel.critical):
            print(f"wsgate: {formatEvent(event)}", file=self._stream)


class StartFailed(CannotStart, Exception):
    """As `CannotStart`, once twistd logs and may be in the background: the line goes to both.

    Also an Exception: of nothing else does twistd tell the process that waits in the foreground,
    which would wait for ever.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.code = 1
        log.critical("{line}", line=line)
        print(self, file=sys.__stderr__)


def bind(
    description: str,
    endpoint: IStreamServerEndpoint,
    factory: IProtocolFactory,
    option: str = "--port",
) -> IListeningPort:
    """The port that `endpoint`, read from `option` (`--port`) `description`, listens on.

    Raises:
        StartFailed: it cannot be bound.
    """
    listening: list[IListeningPort] = []
    failures: list[Failure] = []
    # Every endpoint of Twisted binds at once; a failure must not hide in a log.
    endpoint.listen(factory).addCallbacks(listening.append, failures.append)
    for failure in failures:
        raise StartFailed(f"{option} {description}: cannot listen there: {_why(failure)}")
    if not listening:
        raise StartFailed(f"{option} {description}: this kind of port is not ready at once")
    _send_without_delay(listening[0])
    return listening[0]


def _send_without_delay(port: Any) -> None:
    """Let the connections that `port` accepts send short data at once (TCP_NODELAY).

    They inherit it from the listening socket. With Nagle's algorithm the second of two writes
    waits for the client's delayed acknowledgement, 40 ms: in every TLS handshake, for example.
    """
    listener = getattr(port, "socket", None)
    if listener is not None and listener.family in (socket.AF_INET, socket.AF_INET6):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _why(failure: Failure) -> object:
    error = failure.value
    cause = error.socketError if isinstance(error, CannotListenError) else error
    return getattr(cause, "strerror", None) or cause


def announce(descriptions: Iterable[str], listening: Iterable[IListeningPort]) -> None:
    """Log where clients connect."""
    for description, port in zip(descriptions, listening, strict=True):
        log.info(
            "wsgate {version} ({codecs}) listens on {url}",
            version=__version__,
            codecs=DESCRIPTION,
            url=_url(description, port.getHost()),
        )


def _url(description: str, host: Any) -> str:
    """A bound port as people write it."""
    if not isinstance(host, IPv4Address | IPv6Address):
        return description
    scheme = "wss" if description.startswith(("tls:", "ssl:")) else "ws"
    if host.host in ("0.0.0.0", "::"):
        name = socket.gethostname()
    else:
        name = f"[{host.host}]" if ":" in host.host else host.host
    return f"{scheme}://{name}:{host.port}/"


SPARE_FILES = 512
"""Descriptors beside those of clients and of connections to PHP: logs, the reactor, connections
that are turned away, what a restart of PHP needs."""

FEWEST_SPARE_FILES = 128
"""The same where there are few in all: a quarter of them, but not below this."""


def raise_file_limit(connections: int, to_php: int) -> int:
    """Use what the hard limit on open files allows; give how many clients there is room for.

    `connections` is how many may come, `to_php` how many connections to PHP there may be at a time.
    The result is `connections`, or less with a warning; at least 1.
    """
    needed = connections + to_php + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = room_for_clients(connections, to_php, soft)
    if room < connections:
        log.warn(
            "limits.max_connections = {connections}: this process may open only {files} files, so "
            "it takes {room} clients; raise its limit (systemd: LimitNOFILE={needed}) or lower "
            "max_connections",
            connections=connections,
            files=soft,
            room=room,
            needed=needed,
        )
    return room


def room_for_clients(connections: int, to_php: int, files: int) -> int:
    """How many of `connections` clients a process takes that may open `files` files.

    What a client takes more than there is would be missing where PHP is called.
    """
    spare = min(SPARE_FILES, max(FEWEST_SPARE_FILES, files // 4))
    return max(1, min(connections, files - to_php - spare))
