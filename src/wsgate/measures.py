"""A gateway's figures, read from the rooms that count: plain numbers, at the moment of asking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from wsgate import php
from wsgate.bus import bus_samples
from wsgate.channels import Channels
from wsgate.fastcgi import ConnectionPool
from wsgate.figures import Key, Samples, merged
from wsgate.gateway import Register, Tally
from wsgate.pusher import Applications
from wsgate.websocket import GatewayFactory

Sample = tuple[Key, float]


def gateway_samples(
    factory: GatewayFactory,
    register: Register,
    applications: Applications,
    hook_outcomes: Mapping[tuple[str, str], int],
    hook_figures: Mapping[tuple[str, str], float],
    pools: Iterable[ConnectionPool],
    privates: Iterable[php.PrivatePHP],
) -> Samples:
    """The figures of clients, events, applications of Pusher, hooks, pools, and private PHPs.

    Pools of the same name, as there are while one takes over from another, are added up.
    """
    found: list[Sample] = []
    for path, tally in factory.tallies().items():
        found += _messages(path, tally)
    found.append((("wsgate_connections",), len(factory.connections)))
    found.append((("wsgate_connections_accepted_total",), factory.counts.accepted))
    found += _counts(factory)
    found += _events(register)
    found += _channels(factory.channels)
    found += bus_samples(factory.channels).items()
    found += _pusher(applications)
    for labels, count in hook_outcomes.items():
        found.append((("wsgate_hook_outcomes_total", *labels), count))
    for labels, value in hook_figures.items():
        found.append((("wsgate_hook_figures", *labels), value))
    found.append((("wsgate_workers",), 1))
    for private in privates:
        found.append((("wsgate_php_up", private.pool_name), private.is_answering))
        found.append((("wsgate_php_restarts_total", private.pool_name), private.restarts))
    return merged([dict(found), *(pool_samples(pool) for pool in pools)])


def pool_samples(pool: ConnectionPool) -> Samples:
    """The figures of one pool and its backends."""
    return dict(_pool(pool))


def _pusher(applications: Applications) -> Iterator[Sample]:
    for status, count in applications.statuses.items():
        yield ("wsgate_pusher_requests_total", str(status)), count
    for one in applications:
        app = one.app.id
        yield ("wsgate_pusher_events_total", app, "application"), one.triggered
        yield ("wsgate_pusher_events_total", app, "client"), one.client_events
        yield ("wsgate_pusher_refusals_total", app), one.refusals
        yield ("wsgate_pusher_presence_channels", app), len(one.presence)
        if one.webhooks is not None:
            counts = one.webhooks.counts
            yield ("wsgate_pusher_webhooks_total", app, "told"), counts.told
            yield ("wsgate_pusher_webhooks_total", app, "dropped"), counts.dropped
            yield ("wsgate_pusher_webhook_failures_total", app), counts.failures


def _counts(factory: GatewayFactory) -> Iterator[Sample]:
    counts = factory.counts
    counters: dict[str, Mapping[str, int] | Mapping[int, int]] = {
        "wsgate_connections_refused_total": counts.refused,
        "wsgate_closes_total": counts.closes,
        "wsgate_drops_total": counts.drops,
        "wsgate_limit_hits_total": counts.limits,
    }
    for name, counter in counters.items():
        for label, count in counter.items():
            yield (name, str(label)), count


def _events(register: Register) -> Iterator[Sample]:
    for (path, outcome), count in register.connects.items():
        yield ("wsgate_connects_total", path, outcome), count
    departures = register.departures
    for outcome, count in departures.outcomes.items():
        yield ("wsgate_disconnects_total", outcome), count
    yield ("wsgate_disconnect_retries_total",), departures.retries
    yield ("wsgate_disconnects_pending",), len(departures)
    yield ("wsgate_journal_entries",), register.open + len(departures)
    yield ("wsgate_journal_errors_total",), register.book.errors


def _channels(channels: Channels) -> Iterator[Sample]:
    yield ("wsgate_channels",), channels.count
    yield ("wsgate_channel_subscriptions",), channels.subscriptions
    yield ("wsgate_channel_history_bytes",), channels.history_bytes
    yield ("wsgate_channel_publishes_total",), channels.published
    yield ("wsgate_deliveries_total",), channels.delivered


def _messages(path: str, tally: Tally) -> Iterator[Sample]:
    yield ("wsgate_messages_received_total", path), tally.received
    for outcome in ("answered", "refused", "gone"):
        yield ("wsgate_messages_total", path, outcome), getattr(tally, outcome)
    yield ("wsgate_stream_messages_total", path), tally.streamed


def _pool(pool: ConnectionPool) -> Iterator[Sample]:
    name = pool.name
    yield ("wsgate_pool_requests_total", name), pool.requests
    yield ("wsgate_pool_responses_total", name), pool.responses
    for kind, count in pool.errors.items():
        yield ("wsgate_pool_errors_total", name, kind), count
    yield ("wsgate_pool_surplus_total", name), pool.surplus
    yield ("wsgate_pool_in_flight", name), pool.in_flight
    yield ("wsgate_pool_waiting", name), pool.waiting
    yield ("wsgate_pool_waiting_most", name), pool.waiting_most
    yield ("wsgate_pool_max_in_flight", name), pool.max_in_flight
    yield ("wsgate_pool_streams_open", name), pool.streams.open
    yield ("wsgate_pool_max_streams", name), pool.streams.most
    yield ("wsgate_pool_streams_total", name), pool.streams.begun
    yield ("wsgate_pool_streams_cut_total", name), pool.streams.cut
    yield ("wsgate_pool_available", name), pool.is_available
    for backend in pool.backends:
        key = (name, backend.name)
        yield ("wsgate_backend_connections", *key), backend.connections
        yield ("wsgate_backend_responses_total", *key), backend.responses
        yield ("wsgate_backend_failures_total", *key), backend.breaker.failures
        yield ("wsgate_backend_breaker_open", *key), backend.breaker.is_open
        yield ("wsgate_backend_breaker_opened_total", *key), backend.breaker.opened
