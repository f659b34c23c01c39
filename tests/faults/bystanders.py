"""Clients with nothing to do with the fault, which notice when it spreads.

They are a process of their own, with a FastCGI application of their own (an echo), so that neither
the test's work nor the faulty backend is in their figures. `Bystanders` is the test's side.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

CLIENTS = 20
PACE = 0.1
"""Seconds between an answer and the next message of the same client."""


class Report(NamedTuple):
    """What the bystanders saw since `watch`. Times in seconds."""

    answers: int
    wrong: int
    disconnects: int
    median: float
    p99: float
    longest: float


class Bystanders:
    """`CLIENTS` clients that echo between `watch` and `report`, and stay connected in between."""

    def __init__(self, socket_path: Path) -> None:
        self.endpoint = f"unix:{socket_path}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.bystanders", str(socket_path)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def connect(self, port: int, path: str = "/bystander") -> None:
        """Connect them all to wsgate at 127.0.0.1."""
        self._ask("connect", port, path)

    def watch(self) -> None:
        """Begin to echo; the figures begin here."""
        self._ask("watch")

    def report(self) -> Report:
        """Stop to echo; what they saw."""
        return Report(*self._ask("report"))

    def end(self) -> None:
        """Leave nothing behind."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            stream.close()

    def _ask(self, *words: object):
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


# -- their process


async def _application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = b""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            header = await reader.readexactly(8)
            _, type, _, size, padding, _ = struct.unpack(">BBHHBB", header)
            content = (await reader.readexactly(size + padding))[:size]
            if type != 5:
                continue
            body += content
            if not content:
                output = b"Content-type: text/plain\r\n\r\n" + body
                writer.write(struct.pack(">BBHHBB", 1, 6, 1, len(output), 0, 0) + output)
                writer.write(struct.pack(">BBHHBB", 1, 3, 1, 8, 0, 0) + bytes(8))
                break
        await reader.read()
    writer.close()


class _Crowd:
    def __init__(self) -> None:
        self.going = asyncio.Event()
        self.latencies: list[float] = []
        self.wrong = 0
        self.disconnects = 0
        self.tasks: list[asyncio.Task[None]] = []

    async def connect(self, port: int, path: str) -> None:
        for number in range(CLIENTS):
            # An address of its own for each, so that no limit per address counts them together.
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(f"127.0.1.{number + 1}", 0)
            )
            writer.write(
                b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % path.encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 "), head
            self.tasks.append(asyncio.create_task(self._live(number, reader, writer)))

    async def _live(self, number, reader, writer) -> None:
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        reading = asyncio.create_task(self._read(reader, writer, answers))
        count = 0
        await asyncio.sleep(PACE * number / CLIENTS)
        while not reading.done():
            await self.going.wait()
            count += 1
            message = b"%d/%d" % (number, count)
            began = time.monotonic()
            _send(writer, 1, message)
            getting = asyncio.create_task(answers.get())
            await asyncio.wait({getting, reading}, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                getting.cancel()
                return
            self.latencies.append(time.monotonic() - began)
            self.wrong += getting.result() != message
            await asyncio.sleep(PACE)

    async def _read(self, reader, writer, answers) -> None:
        try:
            while True:
                first, size = await reader.readexactly(2)
                if size == 126:
                    (size,) = struct.unpack(">H", await reader.readexactly(2))
                payload = await reader.readexactly(size)
                if first & 15 == 9:
                    _send(writer, 10, payload)
                elif first & 15 == 8:
                    _send(writer, 8, payload)
                    break
                else:
                    answers.put_nowait(payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()
        self.disconnects += 1

    def watch(self) -> None:
        self.latencies.clear()
        self.wrong = 0
        self.going.set()

    def report(self) -> Report:
        self.going.clear()
        times = sorted(self.latencies) or [0.0]
        last = len(times) - 1
        return Report(
            len(self.latencies),
            self.wrong,
            self.disconnects,
            times[last // 2],
            times[round(last * 0.99)],
            times[-1],
        )


def _send(writer: asyncio.StreamWriter, opcode: int, payload: bytes) -> None:
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    writer.write(bytes((0x80 | opcode, 0x80 | len(payload))) + mask + masked)


async def _main(path: str) -> None:
    server = await asyncio.start_unix_server(_application, path, backlog=256)
    os.chmod(path, 0o666)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    crowd = _Crowd()
    while line := await commands.readline():
        command, *words = json.loads(line)
        answer: object = None
        if command == "connect":
            await crowd.connect(*words)
        elif command == "watch":
            crowd.watch()
        else:
            answer = crowd.report()
        print(json.dumps(answer), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
