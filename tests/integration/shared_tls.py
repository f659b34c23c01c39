"""TLS sockets that one thread may read while another writes, as websockets.sync does.

`ssl.SSLSocket` of CPython 3.11 and 3.12 is not safe for that: two calls in OpenSSL at once on one
connection lose what was to be sent now and then, although `sendall` has returned.
"""

import select
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Self

SLICE = 0.05
"""Seconds after which a wait looks again: another thread may have read what it waited for."""


class SharedTLSSocket(ssl.SSLSocket):
    """One call in OpenSSL at a time. None of them waits; waiting is done outside of the lock."""

    _is_open = False
    _timeout: float | None = None

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        made = super().__new__(cls, *arguments, **options)
        made._lock = threading.Lock()
        return made

    _lock: threading.Lock

    def do_handshake(self, block: bool = False) -> None:
        """While there is one thread only: as ever."""
        super().do_handshake(block)
        self._timeout = super().gettimeout()
        super().settimeout(0)
        self._is_open = True

    def settimeout(self, value: float | None) -> None:
        """Seconds that `recv` and `send` may take; None: for ever."""
        if self._is_open:
            self._timeout = value
        else:
            super().settimeout(value)

    def gettimeout(self) -> float | None:
        """What `settimeout` was told."""
        return self._timeout if self._is_open else super().gettimeout()

    def read(self, *arguments: Any) -> Any:
        """Of `recv` and `recv_into`; nothing any more once another thread has shut it down."""
        try:
            return self._patiently(super().read, *arguments)
        except ValueError:
            return 0 if len(arguments) == 2 else b""

    def send(self, *arguments: Any) -> int:
        """Of `sendall` too."""
        sent: int = self._patiently(super().send, *arguments)
        return sent

    def _patiently(self, call: Callable[..., Any], *arguments: Any) -> Any:
        timeout = self.gettimeout()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                with self._lock:
                    return call(*arguments)
            except ssl.SSLWantReadError:
                if timeout == 0:
                    raise
                events = select.POLLIN
            except ssl.SSLWantWriteError:
                if timeout == 0:
                    raise
                events = select.POLLOUT
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError("timed out")
            self._wait(events)

    def _wait(self, events: int) -> None:
        poller = select.poll()
        number = self.fileno()
        if number >= 0:
            poller.register(number, events)
            poller.poll(SLICE * 1000)


def shared(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context, whose sockets threads may share from now on."""
    context.sslsocket_class = SharedTLSSocket
    return context
