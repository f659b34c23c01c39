"""Reads what PHP's `serialize` writes, and makes no object of it. Pure.

The format is that of ext/standard/var_unserializer.re in PHP 8, less what `serialize` never writes
(`S:`, `o:`): those are refused. Each byte is looked at once, whatever the input is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import TypeAlias

MAX_DEPTH = 64
"""Arrays and objects inside each other."""

MAX_VALUES = 20_000
"""Of one session, those inside arrays and objects among them."""


class Unreadable(ValueError):
    """It is not PHP's serialization, or more of it than is read. The text names no content."""


class Opaque(Enum):
    """Stands for what is never looked into."""

    OBJECT = "an object, an enum's case, or what is known only to PHP"


class Float(float):
    """A float, which remembers how PHP wrote it."""

    written: str


Value: TypeAlias = "bool | int | float | bytes | Opaque | Mapping[bytes, Value] | None"
"""What is read. Strings are bytes. Arrays have all keys as bytes, whole numbers in decimal, as PHP
takes "5" and 5 for the same key. An array that PHP refers to from two places is the same Mapping,
which may hold itself."""

# Digits are bounded, so that no number takes longer than its place in the input.
_TOKEN = re.compile(
    rb"N;"
    rb"|b:(?P<bool>[01]);"
    rb"|i:(?P<int>[+-]?[0-9]{1,20});"
    rb"|d:(?P<float>-?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?(?:E[+-]?[0-9]{1,4})?|INF)|NAN);"
    rb'|s:(?P<string>[0-9]{1,10}):"'
    rb"|a:(?P<array>[0-9]{1,10}):\{"
    rb'|O:(?P<object>[0-9]{1,10}):"'
    rb'|C:(?P<custom>[0-9]{1,10}):"'
    rb'|E:(?P<enum>[0-9]{1,10}):"'
    rb"|R:(?P<same>[0-9]{1,10});"
    rb"|r:(?P<handle>[0-9]{1,10});"
)
_KEY = re.compile(rb'i:(?P<int>[+-]?[0-9]{1,20});|s:(?P<string>[0-9]{1,10}):"')
_COUNT = re.compile(rb":([0-9]{1,10}):\{")
_INT64 = range(-(2**63), 2**63)


class Reader:
    """Reads values one after the other; references count through all of them, as in PHP."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        # By their number in references, from 1. None when numbers are not known any more.
        self._slots: list[Value] | None = []
        self._left = MAX_VALUES

    @property
    def at(self) -> int:
        """How many bytes have been read."""
        return self._at

    def skip(self, size: int) -> None:
        """Pass over what the caller has read itself."""
        self._at += size

    def value(self, depth: int = MAX_DEPTH) -> Value:
        """The next value, with at most `depth` levels of arrays and objects in it.

        Raises:
            Unreadable: there is none, or there is too much in it.
        """
        found = self._match(_TOKEN)
        self._left -= 1
        if self._left < 0:
            raise Unreadable(f"more than {MAX_VALUES} values")
        kind = found.lastgroup
        if kind == "array":
            return self._array(int(found["array"]), depth)
        if kind == "same":
            return self._referred(int(found["same"]))
        if kind in ("object", "custom", "enum"):
            return self._object(kind, int(found[kind]), depth)
        value = self._handle(found) if kind == "handle" else self._scalar(kind, found)
        self._keep(value)
        return value

    def _match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        found = pattern.match(self._data, self._at)
        if found is None:
            raise Unreadable(f"no serialized value at byte {self._at}")
        self._at = found.end()
        return found

    def _keep(self, value: Value) -> None:
        if self._slots is not None:
            self._slots.append(value)

    def _scalar(self, kind: str | None, found: re.Match[bytes]) -> Value:
        if kind == "int":
            return _int64(found["int"])
        if kind == "string":
            return self._text(int(found["string"]), b'";')
        if kind == "bool":
            return found["bool"] == b"1"
        if kind == "float":
            value = Float(found["float"])
            value.written = found["float"].decode()
            return value
        return None

    def _text(self, size: int, end: bytes) -> bytes:
        start, stop = self._at, self._at + size
        if not self._data.startswith(end, stop):
            raise Unreadable(f"no string of that length at byte {start}")
        self._at = stop + len(end)
        return self._data[start:stop]

    def _array(self, count: int, depth: int) -> Value:
        array: dict[bytes, Value] = {}
        self._keep(array)
        self._fill(array, count, depth)
        return array

    def _fill(self, array: dict[bytes, Value], count: int, depth: int) -> None:
        if depth <= 0:
            raise Unreadable(f"more than {MAX_DEPTH} levels")
        # Nothing is made for a count that is only said.
        for _ in range(count):
            key = self._key()
            array[key] = self.value(depth - 1)
        if not self._data.startswith(b"}", self._at):
            raise Unreadable(f"no end of an array or object at byte {self._at}")
        self._at += 1

    def _key(self) -> bytes:
        found = self._match(_KEY)
        if found.lastgroup == "int":
            return b"%d" % _int64(found["int"])
        return self._text(int(found["string"]), b'";')

    def _referred(self, number: int) -> Value:
        """A PHP reference: the same value as another, and no value of its own."""
        if self._slots is None:
            return Opaque.OBJECT
        if not 1 <= number <= len(self._slots):
            raise Unreadable(f"a reference to nothing before byte {self._at}")
        return self._slots[number - 1]

    def _handle(self, found: re.Match[bytes]) -> Value:
        """An object once more."""
        self._referred(int(found["handle"]))
        return Opaque.OBJECT

    def _object(self, kind: str, size: int, depth: int) -> Value:
        self._keep(Opaque.OBJECT)
        if kind == "enum":
            self._text(size, b'";')
            return Opaque.OBJECT
        self._text(size, b'"')
        count = int(self._match(_COUNT)[1])
        if kind == "object":
            self._fill({}, count, depth)
            return Opaque.OBJECT
        # What a class has written itself may count as any number of values.
        self._text(count, b"}")
        self._slots = None
        return Opaque.OBJECT


def _int64(digits: bytes) -> int:
    number = int(digits)
    if number not in _INT64:
        raise Unreadable("a whole number of more than 64 bits")
    return number


def unserialize(data: bytes) -> Value:
    """The one value that `data` is.

    Raises:
        Unreadable: it is not one, or more than is read.
    """
    reader = Reader(data)
    value = reader.value()
    if reader.at != len(data):
        raise Unreadable(f"something follows at byte {reader.at}")
    return value
