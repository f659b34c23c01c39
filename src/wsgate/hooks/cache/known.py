"""What a cache knows, and what it learns from an answer. Pure."""

from __future__ import annotations

from wsgate.hooks.cache.asker import Asker
from wsgate.hooks.cache.keys import Varying, variant_key
from wsgate.hooks.cache.memory import Kept, Memory, Personal, Slot, Variants
from wsgate.hooks.cache.terms import MOST_NAMES, Terms, terms_of
from wsgate.hooks.hook import Answer

PERSONAL_FOR = 10.0
"""Seconds for which nobody waits for the answer of another, after one that was personal."""


class Known:
    """Answers by message and by what they vary on.

    `varies` are names that every answer varies on, whatever it says.
    """

    def __init__(self, memory: Memory, varies: tuple[str, ...] = ()) -> None:
        self.memory = memory
        self._varies = tuple(sorted(varies))

    def find(self, primary: bytes, connection: Varying) -> tuple[bytes, Slot | None]:
        """The key of this connection's variant, and what is known under it."""
        key, slot = primary, self.memory.get(primary)
        if type(slot) is Variants:
            key = variant_key(primary, slot.names, connection)
            slot = self.memory.get(key)
        return key, slot

    def names(self, primary: bytes) -> tuple[str, ...]:
        """What answers to this message vary on, as far as is known."""
        slot = self.memory.get(primary)
        return slot.names if type(slot) is Variants else ()

    def read(
        self, primary: bytes, asker: Asker, answer: Answer
    ) -> tuple[Terms, tuple[str, ...], bytes] | None:
        """The terms of an answer, what it varies on, and the key of the variant; None: personal.

        Names are never taken back: answers to one message that vary on different things vary on
        all of them.
        """
        terms = terms_of(answer)
        if terms is None:
            return None
        names = tuple(sorted({*terms.vary, *self._varies, *self.names(primary)}))
        variant = asker.variant(primary, names) if len(names) <= MOST_NAMES else None
        return None if variant is None else (terms, names, variant)

    def keep(
        self, primary: bytes, names: tuple[str, ...], variant: bytes, kept: Kept, now: float
    ) -> bool:
        """Give `kept` to whoever asks the same from now on; False if it is too large or too old."""
        if kept.end <= now:
            return False
        if names:
            there = self.memory.get(primary)
            end = max(kept.end, there.end if type(there) is Variants else 0.0)
            self.memory.put(primary, Variants(names, end))
        return self.memory.put(variant, kept)

    def note_personal(self, key: bytes, now: float) -> None:
        """The answer under `key` was for who asked alone; so are those to come, perhaps.

        A fresh one that is there stays, a stale one does not.
        """
        there = self.memory.get(key)
        if not (type(there) is Variants or (type(there) is Kept and now < there.fresh)):
            self.memory.put(key, Personal(now + PERSONAL_FOR))


def kept_from(answer: Answer, terms: Terms, asked: float) -> Kept:
    """`answer` without what only who asked gets to see: its headers."""
    payload = None if answer.payload is None else bytes(answer.payload)
    plain = Answer(payload, answer.is_binary, answer.status)
    return Kept(plain, asked + terms.fresh, asked + terms.revalidating, asked + terms.failing)
