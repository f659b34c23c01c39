"""A real memcached of a test's own."""

import os
import socket
from contextlib import AbstractContextManager

from tests.integration.server_process import ServerProcess, running


class MemcachedServer(ServerProcess):
    """A memcached, empty after each start."""

    name = "memcached"

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.url = f"memcached://127.0.0.1:{self.port}"
        self._options = options

    def arguments(self) -> list[str]:
        # It refuses to be root.
        user = ("-u", "nobody") if os.geteuid() == 0 else ()
        return ["memcached", "-l", "127.0.0.1", "-p", str(self.port), *user, *self._options]

    def command(self, line: str) -> str:
        """What it answers to one line of its protocol; the first line of that."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as client:
            client.sendall(line.encode() + b"\r\n")
            return client.makefile("rb").readline().decode().strip()


def memcached_server(*options: str) -> AbstractContextManager[MemcachedServer]:
    """A memcached that runs."""
    return running(MemcachedServer(*options))
