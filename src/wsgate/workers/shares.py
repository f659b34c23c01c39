"""Each worker's share of what all of them may use together. Pure."""

from __future__ import annotations

from dataclasses import replace

from wsgate.config import Limits, Pool, Settings


def share(total: int, count: int, index: int) -> int:
    """The part of `total` that `index` (from 0) of `count` gets; all parts add up to `total`."""
    return total // count + (index < total % count)


def settings_of_worker(asked: Settings, index: int) -> Settings:
    """What worker `index` (from 0) of `asked.gateway.workers` is told: its share of everything.

    Connections and PHP workers add up to the whole. A pool's queue has one place at least, and so
    have its streams, where there may be any; the limits for each address and for handshakes are
    rounded up: these sums may lie above it by less than the number of workers.
    """
    count = asked.gateway.workers
    return replace(
        asked,
        gateway=replace(asked.gateway, workers=1),
        limits=_limits(asked.limits, count, index),
        pools={name: _pool(pool, count, index) for name, pool in asked.pools.items()},
    )


def _limits(limits: Limits, count: int, index: int) -> Limits:
    return replace(
        limits,
        max_connections=share(limits.max_connections, count, index),
        # 0 means none, and stays.
        max_connections_per_address=-(-limits.max_connections_per_address // count),
        new_connections_per_address=-(-limits.new_connections_per_address // count),
        max_handshakes=-(-limits.max_handshakes // count),
    )


def _pool(pool: Pool, count: int, index: int) -> Pool:
    return replace(
        pool,
        # A pool that no route uses may be smaller than the number of workers.
        max_in_flight=max(1, share(pool.max_in_flight, count, index)),
        queue=max(1, share(pool.queue, count, index)),
        max_streams=pool.max_streams and max(1, share(pool.max_streams, count, index)),
    )
