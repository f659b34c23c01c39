"""A gateway's figures, read from the rooms that count: plain numbers, at the moment of asking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wsgate import php
from wsgate.fastcgi import ConnectionPool
from wsgate.figures import Key, Samples
from wsgate.gateway import Tally
from wsgate.websocket import GatewayFactory

Sample = tuple[Key, float]


def gateway_samples(
    factory: GatewayFactory, pools: Iterable[ConnectionPool], privates: Iterable[php.PrivatePHP]
) -> Samples:
    """The figures of the clients' side, of the pools, and of the private PHPs."""
    found: list[Sample] = []
    for path, tally in factory.tallies().items():
        found += _messages(path, tally)
    found.append((("wsgate_connections",), len(factory.connections)))
    found.append((("wsgate_workers",), 1))
    for pool in pools:
        found += _pool(pool)
    for private in privates:
        found.append((("wsgate_php_up", private.pool), private.is_answering))
        found.append((("wsgate_php_restarts_total", private.pool), private.restarts))
    return dict(found)


def _messages(path: str, tally: Tally) -> Iterator[Sample]:
    yield ("wsgate_messages_received_total", path), tally.received
    for outcome in ("answered", "refused", "gone"):
        yield ("wsgate_messages_total", path, outcome), getattr(tally, outcome)


def _pool(pool: ConnectionPool) -> Iterator[Sample]:
    name = pool.name
    yield ("wsgate_pool_requests_total", name), pool.requests
    yield ("wsgate_pool_responses_total", name), pool.responses
    for kind, count in pool.errors.items():
        yield ("wsgate_pool_errors_total", name, kind), count
    yield ("wsgate_pool_surplus_total", name), pool.surplus
    yield ("wsgate_pool_in_flight", name), pool.in_flight
    yield ("wsgate_pool_waiting", name), pool.waiting
    yield ("wsgate_pool_max_in_flight", name), pool.max_in_flight
    yield ("wsgate_pool_available", name), pool.is_available
