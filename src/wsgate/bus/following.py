"""The order of one channel's messages at one node: nothing twice, and every gap noticed. Pure.

Messages have offsets that count up by one. Where one is missing, the bus is asked for what came
after the last; what comes meanwhile is held. The bus answers after it has given what it had before,
so what is not there by then is lost.
"""

from __future__ import annotations

from typing import NamedTuple

from wsgate.bus.interface import NOWHERE, Entry, Position, Stretch


class Due(NamedTuple):
    """A message to deliver now; `position` is the place after it."""

    position: Position
    data: bytes


class Gap(NamedTuple):
    """Messages that are lost here: how many, or None where nobody can tell.

    `position` is the place after them.
    """

    missed: int | None
    position: Position


Step = Due | Gap


class CatchUp(NamedTuple):
    """What follows from an answer of the bus: `steps` to be taken now, after the place `after`.

    `history` is what came before that, of a first answer only: nobody here listened then.
    """

    after: Position
    history: tuple[Entry, ...]
    steps: tuple[Step, ...]


class Following:
    """One channel that a node follows. Begins by waiting for `answered`."""

    __slots__ = ("_held", "position")

    def __init__(self) -> None:
        self.position: Position | None = None
        """The place after the last message delivered or lost; None until the first answer."""
        self._held: list[tuple[Position, bytes]] | None = []

    @property
    def waits(self) -> bool:
        """Whether the bus has been asked where the channel is, and has not answered yet."""
        return self._held is not None

    def ask(self) -> None:
        """The bus is asked for what came after `position`: hold what comes until `answered`."""
        if self._held is None:
            self._held = []

    def forget_held(self) -> None:
        """The bus was lost, so what is held may have gaps: all of it comes again or is lost."""
        self._held = []

    def as_held(self) -> Stretch:
        """What to go on with where the bus has refused to say where the channel is."""
        return Stretch(self._held[-1][0] if self._held else self.position or NOWHERE)

    def received(self, position: Position, data: bytes) -> tuple[Step, ...] | None:
        """A message came; what to deliver now. None: the bus is to be asked, see `ask`."""
        if self._held is not None:
            self._held.append((position, data))
            return ()
        at = self.position or NOWHERE
        if position.epoch == at.epoch and position.offset <= at.offset:
            return ()
        if position == (at.epoch, at.offset + 1) or (at == NOWHERE and position.offset == 1):
            self.position = position
            return (Due(position, data),)
        self._held = [(position, data)]
        return None

    def answered(self, stretch: Stretch) -> CatchUp:
        """The bus has said where the channel is."""
        held, self._held = self._held or [], None
        if self.position is not None:
            return CatchUp(self.position, (), tuple(self._catch_up(stretch, held)))
        here = [position.offset for position, _ in held if position.epoch == stretch.position.epoch]
        first = min([*here, stretch.position.offset + 1])
        self.position = after = Position(stretch.position.epoch, first - 1)
        history = tuple(entry for entry in stretch.entries if entry.offset < first)
        return CatchUp(after, history, tuple(self._catch_up(stretch, held)))

    def _catch_up(self, stretch: Stretch, held: list[tuple[Position, bytes]]) -> list[Step]:
        epoch, last = stretch.position
        at = self.position or NOWHERE
        steps: list[Step] = []
        if epoch != at.epoch:
            # The channel began anew. What came before that, and after `at`, nobody knows.
            if at.epoch:
                steps.append(Gap(None, Position(epoch, 0)))
            at = Position(epoch, 0)
        found = {entry.offset: entry.data for entry in stretch.entries}
        found.update({position.offset: data for position, data in held if position.epoch == epoch})
        before = at.offset
        for offset in sorted(found):
            if offset <= before:
                continue
            if offset > before + 1:
                steps.append(Gap(offset - before - 1, Position(epoch, offset - 1)))
            steps.append(Due(Position(epoch, offset), found[offset]))
            before = offset
        if last > before:
            steps.append(Gap(last - before, Position(epoch, last)))
        self.position = Position(epoch, max(last, before))
        return steps
