"""What a setting may hold: each kind parses a TOML value, checks its range and shows it.

A kind's `parse` raises ValueError with the tail of the error line ("not a size; write …");
whoever knows the place puts it in front.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from wsgate.config.errors import as_written
from wsgate.config.units import parse_size, parse_time, show_size, show_time


class Kind(Protocol):
    """One kind of value. `unit` and `bounds` are words for the settings page and `--help`."""

    @property
    def unit(self) -> str: ...

    @property
    def bounds(self) -> str: ...

    def parse(self, value: object, folder: str, /) -> object:
        """Return the typed value; relative file names are taken from `folder`."""

    def show(self, value: object) -> str:
        """Return a typed value as a user would write it."""


class WrongItem(ValueError):
    """One item of a list is wrong; `item` is that item as written."""

    def __init__(self, item: object, message: str) -> None:
        super().__init__(message)
        self.item = item


@dataclass(frozen=True, slots=True)
class _Quantity:
    """A number between `low` and `high`, both allowed; 0 means none where `zero` says so."""

    low: int | float
    high: int | float
    zero: bool = False

    def show(self, value: object) -> str:
        return str(value)

    @property
    def bounds(self) -> str:
        span = f"{self.show(self.low)} to {self.show(self.high)}"
        return f"{span}, or 0 for none" if self.zero else span

    def _within(self, value: int | float) -> None:
        if value == 0 and self.zero:
            return
        # Written so that nan fails too.
        if not (self.low <= value <= self.high):
            raise ValueError(f"out of range; {self.bounds}")


class Size(_Quantity):
    """Bytes, as int."""

    __slots__ = ()
    unit = "size"

    def parse(self, value: object, _folder: str, /) -> int:
        size = parse_size(value)
        self._within(size)
        return size

    def show(self, value: object) -> str:
        return show_size(value) if isinstance(value, int) else str(value)


class Time(_Quantity):
    """Seconds, as float."""

    __slots__ = ()
    unit = "time"

    def parse(self, value: object, _folder: str, /) -> float:
        seconds = parse_time(value)
        self._within(seconds)
        return seconds

    def show(self, value: object) -> str:
        if isinstance(value, (int, float)) and math.isfinite(value):
            return show_time(value)
        return str(value)


class Count(_Quantity):
    """A whole number."""

    __slots__ = ()
    unit = "number"

    def parse(self, value: object, _folder: str, /) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("not a whole number")
        self._within(value)
        return value

    def show(self, value: object) -> str:
        return "automatic" if value is None else super().show(value)


class Workers(Count):
    """How many processes; 0 stands for `auto`, until the pools are known."""

    __slots__ = ()

    def parse(self, value: object, folder: str, /) -> int:
        if value == "auto":
            return 0
        try:
            return super().parse(value, folder)
        except ValueError as error:
            mend = "" if str(error).startswith("out") else f"; write {self.bounds}"
            raise ValueError(f"{error}{mend}") from None

    @property
    def bounds(self) -> str:
        return f'{self.low} to {self.high}, or "auto"'


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    unit = "true or false"
    bounds = ""

    def parse(self, value: object, _folder: str, /) -> bool:
        if not isinstance(value, bool):
            raise ValueError("write true or false, without quotes")
        return value

    def show(self, value: object) -> str:
        return "automatic" if value is None else as_written(value)


def text(value: object) -> str:
    """Return `value` if it is a text that can stand on one line.

    Raises:
        ValueError: it is no text, is empty, or holds a control character or half a surrogate pair.
    """
    if not isinstance(value, str):
        raise ValueError("not a text; write it in quotes")
    if not value:
        raise ValueError("empty")
    if re.search(r"[\x00-\x1f\x7f-\x9f]", value):
        raise ValueError("has a control character in it")
    return value


@dataclass(frozen=True, slots=True)
class Text:
    """A text, which `check` may refuse by ValueError or return in its normal form.

    No error shows one that `is_secret`.
    """

    check: Callable[[str], str] = str
    unit: str = "text"
    bounds: str = ""
    is_secret: bool = False

    def parse(self, value: object, _folder: str, /) -> str:
        return self.check(text(value))

    def show(self, value: object) -> str:
        return "none" if value is None else as_written(value)


@dataclass(frozen=True, slots=True)
class Texts:
    """Several texts; one alone needs no list. `at_least` of them, each different."""

    check: Callable[[str], str] = str
    unit: str = "list of texts"
    at_least: int = 0
    bounds: str = ""

    def parse(self, value: object, _folder: str, /) -> tuple[str, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list):
            raise ValueError('not a list of texts; write ["…", "…"]')
        if len(items) < self.at_least:
            raise ValueError("empty; one at least is needed")
        parsed: dict[str, None] = {}
        for item in items:
            try:
                normal = self.check(text(item))
            except ValueError as error:
                raise WrongItem(item, str(error)) from None
            if normal in parsed:
                raise WrongItem(item, "given twice")
            parsed[normal] = None
        return tuple(parsed)

    def show(self, value: object) -> str:
        return "none" if not value else as_written(value)


@dataclass(frozen=True, slots=True)
class Path:
    """A file or folder, made absolute. With `program`, a name without `/` is left as it is."""

    unit: str = "file"
    program: bool = False
    bounds: str = ""

    def parse(self, value: object, folder: str, /) -> str:
        name = text(value)
        try:
            os.fsencode(name)
        except UnicodeEncodeError:
            raise ValueError("not a file name") from None
        if self.program and "/" not in name:
            return name
        path = os.path.abspath(os.path.join(folder, name))
        # POSIX lets two leading slashes mean something else; Linux does not, comparing would.
        return "/" + path.lstrip("/")

    def show(self, value: object) -> str:
        return "none" if value is None else as_written(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]
    unit = "word"

    @property
    def bounds(self) -> str:
        return " or ".join(self.words)

    def parse(self, value: object, _folder: str, /) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise ValueError(f"write {' or '.join(as_written(word) for word in self.words)}")
        return value

    def show(self, value: object) -> str:
        return as_written(value)


@dataclass(frozen=True, slots=True)
class Ini:
    """A table of php.ini directives; numbers and true/false become PHP's own texts."""

    unit = "table"
    bounds = ""

    def parse(self, value: object, _folder: str, /) -> dict[str, str]:
        if not isinstance(value, dict):
            raise ValueError('not a table; write memory_limit = "256M" below [pools.NAME.ini]')
        return {
            self._name(name): self._value(name, held) for name, held in self._flat(value, "", 4)
        }

    def show(self, value: object) -> str:
        return "none" if not value else as_written(value)

    @classmethod
    def _flat(
        cls, table: dict[str, object], prefix: str, depth: int
    ) -> Iterator[tuple[str, object]]:
        """Undo what TOML makes of the dot in `opcache.enable = 1`: a table in a table."""
        for name, held in table.items():
            if isinstance(held, dict) and depth:
                yield from cls._flat(held, f"{prefix}{name}.", depth - 1)
            else:
                yield prefix + name, held

    @staticmethod
    def _name(name: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name):
            raise WrongItem(name, "not the name of a php.ini directive")
        return name

    @staticmethod
    def _value(name: str, held: object) -> str:
        if isinstance(held, bool):
            return "1" if held else "0"
        # False for nan and infinity too.
        if isinstance(held, (int, float)) and abs(held) < 2**63:
            return str(held)
        if held == "":
            return ""
        try:
            return text(held)
        except ValueError as error:
            raise WrongItem(held, f"{error} ({name})") from None
