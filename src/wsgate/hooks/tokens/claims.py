"""Claims of a token as params for PHP. Pure."""

from __future__ import annotations

import json
import re
from typing import Any


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
