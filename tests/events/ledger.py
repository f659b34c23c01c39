"""What PHP has written down of connects, messages and disconnects, and whether the sums agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

# One write to a file opened for appending is one line, whoever else writes.
SCRIPT = """<?php
$id = $_SERVER['WSGATE_CONNECTION_ID'];
$line = match ($_SERVER['WSGATE_EVENT']) {
    'connect' => "c $id",
    'message' => "m $id",
    'disconnect' => "d $id {$_SERVER['WSGATE_ACCEPTED']} {$_SERVER['WSGATE_ATTEMPT']}",
};
$file = fopen(__DIR__ . '/ledger', 'a');
fwrite($file, $line . "\\n");
if ($_SERVER['WSGATE_EVENT'] === 'connect') {
    header('Wsgate-Subscribe: everybody');
    echo $id;
} elseif ($_SERVER['WSGATE_EVENT'] === 'message') {
    echo 'hello';
}
"""


class Verdict(NamedTuple):
    """The sums. `lost` are connects without a disconnect: those PHP has let in, or a client saw."""

    connects: int
    messages: int
    disconnects: int
    distinct: int
    duplicates: int
    unmarked: int
    """Duplicates that did not say so by WSGATE_ATTEMPT."""
    unknowns: int
    """Disconnects of connections of which PHP never wrote down a connect."""
    lost: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether nobody was lost."""
        return not self.lost


def judge(ledger: Path, seen: Iterable[str]) -> Verdict:
    """Read the ledger; `seen` are the ids of connections that clients saw accepted."""
    connects: set[str] = set()
    disconnects: Counter[str] = Counter()
    first: Counter[str] = Counter()
    messages = 0
    with ledger.open() as lines:
        for line in lines:
            kind, connection_id, *more = line.split()
            if kind == "c":
                connects.add(connection_id)
            elif kind == "m":
                messages += 1
            else:
                disconnects[connection_id] += 1
                first[connection_id] += more[1] == "1"
    accepted = connects | set(seen)
    return Verdict(
        connects=len(connects),
        messages=messages,
        disconnects=disconnects.total(),
        distinct=len(disconnects),
        duplicates=disconnects.total() - len(disconnects),
        unmarked=sum(count - 1 for count in first.values() if count > 1),
        unknowns=len(disconnects.keys() - connects),
        lost=tuple(sorted(accepted - disconnects.keys())),
    )


class Progress:
    """How many lines the ledger has, read as it grows."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._offset = 0
        self.events = 0

    def look(self) -> int:
        """Count what came since the last look; all so far."""
        if self._ledger.exists():
            with self._ledger.open("rb") as file:
                file.seek(self._offset)
                while chunk := file.read(2**20):
                    self._offset += len(chunk)
                    self.events += chunk.count(b"\n")
        return self.events
