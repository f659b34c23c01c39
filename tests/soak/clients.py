"""A thousand connections that talk now and then, and a count of what became of each message."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

ANSWER_LIMIT = 45.0
"""Seconds after which a message is lost: longer than it may wait for PHP and PHP may take."""


@dataclass
class Outcome:
    """What became of the messages: sent = answered + refused + gone + under way + lost."""

    sent: int = 0
    answered: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    """By the status in wsgate's error message."""
    gone: int = 0
    """Their connection ended, by the client's own doing or with a close that said why."""
    wrong: list[str] = field(default_factory=list)
    """Answers that belong to no message, and messages that never got one."""
    latencies: list[float] = field(default_factory=list)
    """Seconds, of the answered ones."""
    ends: Counter[str] = field(default_factory=Counter)
    """How connections ended, by close code or name."""


class Client:
    """One connection, made again whenever it ends."""

    def __init__(self, url: str, number: int, outcome: Outcome) -> None:
        self._url = url
        self._number = number
        self._outcome = outcome
        self._messages = 0
        self._waiting: tuple[str, float] | None = None
        self.connection: ClientConnection | None = None

    @property
    def is_free(self) -> bool:
        """Whether it is connected and waits for nothing."""
        return self.connection is not None and self._waiting is None

    async def live(self) -> None:
        """Connect, take answers, connect again; until cancelled."""
        while True:
            try:
                async with connect(
                    self._url, compression=None, ping_interval=None, max_size=None, proxy=None
                ) as connection:
                    self.connection = connection
                    async for message in connection:
                        self._received(str(message))
                    self._ended(str(connection.close_code))
            except ConnectionClosed as closed:
                self._ended(str(closed.rcvd.code if closed.rcvd else "no close"))
            except (OSError, TimeoutError) as error:
                self._ended(type(error).__name__)
            await asyncio.sleep(random.uniform(0.1, 1.0))

    async def say(self, size: int) -> None:
        """Send one message that can be told from all others."""
        assert self.connection is not None
        self._messages += 1
        text = f"{self._number}/{self._messages}/".ljust(size, "x")
        self._waiting = (text, time.monotonic())
        self._outcome.sent += 1
        try:
            await self.connection.send(text)
        except ConnectionClosed:
            self._gone()

    def check(self, now: float) -> None:
        """Note a message that has waited too long as lost."""
        if self._waiting is not None and now - self._waiting[1] > ANSWER_LIMIT:
            self._outcome.wrong.append(f"no answer to {self._waiting[0][:20]}")
            self._waiting = None

    def vanish(self) -> None:
        """Be gone without a word, as a phone in a tunnel."""
        if self.connection is not None:
            self.connection.transport.abort()

    def _received(self, text: str) -> None:
        if self._waiting is None:
            self._outcome.wrong.append(f"an answer to nothing: {text[:60]}")
            return
        asked, since = self._waiting
        self._waiting = None
        if text == asked:
            self._outcome.answered += 1
            self._outcome.latencies.append(time.monotonic() - since)
        elif text.startswith('{"error"'):
            self._outcome.refused[json.loads(text)["error"]["status"]] += 1
        else:
            self._outcome.wrong.append(f"{text[:60]} to {asked[:20]}")

    def _ended(self, how: str) -> None:
        self._outcome.ends[how] += 1
        self.connection = None
        self._gone()

    def _gone(self) -> None:
        if self._waiting is not None:
            self._outcome.gone += 1
            self._waiting = None


class Crowd:
    """All clients together."""

    def __init__(self, url: str, size: int) -> None:
        self.outcome = Outcome()
        self.clients = [Client(url, number, self.outcome) for number in range(size)]
        self._tasks: list[asyncio.Task[Any]] = []

    async def arrive(self) -> None:
        """Connect them, fifty at a time; return when all are there."""
        for number, client in enumerate(self.clients):
            self._tasks.append(asyncio.create_task(client.live()))
            if number % 50 == 49:
                await asyncio.sleep(0.1)
        while not all(client.connection for client in self.clients):
            await asyncio.sleep(0.1)

    async def talk(self, rate: float, until: float) -> None:
        """Send `rate` messages a second in all, 64 bytes to 100 KiB long, until that time."""
        next_one = time.monotonic()
        sizes = [64] * 90 + [4096] * 8 + [100 * 1024] * 2
        while (now := time.monotonic()) < until:
            client = random.choice(self.clients)
            if client.is_free:
                await client.say(random.choice(sizes))
            next_one += 1 / rate
            await asyncio.sleep(max(0.0, next_one - now))

    async def settle(self) -> None:
        """Wait for the answers that are due; then whatever is missing is lost."""
        limit = time.monotonic() + ANSWER_LIMIT
        while any(c.connection and not c.is_free for c in self.clients):
            if time.monotonic() > limit:
                break
            await asyncio.sleep(0.1)
        for client in self.clients:
            client.check(limit + ANSWER_LIMIT)

    async def leave(self) -> None:
        """Close all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
