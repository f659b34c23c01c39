"""Claims of a token as params for PHP. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

PREFIX = "WSGATE_CLAIM_"
LONGEST_NAME = 64


class Wanted(NamedTuple):
    """A claim that PHP gets: the name of the param, and where it is in the token."""

    param: str
    path: str


def wanted(text: str) -> Wanted:
    """What `claims` in the settings asks for: `sub`, `address.city`, or `CITY=address.city`.

    In the name of a param everything but letters and digits becomes `_`, one for each run.

    Raises:
        ValueError: the name is too long, or nothing is left of it.
    """
    name, sign, path = text.partition("=")
    if not sign:
        path = text
    elif not re.fullmatch(r"[A-Za-z0-9_]+", name) or not path:
        raise ValueError("write a claim, or NAME=CLAIM with letters, digits and _ in NAME")
    param = PREFIX + re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    if param == PREFIX:
        raise ValueError("give it a name of letters and digits: NAME=CLAIM")
    if len(param) > LONGEST_NAME:
        room = LONGEST_NAME - len(PREFIX)
        raise ValueError(f"its name is longer than {room}; give it another: NAME=CLAIM")
    return Wanted(param, path)


def value_at(claims: dict[str, Any], path: str) -> object:
    """The claim at `path`, None where there is none.

    A dot goes down into an object, unless a claim has that very name: names may be URLs.
    """
    if path in claims:
        return claims[path]
    for dot in re.finditer(r"\.", path):
        inner = claims.get(path[: dot.start()])
        if isinstance(inner, dict):
            found = value_at(inner, path[dot.end() :])
            if found is not None:
                return found
    return None


def as_param(value: object) -> str:
    """A claim as PHP gets it: a text as it is, None as nothing, everything else as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def as_user(value: object) -> str | None:
    """The user that a claim names: a text, or a whole number; None of anything else."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None
