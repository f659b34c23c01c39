"""Ports for the servers of tests."""

import contextlib
import random
import socket

# Below those that Linux gives to clients (ip_local_port_range): there any connection of another
# test could take a port between this and the server's start. Chromium refuses 10080.
FIRST, LAST = 10_100, 32_767


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, and that no client is given."""
    while True:
        port = random.randint(FIRST, LAST)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
