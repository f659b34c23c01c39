"""The path and the query of a request's target, read strictly (RFC 3986 §2.1, §3.3, §3.4). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

_TEXT = re.compile(r"(?:[\x21-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})*")
_LONGEST_NAMED = 40


class Malformed(ValueError):
    """A target that is not read; `str()` says why."""


def read_segments(path: str) -> tuple[str, ...]:
    """The segments of a path, each decoded by itself: `%2F` is a character of its segment.

    Raises:
        Malformed: a character that no path has, a `%` without two digits, or no UTF-8.
    """
    return tuple(_decoded(segment, "path") for segment in path.removeprefix("/").split("/"))


def read_query(query: str, names: frozenset[str]) -> Mapping[str, str]:
    """The values of a query, `+` being a space; a name without `=` has an empty one.

    Raises:
        Malformed: as `read_segments`, or a name that is none of `names` or there twice.
    """
    values: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = (
            _decoded(half, "query") for half in pair.replace("+", "%20").partition("=")
        )
        if name not in names:
            raise Malformed(f"unknown parameter {name[:_LONGEST_NAMED]!r}; {_known(names)}")
        if name in values:
            raise Malformed(f"parameter {name} is given twice")
        values[name] = value
    return values


def _known(names: frozenset[str]) -> str:
    return f"known: {', '.join(sorted(names))}" if names else "there is none here"


def _decoded(text: str, where: str) -> str:
    if _TEXT.fullmatch(text) is None:
        raise Malformed(f"the {where} is not percent-encoded rightly")
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise Malformed(f"the {where} is not UTF-8") from None
