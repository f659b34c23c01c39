"""Clients that ask all along, one message after the other, and keep account."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tests.faults.stage import Stage

PATIENCE = 300.0
"""Seconds that the slowest machine may need for the longest load."""


class Account(NamedTuple):
    """What became of the messages. `errors` by status; `longest` wait for an answer, in seconds."""

    sent: int
    answered: int
    errors: Counter[int]
    wrong: list[bytes]
    longest: float

    @property
    def refused(self) -> int:
        """All errors."""
        return sum(self.errors.values())


class Load:
    """`clients` connections; each sends its next message `pace` seconds after the last one."""

    def __init__(self, stage: Stage, clients: int, pace: float, path: str, total: int) -> None:
        self.sent = 0
        self.answered = 0
        self.errors: Counter[int] = Counter()
        self.wrong: list[bytes] = []
        self.broken: list[BaseException] = []
        self.longest = 0.0
        self.marks: list[tuple[float, int]] = []
        """When each error came, and its status."""
        self._stage = stage
        self._pace = pace
        self._path = path
        self._total = total
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._live, args=(number,)) for number in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> Account:
        """End after the answers that are due. AssertionError if a connection was lost."""
        self._over.set()
        return self.wait()

    def wait(self) -> Account:
        """Return when `total` messages were sent and answered."""
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"{self.answered} of {self.sent} after {PATIENCE} s"
        assert not self.broken, self.broken
        return Account(self.sent, self.answered, self.errors, self.wrong, self.longest)

    def _live(self, number: int) -> None:
        try:
            with self._stage.client(self._path) as client:
                for count in range(10**9):
                    if self._over.is_set() or not self._claim():
                        return
                    message = b"load %d/%d" % (number, count)
                    began = time.monotonic()
                    client.send_message(message)
                    self._note(message, client.receive_message(), time.monotonic() - began)
                    self._over.wait(self._pace)
        except BaseException as error:
            self.broken.append(error)

    def _claim(self) -> bool:
        with self._lock:
            if self._total and self.sent >= self._total:
                return False
            self.sent += 1
            return True

    def _note(self, message: bytes, answer: bytes, seconds: float) -> None:
        with self._lock:
            self.longest = max(self.longest, seconds)
            if answer == message:
                self.answered += 1
            elif answer.startswith(b'{"error":'):
                status = json.loads(answer)["error"]["status"]
                self.errors[status] += 1
                self.marks.append((time.monotonic(), status))
            else:
                self.wrong.append(answer)


@contextlib.contextmanager
def load(
    stage: Stage, clients: int = 8, pace: float = 0.04, path: str = "/", total: int = 0
) -> Iterator[Load]:
    """A `Load` that is stopped in the end; `total` messages at most, if it is not 0."""
    running = Load(stage, clients, pace, path, total)
    try:
        yield running
    finally:
        running.stop()
