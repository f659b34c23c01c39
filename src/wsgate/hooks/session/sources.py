"""Where sessions are looked up. Here: PHP's files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from twisted.internet.task import deferLater

from wsgate.hooks.errors import HookFailed
from wsgate.hooks.services import Services
from wsgate.hooks.session import files
from wsgate.hooks.session.files import SETTLED, NotToBeRead, Place, Rules, Unsettled

T = TypeVar("T")

PAUSE = 0.05
"""Seconds between two looks at a file that a script may be writing."""

AT_ONCE = 8
"""Threads that look at files, of one route."""

LOOKS = round(2 * SETTLED / PAUSE)

MOST = 1024
"""Files that are looked at, or wait for a thread: a disk that hangs must not pile them up."""


class Source(Protocol):
    """Looks sessions up by their id, which is a good one."""

    async def look_up(self, session: str) -> bytes | None:
        """What PHP has saved; None or nothing where there is no such session.

        Raises:
            HookFailed: it cannot be known.
        """

    def stop(self) -> None:
        """Nobody will look anything up any more. What others use too stays as it is."""


class Threads(Protocol):
    """Where files are read."""

    def call(self, function: Callable[[], T]) -> Awaitable[T]:
        """What `function` gives, called in a thread."""

    def stop(self) -> None:
        """Take no call any more."""


class Files:
    """Session files, read in `threads`: never those in which names are looked up, for example."""

    def __init__(self, services: Services, place: Place, rules: Rules, threads: Threads) -> None:
        self._services = services
        self._place = place
        self._rules = rules
        self._threads = threads
        self._under_way: set[object] = set()

    async def look_up(self, session: str) -> bytes | None:
        """As `Source.look_up`. A file that is being written is looked at again, for a second.

        One that is empty all that time is that of a script which has nothing saved yet.
        """
        path = self._place.path(session)
        was_filled = False
        for _ in range(LOOKS):
            try:
                found: bytes | None = await self._look(path)
            except Unsettled as unsettled:
                was_filled = was_filled or not unsettled.is_empty
                await deferLater(self._services.reactor, PAUSE)
            except NotToBeRead as error:
                raise HookFailed(f"the file of a session {error}") from None
            else:
                return found
        if was_filled:
            raise HookFailed("the file of a session is being written again and again")
        return None

    def _look(self, path: str) -> Awaitable[bytes | None]:
        if len(self._under_way) >= MOST:
            raise HookFailed(f"{MOST} session files are being looked at")
        now = self._services.wall()
        mark = object()

        def look() -> bytes | None:
            try:
                return files.read(path, self._rules, now)
            finally:
                self._under_way.discard(mark)

        self._under_way.add(mark)
        return self._threads.call(look)

    def stop(self) -> None:
        """As `Source.stop`; files that a disk does not give are not waited for."""
        self._threads.stop()
