"""One message to many: subscribers in one process, and a publisher that waits for all of them.

usage: python -m bench.fanout SPEC    SPEC is JSON: port, tls, clients, size, warm_up, seconds
Connects all, prints "ready", waits for a line; subscribes all, prints "ready", waits for a line;
publishes, each time when the last subscriber has the message before, and prints JSON. The times are
from sending a publish to the last subscriber's having it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import picows

from bench.loop import run
from bench.opening import percentile

_AT_ONCE = 64
_LONGEST_WAIT = 20.0


class Audience:
    """What all subscribers share: the message that is on its way, and who lacks it."""

    def __init__(self) -> None:
        self.expected = b""
        self.missing = 0
        self.complete = asyncio.Event()
        self.wrong = 0
        self.lost = 0
        self.example = ""

    def expect(self, message: bytes, count: int) -> None:
        """From now on `count` clients are to get `message`."""
        self.expected = message
        self.missing = count
        self.complete.clear()

    def got(self, message: bytes) -> None:
        """One client got something."""
        if message != self.expected:
            self.wrong += 1
            self.example = self.example or repr(message[:100])
        self.missing -= 1
        if not self.missing:
            self.complete.set()


class Subscriber(picows.WSListener):
    """One connection."""

    def __init__(self, audience: Audience) -> None:
        super().__init__()
        self._audience = audience
        self.transport: Any = None

    def on_ws_connected(self, transport: Any) -> None:
        """Ready to send."""
        self.transport = transport

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        """A message, or a close."""
        if frame.msg_type == picows.WSMsgType.TEXT:
            self._audience.got(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            self._audience.lost += 1
            self._audience.example = f"closed with {frame.get_close_code()}"
            transport.disconnect()

    def send(self, message: bytes) -> None:
        """Send a text message."""
        self.transport.send(picows.WSMsgType.TEXT, message)


async def _connect(spec: dict[str, Any], audience: Audience) -> list[Subscriber]:
    url = f"{'wss' if spec['tls'] else 'ws'}://127.0.0.1:{spec['port']}/"
    room = asyncio.Semaphore(_AT_ONCE)

    async def one() -> Subscriber:
        async with room:
            _, client = await picows.ws_connect(
                lambda: Subscriber(audience), url, websocket_handshake_timeout=20
            )
        assert isinstance(client, Subscriber)
        return client

    return await asyncio.gather(*(one() for _ in range(spec["clients"] + 1)))


async def _ask_all(clients: list[Subscriber], audience: Audience, message: bytes) -> None:
    """Have each of `clients` send `message`, some at a time, and get it back with a `!`."""
    for start in range(0, len(clients), _AT_ONCE):
        some = clients[start : start + _AT_ONCE]
        audience.expect(b"!" + message[1:], len(some))
        for client in some:
            client.send(message)
        await asyncio.wait_for(audience.complete.wait(), _LONGEST_WAIT)


async def _publish(
    publisher: Subscriber, audience: Audience, spec: dict[str, Any], seconds: float
) -> list[float]:
    """Publish for so long; how long each took until everybody had it."""
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        message = b"p%015d" % len(times)
        message += b"x" * (spec["size"] - len(message))
        audience.expect(message, spec["clients"])
        began = time.perf_counter()
        publisher.send(message)
        try:
            await asyncio.wait_for(audience.complete.wait(), _LONGEST_WAIT)
        except TimeoutError:
            audience.lost += audience.missing
            audience.example = audience.example or "never delivered"
            break
        times.append(time.perf_counter() - began)
    return times


async def _main() -> None:
    spec = json.loads(sys.argv[1])
    audience = Audience()
    publisher, *clients = await _connect(spec, audience)
    # Whatever a gateway makes with the first message has been made.
    await _ask_all([publisher, *clients], audience, b"?" * spec["size"])
    print("ready", flush=True)
    sys.stdin.readline()
    await _ask_all(clients, audience, b"+" * spec["size"])
    await _publish(publisher, audience, spec, spec["warm_up"])
    print("ready", flush=True)
    sys.stdin.readline()
    cpu = time.process_time()
    began = time.perf_counter()
    times = sorted(await _publish(publisher, audience, spec, spec["seconds"]))
    seconds = time.perf_counter() - began
    result = {
        "count": len(times) * spec["clients"],
        "published": len(times),
        "seconds": seconds,
        "p50": percentile(times, 0.5),
        "max": percentile(times, 1.0),
        "generator_cpu": (time.process_time() - cpu) / seconds,
        "wrong": audience.wrong,
        "lost": audience.lost,
        "example": audience.example,
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    run(_main())
