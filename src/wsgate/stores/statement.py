"""An SQL statement with `?` where values go, cut there. Pure.

What is in quotes, in a comment or a name stays as it is. Where a server's settings decide how text
is read, the statement is refused instead of being guessed at.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

Dialect: TypeAlias = Literal["postgresql", "mysql"]

SQLValue: TypeAlias = str | int | float | bytes | None

LONGEST = 65_536
"""Characters of a statement."""


class StatementError(ValueError):
    """A statement that cannot be used; the text says why, and shows nothing of it."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What stands before, between and behind the values."""

    pieces: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many values it needs."""
        return len(self.pieces) - 1


_NAME = r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*"
_SINGLE = r"'(?:[^']|'')*'"
_DOUBLE = r'"(?:[^"]|"")*"'

# In this order. Whatever is in none of them stands for itself, one character at a time.
_TOKENS: dict[Dialect, re.Pattern[str]] = {
    "postgresql": re.compile(
        rf"""(?P<escaped>[eE](?='))
        | (?P<name>{_NAME})
        | (?P<tag>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
        | (?P<numbered>\$[0-9])
        | (?P<line>--[^\r\n]*)
        | (?P<comment>/\*)
        | (?P<quoted>{_SINGLE}|{_DOUBLE})
        | (?P<literal>\?\?) | (?P<value>\?) | (?P<end>;) | (?P<open>['"]) | (?P<nul>\x00)
        """,
        re.VERBOSE,
    ),
    "mysql": re.compile(
        rf"""(?P<name>{_NAME}|[0-9]+(?:{_NAME})?)
        | (?P<tag>\$\$)
        | (?P<line>\#[^\n]*|--(?=[\x00-\x20]|\Z)[^\n]*)
        | (?P<special>/\*M?!)
        | (?P<comment>/\*)
        | (?P<quoted>{_SINGLE}|{_DOUBLE}|`(?:[^`]|``)*`)
        | (?P<literal>\?\?) | (?P<value>\?) | (?P<end>;) | (?P<open>['"`]) | (?P<nul>\x00)
        """,
        re.VERBOSE,
    ),
}

_REFUSED = {
    "escaped": "has E'…', whose quotes may be escaped; pass the text as a value",
    "numbered": "has $1; write ? where a value goes",
    "special": "has a comment that the server executes (/*! …)",
    "open": "has a quote that does not end",
    "nul": "has a NUL character in it",
}


@lru_cache(maxsize=256)
def parse(sql: str, dialect: Dialect) -> Statement:
    """Cut a statement where its values go; `??` stands for a question mark.

    Raises:
        StatementError: it is empty, too long, more than one, or not sure to be read by the server
            as it is here.
    """
    if len(sql) > LONGEST:
        raise StatementError(f"longer than {LONGEST} characters")
    pieces: list[str] = []
    piece: list[str] = []
    position, is_over = 0, False
    while position < len(sql):
        match = _TOKENS[dialect].match(sql, position)
        kind = match.lastgroup or "" if match is not None else ""
        text = match[0] if match is not None else sql[position]
        if kind == "comment":
            text = _comment(sql, position, nested=dialect == "postgresql")
        elif kind == "tag":
            text = _dollars(sql, position, text, dialect)
        elif kind in _REFUSED:
            raise StatementError(_REFUSED[kind])
        elif kind == "quoted" and dialect == "mysql" and "\\" in text and text[0] != "`":
            raise StatementError("has a backslash in quotes; pass the text as a value")
        position += len(text)
        if is_over and kind not in ("line", "comment") and not text.isspace():
            raise StatementError("more than one statement")
        if kind == "end":
            is_over = True
        elif kind == "value":
            pieces.append("".join(piece))
            piece = []
        else:
            piece.append("?" if kind == "literal" else text)
    pieces.append("".join(piece))
    if not "".join(pieces).strip():
        raise StatementError("empty")
    return Statement(tuple(pieces))


def _comment(sql: str, start: int, *, nested: bool) -> str:
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(sql, start):
        depth += 1 if match[0] == "/*" and (nested or not depth) else -(match[0] == "*/")
        if depth == 0:
            return sql[start : match.end()]
    raise StatementError("has a comment that does not end")


def _dollars(sql: str, start: int, tag: str, dialect: Dialect) -> str:
    end = sql.find(tag, start + len(tag))
    if end < 0 or dialect == "mysql":
        raise StatementError("has a quote that does not end")
    return sql[start : end + len(tag)]


def numbered(statement: Statement) -> str:
    """The statement with $1, $2 … where values go, as PostgreSQL wants it."""
    first, *others = statement.pieces
    # Blanks, for `?1` would be another number.
    return first + "".join(f" ${n} {piece}" for n, piece in enumerate(others, 1))


def with_literals(statement: Statement, values: tuple[SQLValue, ...]) -> str:
    """The statement with `values` in it, so that no setting of MySQL's can read them otherwise.

    Texts are written in hexadecimal, in which there is nothing to escape.

    Raises:
        StatementError: a value is none that can be written.
    """
    first, *others = statement.pieces
    return first + "".join(
        f" {_literal(value)} {piece}" for value, piece in zip(values, others, strict=True)
    )


def _literal(value: SQLValue) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise StatementError("a number that is not finite")
        return repr(float(value))
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, str):
        try:
            return f"_utf8mb4 X'{value.encode().hex()}'"
        except UnicodeEncodeError:
            raise StatementError("a text that is not Unicode") from None
    raise StatementError("neither text, number, bytes nor None")
