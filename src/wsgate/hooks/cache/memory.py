"""Answers within a bound of bytes; those not used for longest give way. Pure.

Times are seconds of whichever clock the caller keeps to.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from wsgate.hooks.hook import Answer

OVERHEAD = 700
"""Bytes that an answer takes beside its payload: its key, its objects, its places here."""


class Kept:
    """An answer, and until when it may be given: see `Terms`.

    `quiet` is when PHP may be asked again, after it has failed.
    """

    __slots__ = ("answer", "end", "failing", "fresh", "quiet", "revalidating", "size")

    def __init__(self, answer: Answer, fresh: float, revalidating: float, failing: float) -> None:
        self.answer = answer
        self.fresh = fresh
        self.revalidating = revalidating
        self.failing = failing
        self.quiet = 0.0
        self.end = max(fresh, revalidating, failing)
        self.size = OVERHEAD + len(answer.payload or b"")


class Variants:
    """Instead of an answer: there are several, by what these names stand for."""

    __slots__ = ("end", "names", "size")

    def __init__(self, names: tuple[str, ...], end: float) -> None:
        self.names = names
        self.end = end
        self.size = OVERHEAD + sum(64 + len(name) for name in names)


class Personal:
    """Instead of an answer: the latest one was for who asked alone, so nobody waits for another."""

    __slots__ = ("end", "size")

    def __init__(self, end: float) -> None:
        self.end = end
        self.size = OVERHEAD


Slot: TypeAlias = Kept | Variants | Personal


class Memory:
    """What is known under each key.

    `room` are the bytes it may take, overhead included, `largest` those of the payload of one
    answer.
    """

    def __init__(self, room: int, largest: int) -> None:
        self.size = 0
        self.evicted = 0
        """How many had to give way before their end."""
        self._room = room
        self._largest = largest
        self._slots: OrderedDict[bytes, Slot] = OrderedDict()
        self._ends: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        """How many slots are taken."""
        return len(self._slots)

    def get(self, key: bytes) -> Slot | None:
        """What is known, be it past its end; it counts as used."""
        slot = self._slots.get(key)
        if slot is not None:
            self._slots.move_to_end(key)
        return slot

    def put(self, key: bytes, slot: Slot) -> bool:
        """Keep `slot` in place of what was there; False if it is too large: then nothing is."""
        self.remove(key)
        if slot.size > self._room or slot.size > self._largest + OVERHEAD:
            return False
        while self.size + slot.size > self._room:
            _, given_up = self._slots.popitem(last=False)
            self.size -= given_up.size
            self.evicted += 1
        self._slots[key] = slot
        self.size += slot.size
        self._note_end(key, slot.end)
        return True

    def remove(self, key: bytes) -> None:
        """Forget what is there, if anything is."""
        slot = self._slots.pop(key, None)
        if slot is not None:
            self.size -= slot.size

    def clear(self) -> int:
        """Forget everything; returns how many slots that were."""
        number = len(self._slots)
        self._slots.clear()
        self._ends.clear()
        self.size = 0
        return number

    def sweep(self, now: float, most: int = 1000) -> None:
        """Forget what is past its end by `now`, at most so many of them."""
        while self._ends and most and self._ends[0][0] <= now:
            end, key = heappop(self._ends)
            slot = self._slots.get(key)
            if slot is not None and slot.end == end:
                self.remove(key)
            most -= 1

    def _note_end(self, key: bytes, end: float) -> None:
        # Ends of what was replaced or gave way stay in the heap, up to as many as count.
        if len(self._ends) > 2 * len(self._slots) + 64:
            self._ends = [(slot.end, key) for key, slot in self._slots.items()]
            heapify(self._ends)
        else:
            heappush(self._ends, (end, key))
