"""The words beside each setting.

They are the only list there is: the settings page (`python -m wsgate.config`), `twistd wsgate
--help` and the error messages are made from it.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any

from wsgate.config.kinds import Kind


@dataclass(frozen=True, slots=True)
class About:
    """What people read about one setting."""

    kind: Kind
    what: str
    limit: str
    why: str
    follows: str | None


def about(
    kind: Kind, what: str, *, limit: str = "", why: str, follows: str | None = None
) -> dict[str, About]:
    """Make a field's metadata.

    `what` it is, in a line for `--help`; what happens at the `limit`; `why` this default. Left
    out, a setting takes the value of the one it `follows`, if that was given.
    """
    return {"about": About(kind, what, limit, why, follows)}


def described(section: type) -> dict[str, About]:
    """Return the words for each setting of a section, in the order of its fields."""
    return {f.name: f.metadata["about"] for f in fields(section) if "about" in f.metadata}


def default_of(section: type, name: str) -> Any:
    """Return the default of a setting; None where it must be given."""
    found = next(one for one in fields(section) if one.name == name)
    if found.default is not MISSING:
        return found.default
    return found.default_factory() if found.default_factory is not MISSING else None


def is_needed(section: type, name: str) -> bool:
    """Whether a setting must be given."""
    found = next(one for one in fields(section) if one.name == name)
    return found.default is MISSING and found.default_factory is MISSING
