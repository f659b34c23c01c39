"""What goes wrong during a soak: things that happen to PHP-FPM, and clients that mean no good."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import struct
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.integration.gateway_process import Gateway
from tests.integration.php_fpm import PHPFPM
from tests.soak.clients import Crowd

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Mischief:
    """One thing after the other, each counted by its name."""

    def __init__(self, gateway: Gateway, fpm: PHPFPM, crowd: Crowd) -> None:
        self.done: Counter[str] = Counter()
        self._gateway = gateway
        self._fpm = fpm
        self._crowd = crowd
        self._kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "php-fpm reloaded": self._reload,
            "a worker killed": self._kill_worker,
            "a worker stopped for a second": self._freeze_worker,
            "php-fpm gone for two seconds": self._stop_fpm,
            "20 clients vanished": self._vanish,
            "a violation of the protocol": self._violate,
            "a message too long": self._exceed,
            "a malformed handshake": self._malformed,
            "a client that never reads": self._never_read,
            "SIGHUP": self._hang_up,
        }

    async def go_on(self, every: float) -> None:
        """One of each kind in turn, in an order that changes, `every` so many seconds."""
        while True:
            for kind in random.sample(list(self._kinds), len(self._kinds)):
                await asyncio.sleep(every)
                await self._kinds[kind]()
                self.done[kind] += 1

    async def _reload(self) -> None:
        await asyncio.to_thread(self._fpm.reload)

    async def _kill_worker(self) -> None:
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(random.choice(self._fpm.worker_pids()), signal.SIGKILL)

    async def _freeze_worker(self) -> None:
        with contextlib.suppress(ProcessLookupError, IndexError):
            pid = random.choice(self._fpm.worker_pids())
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(1)
            os.kill(pid, signal.SIGCONT)

    async def _stop_fpm(self) -> None:
        await asyncio.to_thread(self._fpm.stop)
        await asyncio.sleep(2)
        await asyncio.to_thread(self._fpm.start)

    async def _vanish(self) -> None:
        for client in random.sample(self._crowd.clients, 20):
            client.vanish()

    async def _violate(self) -> None:
        await self._send(HANDSHAKE + b"\x85\x00")

    async def _exceed(self) -> None:
        await self._send(HANDSHAKE + b"\x82\xff" + struct.pack("!Q", 2**62) + b"mask" + b"x" * 999)

    async def _malformed(self) -> None:
        await self._send(b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n")

    async def _never_read(self) -> None:
        # An answer of 100 KiB for each, until the buffers of both kernels are full.
        mask = b"\0\0\0\0"
        message = b"\x82\xff" + struct.pack("!Q", 102400) + mask + bytes(102400)
        await self._send(HANDSHAKE + message * 100, reads=False)

    async def _hang_up(self) -> None:
        self._gateway.process.send_signal(signal.SIGHUP)

    async def _send(self, data: bytes, *, reads: bool = True) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._gateway.port)
            writer.write(data)
            if reads:
                async with asyncio.timeout(10):
                    await reader.read()
            else:
                await asyncio.sleep(5)
            writer.transport.abort()
