"""The errors of this room, and the words its messages are made of."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# Long enough for a path or an endpoint, short enough to leave one line readable.
LONGEST_SHOWN = 100


class ConfigError(ValueError):
    """A setting or option is wrong. `str()` is one line: the place, the value, and the mend."""


class OptionError(ValueError):
    """An option of a hook cannot be as it is; the text is the tail of the error line.

    `option` is its name, empty where it is about all of them.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


# Whatever stands in a URL before its last @, and whatever looks like it.
_SECRET = re.compile(r":[^\s\"]*@")


def escaped(text: str, longest: int = LONGEST_SHOWN) -> str:
    """Return `text` on one line: what a terminal would not print is shown as an escape.

    Of `longest` characters at most.

    A password in a URL is not shown.
    """
    text = _SECRET.sub(":***@", text)
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def as_written(value: object) -> str:
    """Return a TOML value much as the file has it, on one line of bounded length."""
    if isinstance(value, str):
        return '"' + escaped(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 128:
        # Python refuses to write out integers of thousands of digits.
        return "an enormous number"
    if isinstance(value, dict):
        return "{…}" if value else "{}"
    if isinstance(value, (list, tuple)):
        if any(isinstance(item, (list, tuple)) for item in value):
            return "[[…]]"
        return escaped("[" + ", ".join(map(as_written, value[:9])) + "]")
    return escaped(str(value))


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return `; did you mean PREFIXNEAREST?`, or the known names where none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"; did you mean {prefix}{near[0]}?"
    return f"; known: {', '.join(names)}" if names else ""
