"""How much a bus keeps, as plain values."""

from __future__ import annotations

from typing import NamedTuple


class BusLimits(NamedTuple):
    """What a bus keeps; sizes in bytes, times in seconds."""

    history: int = 0
    """Messages of each channel; 0: none."""
    history_age: float = 300.0
    lease: float = 10.0
    """After which the presence of a node that is gone is gone too."""
    buffer: int = 16 * 1024 * 1024
    """Of all publishes that wait for the bus."""
    patience: float = 3.0
    """How long one of them waits for a bus that is away."""
