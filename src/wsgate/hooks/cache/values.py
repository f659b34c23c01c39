"""Answers as bytes in a store, from which nobody has to expect anything. Pure.

A value is a line with the version, a SHA-256 over its key and all that follows, and then what was
kept. So what is cut off, of another key, of another version or of somebody else is seen, and counts
as nothing. It is no signature: who may write to the store may write answers.
"""

from __future__ import annotations

from hashlib import sha256
from math import isfinite
from struct import Struct
from typing import NamedTuple

from wsgate.hooks.cache.memory import Kept
from wsgate.hooks.cache.purging import MARK_SIZE
from wsgate.hooks.cache.terms import MOST_NAMES, is_varying
from wsgate.hooks.hook import Answer

AHEAD = 60.0
"""Seconds that another machine's clock may be ahead."""

_VERSION = b"wsgate cache 1\n"
_CHECK = 32
_HEAD = Struct(f">{MARK_SIZE}scH?dddd")
_START = len(_VERSION) + _CHECK

_TEXT, _BINARY, _VARIANTS = b"t", b"b", b"v"


class Stored(NamedTuple):
    """What stands in a store: an answer, or the names that answers vary on.

    `asked` is when PHP was asked, Unix time; `fresh`, `revalidating` and `failing` are seconds from
    then.
    """

    mark: bytes
    asked: float
    fresh: float
    revalidating: float
    failing: float
    answer: Answer | None = None
    names: tuple[str, ...] = ()

    def kept(self, now: float, wall: float) -> Kept | None:
        """The answer by a clock that says `now` where Unix time is `wall`."""
        if self.answer is None:
            return None
        asked = now - max(0.0, wall - self.asked)
        return Kept(
            self.answer, asked + self.fresh, asked + self.revalidating, asked + self.failing
        )


def write(key: bytes, stored: Stored) -> bytes:
    """`stored` as the value of `key`."""
    answer = stored.answer
    if answer is None:
        kind, status, payload = _VARIANTS, 0, "\n".join(stored.names).encode()
    else:
        kind = _BINARY if answer.is_binary else _TEXT
        status, payload = answer.status, bytes(answer.payload or b"")
    has_payload = answer is None or answer.payload is not None
    head = _HEAD.pack(stored.mark, kind, status, has_payload, *stored[1:5])
    return _VERSION + sha256(key + head + payload).digest() + head + payload


def read(key: bytes, value: object, wall: float) -> Stored | None:
    """What `write` has made the value of `key`; None for anything else."""
    if not isinstance(value, bytes) or not value.startswith(_VERSION):
        return None
    rest = value[_START:]
    if len(rest) < _HEAD.size or value[len(_VERSION) : _START] != sha256(key + rest).digest():
        return None
    mark, kind, status, has_payload, *times = _HEAD.unpack_from(rest)
    asked, fresh, revalidating, failing = times
    if not all(map(isfinite, times)) or asked > wall + AHEAD:
        return None
    stored = Stored(mark, asked, fresh, revalidating, failing)
    payload = rest[_HEAD.size :]
    if kind == _VARIANTS:
        names = _names(payload)
        return stored._replace(names=names) if names else None
    answer = _answer(kind, status, payload if has_payload else None)
    return stored._replace(answer=answer) if answer is not None else None


def _names(payload: bytes) -> tuple[str, ...]:
    names = tuple(payload.decode("latin-1").split("\n"))
    is_fit = len(names) <= MOST_NAMES and all(map(is_varying, names))
    return names if is_fit and names == tuple(sorted(set(names))) else ()


def _answer(kind: bytes, status: int, payload: bytes | None) -> Answer | None:
    if kind not in (_TEXT, _BINARY) or status not in (200, 204):
        return None
    if payload is None:
        return Answer(None, kind == _BINARY, status) if status == 204 else None
    if kind == _TEXT and not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            return None
    return Answer(payload, kind == _BINARY, status)
