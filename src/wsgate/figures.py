"""Every metric that exists, and how the figures of several processes become one. Pure.

`CATALOGUE` is the only list there is: what `/metrics` says, what workers report to their parent and
docs/metrics.md are made from it. Names follow Prometheus' conventions: base units,
`_total` for what only grows. No label is ever a client's text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

Key = tuple[str, ...]
"""A metric's name, then the values of its labels in the catalogue's order."""

Samples = dict[Key, float]


class Metric(NamedTuple):
    """One metric. `merge` says what several processes' values become together."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()
    merge: Literal["sum", "max", "min"] = "sum"


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "counter", text, labels)


def _gauge(
    name: str, text: str, *labels: str, merge: Literal["sum", "max", "min"] = "sum"
) -> Metric:
    return Metric(name, "gauge", text, labels, merge)


_ALL = (
    # Messages
    _counter(
        "wsgate_messages_received_total",
        "Messages that clients sent, whole; at rest the sum of wsgate_messages_total.",
        "route",
    ),
    _counter(
        "wsgate_messages_total",
        "Messages that are done with: answered by PHP, refused with an error, or gone with "
        "their client.",
        "route",
        "outcome",
    ),
    _counter(
        "wsgate_stream_messages_total",
        "Messages that streamed answers were made of; each such answer counts once above.",
        "route",
    ),
    # Connections
    _gauge("wsgate_connections", "Connections open now, handshakes under way included."),
    _counter("wsgate_connections_accepted_total", "Handshakes answered with 101."),
    _counter(
        "wsgate_connections_refused_total", "Handshakes answered otherwise, by status.", "status"
    ),
    _counter("wsgate_closes_total", "Closing handshakes that wsgate began, by close code.", "code"),
    _counter(
        "wsgate_drops_total", "Connections ended without a closing handshake, by cause.", "cause"
    ),
    _counter(
        "wsgate_limit_hits_total", "How often a limit took effect, by name of the setting.", "limit"
    ),
    # Events
    _counter(
        "wsgate_connects_total",
        "Handshakes that PHP was to decide on: accepted or refused by it, failed, or gone with "
        "their client before PHP saw them.",
        "route",
        "outcome",
    ),
    _counter(
        "wsgate_disconnects_total",
        "Disconnects that are done with: delivered to PHP, or given up as too old "
        "(gateway.disconnect_age) or too many (gateway.disconnect_backlog).",
        "outcome",
    ),
    _counter(
        "wsgate_disconnect_retries_total", "Disconnects sent again, because PHP failed before."
    ),
    _gauge("wsgate_disconnects_pending", "Clients that have left and of whom PHP has not heard."),
    _gauge(
        "wsgate_journal_entries",
        "Connections in the journal: those open now, and those of wsgate_disconnects_pending.",
    ),
    _counter(
        "wsgate_journal_errors_total",
        "Writes to the journal that failed; while they do, a kill of wsgate loses disconnects.",
    ),
    # Hooks
    _counter(
        "wsgate_hook_outcomes_total",
        "What hooks have said: answered, refused, closed; failed, or timeout where they said "
        "nothing in time; and what those that come with wsgate count themselves.",
        "hook",
        "outcome",
    ),
    _gauge(
        "wsgate_hook_figures",
        "What hooks have now: of `cache` the bytes and entries in memory.",
        "hook",
        "figure",
    ),
    # Channels
    _gauge("wsgate_channels", "Channels there are, those that have only a history included."),
    _gauge("wsgate_channel_subscriptions", "Subscriptions to channels, all connections together."),
    _gauge("wsgate_channel_history_bytes", "Memory that the histories of channels take."),
    # The dialect Pusher
    _counter(
        "wsgate_pusher_events_total",
        "Events for each channel that they were sent to: by the application, or by a client.",
        "app",
        "sender",
    ),
    _counter(
        "wsgate_pusher_refusals_total",
        "What clients asked for and did not get: subscriptions, events, unreadable messages.",
        "app",
    ),
    _counter("wsgate_pusher_requests_total", "Requests to the HTTP API, by status.", "status"),
    _gauge(
        "wsgate_pusher_presence_channels",
        "Presence channels with members, in whichever process those are.",
        "app",
        merge="max",
    ),
    _counter(
        "wsgate_pusher_webhooks_total",
        "Events for a webhook that are done with: told to the script, or dropped.",
        "app",
        "outcome",
    ),
    _counter(
        "wsgate_pusher_webhook_failures_total",
        "Calls of a script with webhooks that failed; all but the last of a batch are tried again.",
        "app",
    ),
    # The bus
    _gauge("wsgate_bus_up", "Whether the bus takes messages, on every process.", merge="min"),
    _counter("wsgate_bus_connects_total", "How often the bus was reached; above 1: again."),
    _counter("wsgate_bus_published_total", "Messages that the bus was given for channels."),
    _counter("wsgate_bus_received_total", "Messages that came over the bus, of any kind."),
    _counter("wsgate_bus_malformed_total", "Those that were none of ours, and were dropped."),
    _counter("wsgate_bus_gaps_total", "How often messages of a channel were missed here."),
    _counter(
        "wsgate_bus_missed_messages_total", "Messages that were missed, where it can be counted."
    ),
    _counter(
        "wsgate_bus_not_published_total",
        "Messages that the bus did not get: too many bytes waited (full), it was away for too "
        "long (late), it refused or went away before it answered (failed).",
        "cause",
    ),
    _counter(
        "wsgate_bus_unanswered_total", "Questions that other processes did not answer in time."
    ),
    _gauge("wsgate_bus_waiting_bytes", "Bytes of messages that wait for the bus, or its answer."),
    _counter("wsgate_channel_publishes_total", "Messages published to a channel here."),
    _counter(
        "wsgate_deliveries_total",
        "Messages that were given to connections without having been asked for, by whichever way.",
    ),
    # Stores
    _counter(
        "wsgate_store_requests_total",
        "Requests to a store that are done with: answered; an error or nonsense (error); not in "
        "time (late); the store is away, or was lost (away); too many waited (full).",
        "store",
        "outcome",
    ),
    _gauge(
        "wsgate_store_up", "Whether a store takes requests, on every process.", "store", merge="min"
    ),
    _gauge("wsgate_store_connections", "Connections to a store, open now.", "store"),
    _gauge("wsgate_store_waiting", "Requests to a store that have no answer yet.", "store"),
    # PHP
    _counter("wsgate_pool_requests_total", "Requests that a pool was asked for.", "pool"),
    _counter("wsgate_pool_responses_total", "Requests that PHP answered.", "pool"),
    _counter("wsgate_pool_errors_total", "Requests without an answer, by kind.", "pool", "kind"),
    _counter(
        "wsgate_pool_surplus_total", "Answers that were followed by bytes of no answer.", "pool"
    ),
    _gauge("wsgate_pool_in_flight", "Requests that PHP has now.", "pool"),
    _gauge("wsgate_pool_waiting", "Requests that wait in the pool's queue now.", "pool"),
    _gauge(
        "wsgate_pool_waiting_most",
        "The most requests that have ever waited at a time, in one process.",
        "pool",
        merge="max",
    ),
    _gauge("wsgate_pool_max_in_flight", "Requests that PHP may have at a time.", "pool"),
    _gauge("wsgate_pool_streams_open", "Streamed answers that are under way.", "pool"),
    _gauge("wsgate_pool_max_streams", "Streamed answers that may be at a time.", "pool"),
    _counter("wsgate_pool_streams_total", "Streamed answers that have begun.", "pool"),
    _counter(
        "wsgate_pool_streams_cut_total",
        "Those that ended before PHP was done: their client left, a limit, or PHP failed.",
        "pool",
    ),
    _gauge(
        "wsgate_pool_available",
        "1 while requests are sent to PHP, 0 while it is known to be away.",
        "pool",
        merge="max",
    ),
    _gauge("wsgate_backend_connections", "Connections to a backend, open now.", "pool", "backend"),
    _counter("wsgate_backend_responses_total", "Answers of a backend.", "pool", "backend"),
    _counter(
        "wsgate_backend_failures_total",
        "Requests that were sent to a backend and lost.",
        "pool",
        "backend",
    ),
    _gauge(
        "wsgate_backend_breaker_open",
        "Circuit breakers that keep requests from a backend: 1, or one for each worker.",
        "pool",
        "backend",
    ),
    _counter(
        "wsgate_backend_breaker_opened_total",
        "How often a circuit breaker has opened.",
        "pool",
        "backend",
    ),
    _gauge("wsgate_php_up", "Private PHPs that answer now.", "pool"),
    _counter("wsgate_php_restarts_total", "Starts of a private PHP after the first.", "pool"),
    _gauge(
        "wsgate_tls_certificate_expiry_timestamp_seconds",
        "When a certificate that clients are shown expires, Unix time.",
        "certificate",
        merge="min",
    ),
    # wsgate itself
    _gauge("wsgate_ready", "What /readyz says: 1 if ready."),
    _gauge("wsgate_workers", "Worker processes that accept connections; 1 without --workers."),
    _counter("wsgate_worker_ends_total", "Worker processes that ended, replaced ones included."),
    _gauge("wsgate_uptime_seconds", "Time since the start of the service.", merge="max"),
    _gauge(
        "wsgate_reactor_lag_seconds",
        "How late the latest once-a-second timer was.",
        merge="max",
    ),
    _gauge(
        "wsgate_reactor_lag_max_seconds",
        "How late such a timer was at most, within the last 30 to 60 seconds.",
        merge="max",
    ),
    _counter("wsgate_log_lost_total", "Log lines that could not be written."),
    _counter(
        "wsgate_log_suppressed_total", "Log lines left out because many like them were written."
    ),
    _counter("wsgate_control_requests_total", "Requests to this interface, by status.", "status"),
    _counter(
        "wsgate_control_pushes_total",
        "Messages that this interface took, by what they were for: connection, channel or user.",
        "to",
    ),
    _gauge(
        "wsgate_build_info",
        "Always 1; the versions are in the labels.",
        *("version", "twisted", "autobahn", "python", "compiled"),
        merge="max",
    ),
    # The operating system's view; names as every Prometheus client has them.
    _counter("process_cpu_seconds_total", "Processor time of wsgate's processes, without PHP."),
    _gauge("process_resident_memory_bytes", "Resident memory of wsgate's processes, without PHP."),
    _gauge("process_virtual_memory_bytes", "Virtual memory of wsgate's processes, without PHP."),
    _gauge("process_open_fds", "Open file descriptors of wsgate's processes."),
    _gauge("process_max_fds", "Descriptors that each process may open.", merge="min"),
    _gauge("process_start_time_seconds", "When the service started, Unix time.", merge="min"),
)

CATALOGUE: dict[str, Metric] = {metric.name: metric for metric in _ALL}

_MERGE: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}


def merged(parts: Iterable[Mapping[Key, float]]) -> Samples:
    """The figures of several processes as those of one."""
    values: dict[Key, list[float]] = {}
    for part in parts:
        for key, value in part.items():
            values.setdefault(key, []).append(value)
    return {key: _MERGE[CATALOGUE[key[0]].merge](value) for key, value in values.items()}


def expiry_samples(expiries: Mapping[str, float]) -> Samples:
    """The samples of certificates' expiries: each one's name, and Unix time."""
    name = "wsgate_tls_certificate_expiry_timestamp_seconds"
    return {(name, source): when for source, when in expiries.items()}


def php_is_away(samples: Mapping[Key, float]) -> str | None:
    """In words, that no pool can be asked; None if one can, or nothing is known yet."""
    pools = {key[1]: value for key, value in samples.items() if key[0] == "wsgate_pool_available"}
    if not pools or any(pools.values()):
        return None
    return f"PHP does not answer (pool {', '.join(sorted(pools))})"


def stores_in(samples: Mapping[Key, float]) -> dict[str, str]:
    """Each store, "up" where every process reaches it, or "down"."""
    return {
        key[1]: "up" if value else "down"
        for key, value in sorted(samples.items())
        if key[0] == "wsgate_store_up"
    }


def lasting(samples: Mapping[Key, float]) -> Samples:
    """What is left of the figures of a process that has ended: its counters."""
    return {key: value for key, value in samples.items() if CATALOGUE[key[0]].kind == "counter"}
