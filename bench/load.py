"""Many WebSocket clients in one process: each sends, waits for the answer, and sends again.

usage: python -m bench.load SPEC    SPEC is JSON: port, tls, clients, size, warm_up, seconds, pause,
                                    and perhaps filler, what messages are filled with instead of x,
                                    and same: all messages are one and the same
Connects all, runs `warm_up` seconds, prints "ready", waits for a line, measures, prints JSON. With
a `pause` each client rests so many seconds between an answer and its next message.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

import picows

from bench.loop import run
from bench.opening import percentile

_CONNECTING_AT_ONCE = 64
_DRAIN_SECONDS = 20.0


class Load:
    """What all clients share: whether to go on, and what came of it."""

    def __init__(self, size: int, pause: float, filler: str = "x", same: bool = False) -> None:
        pattern = filler.encode()
        missing = size - 16
        self.filler = pattern * (missing // len(pattern)) + b"x" * (missing % len(pattern))
        self.pause = pause
        self.same = same
        self.running = False
        self.latencies: list[float] = []
        self.outstanding = 0
        self.wrong = 0
        self.lost = 0
        self.example = ""
        self.drained = asyncio.Event()

    def settle(self) -> None:
        """One message less is waited for."""
        self.outstanding -= 1
        if not self.outstanding and not self.running:
            self.drained.set()

    def fail(self, example: str) -> None:
        """Keep the first fault, to show it."""
        self.example = self.example or example[:200]


class Client(picows.WSListener):
    """One connection."""

    def __init__(self, number: int, load: Load) -> None:
        super().__init__()
        self._head = b"%07d" % (0 if load.same else number)
        self._load = load
        self._count = 0
        self._parts: list[bytes] = []
        self._rest: bytes | None = None
        self._began = 0.0
        self._transport: Any = None

    def on_ws_connected(self, transport: Any) -> None:
        """Ready to send."""
        self._transport = transport

    def ask(self) -> None:
        """Send the next message."""
        if not self._load.same:
            self._count += 1
        self._rest = b"%b%08d%b" % (self._head, self._count, self._load.filler)
        self._load.outstanding += 1
        self._began = time.perf_counter()
        self._transport.send(picows.WSMsgType.TEXT, b"?" + self._rest)

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        """A frame of an answer, or a close."""
        kind = frame.msg_type
        if kind not in (picows.WSMsgType.TEXT, picows.WSMsgType.CONTINUATION):
            if kind == picows.WSMsgType.CLOSE:
                self._load.fail(f"closed with {frame.get_close_code()}")
                transport.disconnect()
            return
        payload = frame.get_payload_as_bytes()
        if not frame.fin:
            self._parts.append(payload)
            return
        if self._parts:
            self._parts.append(payload)
            payload = b"".join(self._parts)
            self._parts.clear()
        self._answered(payload)

    def _answered(self, payload: bytes) -> None:
        load = self._load
        load.latencies.append(time.perf_counter() - self._began)
        if self._rest is None or payload != b"!" + self._rest:
            load.wrong += 1
            load.fail(f"answer {payload[:150]!r}")
        self._rest = None
        load.settle()
        if load.running:
            if load.pause:
                asyncio.get_running_loop().call_later(load.pause, self._ask_if_running)
            else:
                self.ask()

    def _ask_if_running(self) -> None:
        if self._load.running and self._rest is None and self._transport is not None:
            self.ask()

    def on_ws_disconnected(self, transport: Any) -> None:
        """The gateway has closed, or broke off."""
        self._transport = None
        if self._rest is not None:
            self._rest = None
            self._load.lost += 1
            self._load.fail("connection lost")
            self._load.settle()

    def start(self, spread: float) -> None:
        """Begin, at a random moment within `spread` seconds."""
        if spread:
            loop = asyncio.get_running_loop()
            loop.call_later(random.uniform(0, spread), self._ask_if_running)
        elif self._transport is not None:
            self.ask()


async def _connect(spec: dict[str, Any], load: Load) -> list[Client]:
    url = f"{'wss' if spec['tls'] else 'ws'}://127.0.0.1:{spec['port']}/"
    room = asyncio.Semaphore(_CONNECTING_AT_ONCE)

    async def one(number: int) -> Client:
        async with room:
            _, client = await picows.ws_connect(
                lambda: Client(number, load),
                url,
                websocket_handshake_timeout=20,
                max_frame_size=2**26,
            )
        assert isinstance(client, Client)
        return client

    return await asyncio.gather(*map(one, range(spec["clients"])))


async def _run(clients: list[Client], load: Load, seconds: float) -> float:
    """Run for `seconds`, then wait for the answers that are due; the result is how long it took."""
    load.latencies.clear()
    load.drained.clear()
    load.running = True
    began = time.perf_counter()
    for client in clients:
        client.start(load.pause)
    await asyncio.sleep(seconds)
    load.running = False
    if load.outstanding:
        try:
            await asyncio.wait_for(load.drained.wait(), _DRAIN_SECONDS)
        except TimeoutError:
            load.lost += load.outstanding
            load.fail("never answered")
    return time.perf_counter() - began


async def _main() -> None:
    spec = json.loads(sys.argv[1])
    load = Load(spec["size"], spec["pause"], spec.get("filler", "x"), spec.get("same", False))
    clients = await _connect(spec, load)
    await _run(clients, load, spec["warm_up"])
    load.wrong = load.lost = 0
    load.example = ""
    print("ready", flush=True)
    # Nothing is under way; and a thread for this would take part in what is measured.
    sys.stdin.readline()
    cpu = time.process_time()
    seconds = await _run(clients, load, spec["seconds"])
    cpu = time.process_time() - cpu
    latencies = sorted(load.latencies)
    result = {
        "count": len(latencies),
        "seconds": seconds,
        "p50": percentile(latencies, 0.5),
        "p99": percentile(latencies, 0.99),
        "p999": percentile(latencies, 0.999),
        "max": percentile(latencies, 1.0),
        "generator_cpu": cpu / seconds,
        "wrong": load.wrong,
        "lost": load.lost,
        "example": load.example,
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    run(_main())
