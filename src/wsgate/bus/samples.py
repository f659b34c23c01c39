"""A bus' figures for `/metrics`."""

from __future__ import annotations

from collections.abc import Iterator

from wsgate.bus.shared import SharedChannels
from wsgate.channels import Channels
from wsgate.figures import Key, Samples


def bus_samples(channels: Channels) -> Samples:
    """Those of the bus that `channels` are shared over; none where they are not."""
    return dict(_samples(channels)) if isinstance(channels, SharedChannels) else {}


def _samples(channels: SharedChannels) -> Iterator[tuple[Key, float]]:
    counts = channels.bus.counts
    yield ("wsgate_bus_up",), channels.bus.is_up
    yield ("wsgate_bus_connects_total",), counts.connects
    yield ("wsgate_bus_published_total",), counts.published
    yield ("wsgate_bus_received_total",), counts.received
    yield ("wsgate_bus_malformed_total",), counts.malformed + channels.malformed
    yield ("wsgate_bus_gaps_total",), channels.gaps
    yield ("wsgate_bus_missed_messages_total",), channels.missed
    yield ("wsgate_bus_unanswered_total",), channels.unanswered
    yield ("wsgate_bus_waiting_bytes",), counts.waiting_bytes
    for cause in ("full", "late", "failed"):
        yield ("wsgate_bus_not_published_total", cause), counts.not_published[cause]
