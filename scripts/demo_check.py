"""Part of scripts/demo: starts the demo and sends a message through PHP, or tells when it is up.

usage: demo_check.py [OPTIONS]           the check; the options go to wsgate
       demo_check.py --announce URL PID  prints URL as soon as it answers, while process PID lives
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater, react

START_LIMIT = 20.0
ANSWER_LIMIT = 15.0
STOP_LIMIT = 10.0
MESSAGE = "Hello PHP, this is wsgate: äöü €"


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def announce(url: str, process_id: int) -> None:
    """Print the address when it answers; the demo took the place of the shell that started this."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        # First, so that the address comes below what the demo says while PHP starts.
        time.sleep(1)
        if not is_alive(process_id):
            return
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", urlsplit(url).port or 80), timeout=1).close()
            print(f"\nThe demo is ready: {url}   (Ctrl-C ends it)\n", flush=True)
            return


class OneMessage(WebSocketClientProtocol):
    """Sends the message, and gives the first answer to the factory's Deferred."""

    def onOpen(self) -> None:
        self.sendMessage(MESSAGE.encode())

    def onMessage(self, payload: bytes, _is_binary: bool) -> None:
        self.tell(payload.decode())
        self.sendClose(1000)

    def onClose(self, _was_clean: bool, _code: int, reason: str) -> None:
        self.tell(ConnectionError(f"closed before an answer came ({reason})"))

    def tell(self, answer: str | Exception) -> None:
        if not self.factory.answered.called:
            self.factory.answered.callback(answer)


async def ask(reactor: Any, port: int, demo: subprocess.Popen[bytes]) -> str:
    """Send the message as soon as the demo listens, and return the answer."""
    factory = WebSocketClientFactory(f"ws://127.0.0.1:{port}/echo", reactor=reactor)
    factory.protocol = OneMessage
    factory.noisy = False
    factory.answered = Deferred().addTimeout(START_LIMIT + ANSWER_LIMIT, reactor)
    deadline = time.monotonic() + START_LIMIT
    while True:
        try:
            await TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=5).connect(factory)
            break
        except ConnectError:
            if demo.poll() is not None or time.monotonic() > deadline:
                raise
            await deferLater(reactor, 0.1)
    answer: str | Exception = await factory.answered
    if isinstance(answer, Exception):
        raise answer
    return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_demo(port: int, options: list[str], log: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run the demo, and stop it and all that belongs to it."""
    twistd = Path(sys.executable).with_name("twistd")
    listen = f"--port=tcp:{port}:interface=127.0.0.1"
    demo = subprocess.Popen(
        [twistd, "-n", "--pidfile=", "wsgate", "--demo", listen, *options],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield demo
    finally:
        for stop in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(demo.pid, stop)
            with contextlib.suppress(subprocess.TimeoutExpired):
                demo.wait(STOP_LIMIT)


async def check(reactor: Any, options: list[str]) -> None:
    port = free_port()
    with tempfile.TemporaryFile() as log:
        try:
            with running_demo(port, options, log) as demo:
                print(f"demo started on port {port}; sending {MESSAGE!r} through PHP", flush=True)
                answer = await ask(reactor, port, demo)
        except Exception as error:  # whatever it was, the demo does not work
            log.seek(0)
            print(log.read().decode(errors="replace"), end="", file=sys.stderr)
            raise SystemExit(f"scripts/demo --check: no answer: {error!r}") from None
    print(f"answer: {answer!r}")
    if answer != MESSAGE:
        raise SystemExit("scripts/demo --check: the answer is not the message that was sent")
    print("demo stopped; all is well")


def main() -> None:
    if sys.argv[1:2] == ["--announce"]:
        announce(sys.argv[2], int(sys.argv[3]))
    else:
        react(lambda reactor: ensureDeferred(check(reactor, sys.argv[1:])))


if __name__ == "__main__":
    main()
