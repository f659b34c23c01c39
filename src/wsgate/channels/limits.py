"""How much there may be, as plain values."""

from __future__ import annotations

from typing import NamedTuple


class ChannelLimits(NamedTuple):
    """How much there may be; the names are those of `[limits]`."""

    channels_per_connection: int = 32
    max_channels: int = 100_000
    publish_backlog: int = 64 * 1024 * 1024
    """Bytes of all messages whose receivers have not all been given them."""
    variables_per_connection: int = 32
    variable_bytes_per_connection: int = 4096
    """Names and values of all variables of one connection."""
    channel_history: int = 0
    """Messages of one channel that are kept."""
    channel_history_age: float = 300.0
    channel_history_bytes: int = 64 * 1024 * 1024
    push_buffer: int = 1024 * 1024
    """Bytes that may be pushed to a connection at once, for what it has missed."""


WAITING_OVERHEAD = 64
"""Bytes that a message counts besides its own while it waits, see `limits.push_buffer`."""
