"""Small things that parts of wsgate tell each other in all processes: a purge, for example."""

from __future__ import annotations

import re
from collections.abc import Callable

from twisted.logger import Logger

LONGEST_NOTICE = 8 * 1024
"""Bytes."""

_TOPIC = re.compile(r"[A-Za-z0-9_.:\-]{1,128}")

_log = Logger(namespace="wsgate")

OnNotice = Callable[[bytes], object]
OnMissed = Callable[[], object]


def check_notice(topic: str, payload: bytes) -> None:
    """Whether it can be told.

    Raises:
        ValueError: a topic is 1 to 128 letters, digits or `_.:-`, a payload `LONGEST_NOTICE` bytes
            at most.
    """
    if _TOPIC.fullmatch(topic) is None:
        raise ValueError(f"{topic[:128]!r} is no topic; write 1 to 128 letters, digits or _.:-")
    if len(payload) > LONGEST_NOTICE:
        raise ValueError(f"a notice of {len(payload)} bytes; {LONGEST_NOTICE} are the most")


class Notices:
    """Who in this process wants to hear of which topic."""

    def __init__(self) -> None:
        self._listeners: dict[str, dict[object, tuple[OnNotice, OnMissed | None]]] = {}

    def topics(self) -> tuple[str, ...]:
        """Those that somebody here listens to."""
        return tuple(self._listeners)

    def add(self, topic: str, function: OnNotice, missed: OnMissed | None) -> object:
        """Let them hear; what `remove` takes."""
        ticket = object()
        self._listeners.setdefault(topic, {})[ticket] = (function, missed)
        return ticket

    def remove(self, topic: str, ticket: object) -> bool:
        """Let them hear no more; whether nobody listens to `topic` now who did before."""
        there = self._listeners.get(topic)
        if there is None or there.pop(ticket, None) is None or there:
            return False
        del self._listeners[topic]
        return True

    def tell(self, topic: str, payload: bytes) -> bool:
        """Tell those that listen to `topic`; whether there are any."""
        there = tuple(self._listeners.get(topic, {}).values())
        for function, _ in there:
            try:
                function(payload)
            except Exception:
                _log.failure("a listener to notices of {topic} failed", topic=topic)
        return bool(there)

    def missed(self) -> None:
        """Something may have been told that nobody here has heard."""
        for topic, there in tuple(self._listeners.items()):
            for _, missed in tuple(there.values()):
                try:
                    if missed is not None:
                        missed()
                except Exception:
                    _log.failure("a listener to notices of {topic} failed", topic=topic)
