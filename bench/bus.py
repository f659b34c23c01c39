"""What a bus costs: publishes through a real redis-server to three nodes, without sockets or PHP.

usage: python -m bench.bus

Each node is a process of its own with `SharedChannels`, a channel that all follow, and receivers
that only count. Figures: publishes and deliveries a second, CPU for each publish of every process,
and how long a message takes from the call of `publish` to a receiver of each node, at an easy pace.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred

NODES = 3
RECEIVERS = 100
PUBLISHES = 20_000
IN_FLIGHT = 200
LONGEST = 120.0
PACED = 1000
PACE = 0.002
SIZE = 64


@contextmanager
def _redis() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    folder = tempfile.mkdtemp(prefix="wsgate-bench-")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--save", "", "--dir", folder, "--bind", "127.0.0.1"]
    server = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}", server
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


class _Receiver:
    """A connection that counts, and remembers how late each paced message was."""

    user = None
    channels: frozenset[str] = frozenset()
    got = 0
    complete: Any = None

    def __init__(self, connection_id: str, late: list[float]) -> None:
        self.connection_id = connection_id
        self._late = late

    def push(self, message: Any) -> bool:
        """Take it; what is published slowly says when."""
        _Receiver.got += 1
        if _Receiver.got == (PUBLISHES + PACED) * RECEIVERS:
            _Receiver.complete()
        if message.payload.startswith(b"t"):
            self._late.append(time.monotonic() - float(message.payload[1:].split()[0]))
        return True

    def close(self, code: int, reason: str) -> None:
        """Nobody closes it."""

    def info(self) -> dict[str, object]:
        """Nobody asks."""
        return {}


def _channels(url: str, history: int, node: str) -> Any:
    from twisted.internet import reactor

    from wsgate.bus import SharedChannels
    from wsgate.bus.limits import BusLimits
    from wsgate.bus.redis import RedisBus
    from wsgate.channels import ChannelLimits
    from wsgate.redis import parse

    bus = RedisBus(reactor, parse(url), "bench", BusLimits(history=history))
    limits = ChannelLimits(channel_history=history)
    return SharedChannels(reactor, limits, None, bus, node)


def _node(url: str, history: int, number: int) -> None:
    """One node: counts until all has come, or none does any more, then says what it counted."""
    from twisted.internet import reactor

    running: Any = reactor
    node = f"{number:08x}"
    late: list[float] = []
    _Receiver.complete = running.stop
    running.callLater(LONGEST, running.stop)
    channels = _channels(url, history, node)
    channels.start()
    for index in range(RECEIVERS):
        receiver: Any = _Receiver(f"{node}{index:024x}", late if index == 0 else [])
        channels.add(receiver)
        channels.subscribe(receiver, "room")
    running.run()
    late.sort()
    cpu = time.process_time()
    middle, most = (late[int(len(late) * part)] if late else 0.0 for part in (0.5, 0.99))
    print(_Receiver.got, cpu, middle, most, channels.missed, flush=True)


class _Publisher:
    """Publishes as fast as the bus takes it, or at a pace."""

    def __init__(self, reactor: Any, channels: Any) -> None:
        self._reactor = reactor
        self._channels = channels
        self._left = 0
        self._open = 0
        self._done: Deferred[float] = Deferred()

    def flood(self) -> Deferred[float]:
        """Fires with seconds for `PUBLISHES`, at most `IN_FLIGHT` unanswered at a time."""
        self._left, self._began = PUBLISHES, time.monotonic()
        self._more()
        return self._done

    def _more(self) -> None:
        while self._left and self._open < IN_FLIGHT:
            self._left -= 1
            self._open += 1
            self._publish(b"x" * SIZE).addCallback(self._answered)

    def _publish(self, data: bytes) -> Deferred[int]:
        from wsgate.channels import Message

        published: Deferred[int] = self._channels.publish("room", Message(data))
        return published

    def _answered(self, _: int) -> None:
        self._open -= 1
        if self._left:
            self._more()
        elif not self._open:
            self._done.callback(time.monotonic() - self._began)

    def pace(self, left: int, done: Deferred[None]) -> None:
        """Publish `left` messages that say when, one after the other."""
        if not left:
            self._reactor.callLater(0.5, done.callback, None)
            return
        self._publish(b"t%.7f " % time.monotonic() + b"x" * SIZE)
        self._reactor.callLater(PACE, self.pace, left - 1, done)


def _cpu_of(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _measure(reactor: Any, channels: Any, redis: int) -> tuple[float, float, float]:
    publisher = _Publisher(reactor, channels)
    while (await channels.channel_info("room", users=False))["subscribers"] < NODES * RECEIVERS:
        await _wait(reactor, 0.1)
    paced: Deferred[None] = Deferred()
    publisher.pace(PACED, paced)
    await paced
    own, theirs = time.process_time(), _cpu_of(redis)
    seconds = await publisher.flood()
    return seconds, time.process_time() - own, _cpu_of(redis) - theirs


def _wait(reactor: Any, seconds: float) -> Deferred[None]:
    over: Deferred[None] = Deferred()
    reactor.callLater(seconds, over.callback, None)
    return over


def _round(history: int) -> None:
    from twisted.internet.defer import ensureDeferred

    with _redis() as (url, server):
        command = [sys.executable, "-m", "bench.bus", url, str(history)]
        nodes = [
            subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE)
            for number in range(1, NODES + 1)
        ]
        time.sleep(2)
        from twisted.internet import reactor

        running: Any = reactor
        channels = _channels(url, history, "f" * 8)
        running.callWhenRunning(channels.start)
        results: list[Any] = []

        def begin() -> None:
            measured = ensureDeferred(_measure(running, channels, server.pid))
            measured.addBoth(results.append).addBoth(lambda _: running.stop())

        running.callLater(1, begin)
        running.run()
        ended = time.monotonic()
        said = [node.communicate()[0].split() for node in nodes]
        _report(history, results[0], said, results[0][0] + time.monotonic() - ended)


def _report(
    history: int, result: tuple[float, float, float], nodes: list[list[bytes]], all_in: float
) -> None:
    seconds, own, redis = result
    total = (PUBLISHES + PACED) * RECEIVERS * NODES
    delivered, missed = (sum(int(node[index]) for node in nodes) for index in (0, 4))
    of_node = sum(float(node[1]) for node in nodes) / NODES / (PUBLISHES + PACED)
    print(f"history of {history}, {NODES} nodes of {RECEIVERS} receivers, {SIZE} bytes")
    print(f"  {PUBLISHES / seconds:,.0f} publishes/s through Redis")
    print(f"  {PUBLISHES * RECEIVERS * NODES / all_in:,.0f} deliveries/s")
    print(f"  {delivered:,} of {total:,} delivered, {missed} messages missed")
    print(
        f"  CPU for each publish: {own / PUBLISHES * 1e6:.1f} us where it is published, "
        f"{redis / PUBLISHES * 1e6:.1f} us in Redis, {of_node * 1e6:.1f} us on each node"
    )
    for part, name in ((2, "half"), (3, "99 %")):
        worst = max(float(node[part]) for node in nodes) * 1000
        print(f"  {name} of {PACED} messages at a pace within {worst:.2f} ms, slowest node")


def main() -> None:
    """Run both rounds, or one node."""
    if len(sys.argv) == 4:
        _node(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    elif len(sys.argv) == 2:
        _round(int(sys.argv[1]))
    else:
        for history in ("0", "100"):
            subprocess.run([sys.executable, "-m", "bench.bus", history], check=True)


if __name__ == "__main__":
    main()
