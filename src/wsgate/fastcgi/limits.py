"""How much a pool does at a time, and how long it waits for what."""

from __future__ import annotations

from dataclasses import dataclass, field

from wsgate.fastcgi.breaker import BreakerRules


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """The limits of a pool; times in seconds, sizes in bytes.

    Raises:
        ValueError: `max_in_flight` is less than 1, or `queue` than 0.
    """

    max_in_flight: int = 8
    """Requests that have a place at a time."""
    queue: int = 256
    """Requests that may wait for one, in each lane."""
    queue_deadline: float = 5.0
    """How long they wait (up to 0.1 s more), and until when a connect is tried again."""
    connect_timeout: float = 1.0
    """How long a backend may take to accept a connection."""
    write_timeout: float = 5.0
    """How long the application may take nothing more of a request."""
    response_timeout: float = 30.0
    """How long an answer may take, or the next part of a stream."""
    max_answer_size: int = 16 * 2**20
    """Of the STDOUT of an answer that is no stream."""
    max_streams: int = 2
    """Streams at a time."""
    keep_connections: bool = False
    """Whether a connection is used again after an answer."""
    own_workers: bool = False
    """Whether the application is ours alone, and has a worker for each place."""
    breaker: BreakerRules = field(default_factory=BreakerRules)
    """When a backend is left alone."""

    def __post_init__(self) -> None:
        if self.max_in_flight < 1 or self.queue < 0:
            raise ValueError(
                f"max_in_flight={self.max_in_flight} or queue={self.queue} is too small"
            )
