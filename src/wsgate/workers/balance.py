"""How many connections each worker has, for all to see: so that all get equally many.

Whoever wakes first gets a new connection, and on a machine with little to do that is nearly always
the same one. So a worker that has more than another lets the others try first, for a moment.

A piece of memory that all workers share holds two numbers for each: its connections, and when it
last said so. Each worker writes its own alone; there is nothing to lock.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from collections.abc import Callable

_PLACE = struct.Struct("=dd")

STALE = 3.0
"""Seconds after which a worker that said nothing is taken to be absent. They do each second."""


def make_memory(workers: int) -> int:
    """The descriptor of a new memory for so many workers."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("wsgate-balance")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, workers * _PLACE.size)
    return descriptor


class Balance:
    """One worker's view of the memory. `seconds` is a clock that all workers share."""

    def __init__(self, descriptor: int, index: int, seconds: Callable[[], float]) -> None:
        self._memory = mmap.mmap(descriptor, 0)
        self._index = index
        self._seconds = seconds
        self._mine = 0

    def tell(self, connections: int) -> None:
        """Say how many connections this worker has."""
        self._mine = connections
        _PLACE.pack_into(
            self._memory, self._index * _PLACE.size, float(connections), self._seconds()
        )

    def is_ahead(self) -> bool:
        """Whether another worker, one that is present, has fewer."""
        oldest = self._seconds() - STALE
        for index, (connections, told) in enumerate(_PLACE.iter_unpack(self._memory)):
            if index != self._index and told > oldest and connections < self._mine:
                return True
        return False
