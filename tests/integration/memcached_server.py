"""A real memcached of a test's own."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator

from tests.integration.gateway_process import eventually, free_port, freeze


class MemcachedServer:
    """One memcached that can be killed or frozen, and started again in its place."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.url = f"memcached://127.0.0.1:{self.port}"
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty; returns when it listens."""
        # It refuses to be root.
        user = ("-u", "nobody") if os.geteuid() == 0 else ()
        self.process = subprocess.Popen(
            ["memcached", "-l", "127.0.0.1", "-p", str(self.port), *user, *self._options],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        eventually(self._listens, 20, "memcached listens")

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "memcached has ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Let it say nothing more, with its connections open."""
        assert self.process is not None
        freeze(self.process.pid)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def command(self, line: str) -> str:
        """What it answers to one line of its protocol; the first line of that."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as client:
            client.sendall(line.encode() + b"\r\n")
            return client.makefile("rb").readline().decode().strip()


@contextlib.contextmanager
def memcached_server(*options: str) -> Iterator[MemcachedServer]:
    """A memcached that runs."""
    server = MemcachedServer(*options)
    try:
        server.start()
        yield server
    finally:
        server.kill()
