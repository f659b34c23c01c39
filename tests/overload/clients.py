"""Connections with one message under way each, and how long each answer or refusal took."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

PATIENCE = 30.0
"""Seconds without an answer after which a message is lost."""

HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Figures:
    """What became of the messages of one phase. Times are in seconds."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered: list[float] = []
        self.in_time = 0
        """Those of the answered whose answer came before the phase ended."""
        self.refused: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.under_way = 0
        self.most_under_way = 0
        self.nobody_free = 0
        """Messages that were due when every connection still waited for an answer."""


class Client(asyncio.Protocol):
    """One connection, as cheap as can be. `on_free` is called with it after each answer."""

    def __init__(self, host: str, on_free: Callable[[Client], object]) -> None:
        self.on_free = on_free
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: Any = None
        self._host = host
        self._data = b""
        self._figures = Figures()
        self._since = 0.0
        self._asked = b""
        self._number = 0

    def say(self, figures: Figures) -> None:
        """Send a message that differs from all others of this connection."""
        self._number += 1
        self._asked = b"%d/%d" % (id(self), self._number)
        self._figures = figures
        figures.sent += 1
        figures.under_way += 1
        figures.most_under_way = max(figures.most_under_way, figures.under_way)
        self._since = time.monotonic()
        self._send(0x1, self._asked)

    def _send(self, opcode: int, payload: bytes) -> None:
        # RFC 6455 §5.2: final, masked, with the mask 0, which leaves the payload as it is.
        self.transport.write(bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload)

    def connection_made(self, transport: Any) -> None:
        """Called by asyncio."""
        self.transport = transport
        transport.write(HANDSHAKE.format(self._host).encode())

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: the answer to the handshake, then frames without a mask."""
        self._data += data
        if not self.open.done():
            head, end, self._data = self._data.partition(b"\r\n\r\n")
            if not end:
                self._data = head
            elif head.startswith(b"HTTP/1.1 101"):
                self.open.set_result(None)
            else:
                self.open.set_exception(ConnectionError(head.decode("latin-1")))
        while self.open.done() and (size := self._frame_size()) <= len(self._data):
            frame, self._data = self._data[:size], self._data[size:]
            self._frame_received(frame[0] & 0x0F, frame[4 if frame[1] == 126 else 2 :])

    def _frame_size(self) -> int:
        data = self._data
        if len(data) < 2 or (data[1] == 126 and len(data) < 4):
            return len(data) + 1
        return 4 + int.from_bytes(data[2:4], "big") if data[1] == 126 else 2 + data[1]

    def _frame_received(self, opcode: int, payload: bytes) -> None:
        if opcode == 0x9:
            self._send(0xA, payload)
        elif opcode == 0x8:
            self._figures.wrong.append(f"closed: {payload!r}")
        elif opcode == 0x1:
            self._answered(payload, time.monotonic() - self._since)

    def _answered(self, answer: bytes, took: float) -> None:
        figures = self._figures
        figures.under_way -= 1
        if answer == self._asked:
            figures.answered.append(took)
        elif answer.startswith(b'{"error"'):
            figures.refused.append(took)
            figures.statuses[json.loads(answer)["error"]["status"]] += 1
        else:
            figures.wrong.append(f"{answer[:60]!r} to {self._asked!r}")
        self.on_free(self)


class Crowd:
    """Some hundred connections to one gateway."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[Client] = []
        self._all: list[Client] = []

    async def arrive(self, size: int) -> None:
        """Connect, one after the other."""
        while len(self._all) < size:
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: Client(f"127.0.0.1:{self._port}", self._free.append),
                "127.0.0.1",
                self._port,
            )
            await client.open
            self._all.append(client)
            self._free.append(client)

    async def leave(self) -> None:
        """Close all connections."""
        for client in self._all:
            client.transport.abort()

    async def keep_busy(self, clients: int, seconds: float) -> Figures:
        """Each of `clients` sends its next message when it has the answer to the last."""
        figures = Figures()
        chosen = [self._free.pop() for _ in range(clients)]
        until = time.monotonic() + seconds

        def again(client: Client) -> None:
            if time.monotonic() < until:
                client.say(figures)
            else:
                self._free.append(client)

        for client in chosen:
            client.on_free = again
            client.say(figures)
        await asyncio.sleep(seconds)
        await self._settle(figures)
        for client in chosen:
            client.on_free = self._free.append
        return figures

    async def offer(self, rate: float, seconds: float) -> Figures:
        """Send `rate` messages a second, whatever becomes of them, each on a free connection.

        So each refusal is measured alone, not behind an earlier message of its connection.
        """
        figures = Figures()
        began = time.monotonic()
        due = 0
        while (passed := time.monotonic() - began) < seconds:
            while due < passed * rate:
                due += 1
                if self._free:
                    self._free.pop().say(figures)
                else:
                    figures.nobody_free += 1
            await asyncio.sleep(0.001)
        await self._settle(figures)
        return figures

    async def _settle(self, figures: Figures) -> None:
        figures.in_time = len(figures.answered)
        limit = time.monotonic() + PATIENCE
        while figures.under_way and time.monotonic() < limit:
            await asyncio.sleep(0.01)
        if figures.under_way:
            figures.wrong.append(f"{figures.under_way} messages without any answer")
