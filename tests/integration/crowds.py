"""Many raw clients at once, watched by one thread."""

import dataclasses
import selectors
import time

from tests.integration.raw_client import RawClient
from wsgate.config import Limits

LIFTED = tuple(
    f"--set=limits.{field.name}=0"
    for field in dataclasses.fields(Limits)
    if field.name in ("max_connections_per_address", "new_connections_per_address")
)
"""Options that let one address have all the clients of a crowd."""


class Watched:
    """A client, the messages it got, and how and when it was closed (seconds, monotonic)."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.messages: list[bytes] = []
        self.code: int | None = None
        self.closed_at: float | None = None
        self.ended = False

    def read(self) -> None:
        """Take what came; answer a close, as clients do."""
        try:
            data = self.client.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return
        buffer = self.client.buffer + data
        while len(buffer) >= 2 and len(buffer) >= 2 + buffer[1]:
            opcode, payload = buffer[0] & 15, buffer[2 : 2 + buffer[1]]
            buffer = buffer[2 + buffer[1] :]
            if opcode in (1, 2):
                self.messages.append(payload)
            elif opcode == 8 and self.code is None:
                self.code = int.from_bytes(payload[:2], "big")
                self.closed_at = time.monotonic()
                self.client.socket.sendall(self.client.frame(8, payload))
        self.client.buffer = buffer


def watch(crowd: list[Watched], seconds: float) -> None:
    """Read from all of them until every connection has ended, or for so long."""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for watched in crowd:
            selector.register(watched.client.socket, selectors.EVENT_READ, watched)
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(0.2):
                key.data.read()
                if key.data.ended:
                    selector.unregister(key.fileobj)
