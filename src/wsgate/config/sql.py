"""The options of the hook `sql`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from wsgate.config import checks
from wsgate.config.about import about
from wsgate.config.errors import OptionError, as_written
from wsgate.config.kinds import Choice, Count, Size, Text, WrongItem, text
from wsgate.config.units import KIB, MIB

_NAMED = ("cookie", "query", "header", "param", "json")
_ALONE = ("user", "address", "path", "message")
SOURCES = (*(f"{kind}:NAME" for kind in _NAMED), *_ALONE)
OF_MESSAGES = ("message", "json")
"""Those that only a message has."""


class _Statement(Text):
    """SQL, which may be several lines."""

    def parse(self, value: object, _folder: str, /) -> str:
        if not isinstance(value, str):
            raise ValueError("not a text; write it in quotes")
        if not value.strip():
            raise ValueError("empty")
        return value


class _Sources:
    """Where values come from, in the order of the statement; the same may be there twice."""

    unit = "list of sources"
    bounds = ", ".join(SOURCES)

    def parse(self, value: object, _folder: str, /) -> tuple[str, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list):
            raise ValueError('not a list of texts; write ["…", "…"]')
        for item in items:
            try:
                _check_source(text(item))
            except ValueError as error:
                raise WrongItem(item, str(error)) from None
        return tuple(items)

    def show(self, value: object) -> str:
        """As a user would write it."""
        return "none" if not value else as_written(value)


def _check_source(value: str) -> None:
    kind, colon, name = value.partition(":")
    if (kind in _NAMED and colon and name) or value in _ALONE:
        return
    raise ValueError(f"not where a value comes from; write one of {', '.join(SOURCES)}")


class _Params:
    """Params for PHP and the columns they are of: a table, or the columns alone."""

    unit = "table, or list of columns"
    bounds = ""

    def parse(self, value: object, _folder: str, /) -> dict[str, str]:
        columns = [value] if isinstance(value, str) else value
        if isinstance(columns, list):
            columns = {_param_of(text(column)): column for column in columns}
        if not isinstance(columns, dict):
            raise ValueError('not a table; write { USER_PLAN = "plan" }, or ["plan"]')
        for param, column in columns.items():
            if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", param):
                raise WrongItem(param, "not the name of a param; at most 64 of A-Z 0-9 _")
            try:
                text(column)
            except ValueError as error:
                raise WrongItem(column, str(error)) from None
        return dict(columns)

    def show(self, value: object) -> str:
        """As a user would write it."""
        return "none" if not value else as_written(value)


def _param_of(column: str) -> str:
    return "SQL_" + re.sub(r"[^A-Z0-9]", "_", column.upper())


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlOptions:
    """Lets in, or lets pass, what one query finds a row for (docs/ask-my-database.md)."""

    store: str = field(
        metadata=about(
            Text(checks.store_name),
            "the database that is asked: a name of [stores]",
            limit="one that is away, slow or talks nonsense: what on_hook_failure says",
            why="it must be given",
        )
    )
    query: str = field(
        metadata=about(
            _Statement(unit="SQL", bounds="one statement"),
            "what it is asked; ? stands for each of `values`, ?? for a question mark",
            limit="no row: refused",
            why="it must be given",
        )
    )
    values: tuple[str, ...] = field(
        default=(),
        metadata=about(
            _Sources(),
            "where the values come from, in the order of the ?; all are text. json: a field of a "
            "message that is a JSON object; param: what a hook before has set",
            limit="one that is missing, empty, or that the database cannot convert: refused",
            why="none: the same question for everybody",
        ),
    )
    on: Literal["connect", "message"] = field(
        default="connect",
        metadata=about(
            Choice(("connect", "message")),
            "whether it is asked once for each client, or for each message",
            why="a client stays who it is",
        ),
    )
    params: Mapping[str, str] = field(
        default_factory=dict,
        metadata=about(
            _Params(),
            "params for PHP, and the columns of the first row they are of; of a list, the column "
            "plan is SQL_PLAN",
            limit="a column that is NULL: no such param",
            why="PHP is told nothing that was not asked for",
        ),
    )
    user_column: str | None = field(
        default=None,
        metadata=about(
            Text(),
            "the column of the first row with the user that the connection is bound to",
            limit="NULL: refused",
            why="none: it stays as it was",
        ),
    )
    status: int = field(
        default=403,
        metadata=about(
            Count(400, 499),
            "what those who are refused are told",
            why="401 makes some clients ask for a password",
        ),
    )
    reason: str = field(
        default="not allowed",
        metadata=about(Text(), "and in words", why="nothing that helps to guess"),
    )
    max_value: int = field(
        default=8 * KIB,
        metadata=about(
            Size(1, MIB),
            "longest value, in UTF-8",
            limit="longer: refused, and the database is not asked",
            why="tokens and names of rooms are short",
        ),
    )

    def __post_init__(self) -> None:
        if self.on == "connect":
            for source in self.values:
                if source.partition(":")[0] in OF_MESSAGES:
                    raise OptionError("values", f'{source} is only there with on = "message"')
