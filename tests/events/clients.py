"""Many clients, one after the other in each of a number of places, as light as can be."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
# Masked with zeros, so that they can be written as they are.
MESSAGE = b"\x81\x85\0\0\0\0hello"
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
PATIENCE = 60.0

IN_HAND, VANISHES, SILENT, HASTY = "closes", "vanishes", "says nothing", "leaves the queue"
MANNERS = (IN_HAND, VANISHES, SILENT, HASTY)
SHARES = (0.7, 0.12, 0.12, 0.06)
"""How clients behave: close in order; cut the connection after a message whose answer they do not
wait for; close without a message; cut the connection while PHP still decides."""


class Crowd:
    """Clients in `places`, until they are told to stop.

    The first message of a connection is its id, which PHP chose to say on connect.
    """

    def __init__(self, port: int, places: int, seed: int) -> None:
        self._port = port
        self._places = places
        self._random = random.Random(seed)
        self._stopping = False
        self.accepted: list[str] = []
        """The ids of connections whose 101 a client saw."""
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Come and go until `stop`."""
        await asyncio.gather(*(self._place() for _ in range(self._places)))

    def stop(self) -> None:
        """Let those that are there finish, and no others come."""
        self._stopping = True

    async def _place(self) -> None:
        while not self._stopping:
            (manner,) = self._random.choices(MANNERS, SHARES)
            try:
                outcome = await asyncio.wait_for(self._visit(manner), PATIENCE)
            except (OSError, asyncio.IncompleteReadError, EOFError):
                outcome = "lost"
            except TimeoutError:
                outcome = "stuck"
            self.counts[outcome] += 1
            if outcome in ("lost", "refused"):
                await asyncio.sleep(self._random.uniform(0.05, 0.2))

    async def _visit(self, manner: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            return await self._talk(reader, writer, manner)
        finally:
            writer.transport.abort()

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, manner: str
    ) -> str:
        writer.write(HANDSHAKE)
        if manner == HASTY:
            await asyncio.sleep(self._random.uniform(0, 0.01))
            return manner
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            return "refused"
        self.accepted.append((await _read_message(reader)).decode())
        if manner != SILENT:
            writer.write(MESSAGE)
            if manner == VANISHES:
                return manner
            await _read_message(reader)
        writer.write(CLOSE)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await reader.read(100)
        return manner


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    """The payload of a message of less than 126 bytes; EOFError for a close."""
    first, size = await reader.readexactly(2)
    payload = await reader.readexactly(size)
    if first != 0x81:
        raise EOFError
    return payload
