"""When Python looks for garbage in cycles."""

from __future__ import annotations

import gc

THRESHOLDS = (50_000, 20, 100)


def collect_rarely() -> None:
    """Collect cycles after tens of thousands of new objects instead of hundreds.

    Nearly everything a message needs is freed by its reference count; what a lost connection leaves
    in cycles can wait. What was there at the start stays for ever and is not looked at again. This
    saves a twentieth of the work of a message, and the pauses that grow with the connections.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
