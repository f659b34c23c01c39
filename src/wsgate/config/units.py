"""Sizes and times as people write them: `64KiB`, `250ms`."""

from __future__ import annotations

import re

SIZE_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
TIME_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}

KIB, MIB, GIB = SIZE_UNITS.values()

# Few digits on purpose: int() refuses thousands of them with an error of its own.
_SIZE = re.compile(r"([0-9]{1,18}) ?(KiB|MiB|GiB|)", re.ASCII)
_TIME = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?(ms|s|min|h|)", re.ASCII)


def parse_size(value: object) -> int:
    """Return bytes from `"64KiB"`, `"1MiB"`, `"2GiB"`, `"512"` or a plain integer of bytes.

    Raises:
        ValueError: it is anything else; the message says what is right.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not a size; write bytes or KiB/MiB/GiB, like 1MiB")
    return int(match[1]) * SIZE_UNITS.get(match[2], 1)


def parse_time(value: object) -> float:
    """Return seconds from `"250ms"`, `"5s"`, `"2min"`, `"1h"`, `"1.5"` or a number of seconds.

    Raises:
        ValueError: it is anything else; the message says what is right.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return float("inf")
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not a time; write seconds or ms/s/min/h, like 5s")
    # Division keeps 250ms at exactly 0.25, where 250 * 0.001 would not.
    if match[2] == "ms":
        return float(match[1]) / 1000
    return float(match[1]) * TIME_UNITS.get(match[2], 1.0)


def show_size(size: int) -> str:
    """Return `size` bytes in the largest unit that divides it: `1MiB`, `125 bytes`."""
    for unit, factor in reversed(SIZE_UNITS.items()):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return "1 byte" if size == 1 else f"{size} bytes"


def show_time(seconds: float) -> str:
    """Return `seconds` in the largest unit that leaves a whole number: `1h`, `5s`, `250ms`."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:g}ms"
    for unit, factor in (("h", 3600), ("min", 60)):
        if seconds and seconds % factor == 0:
            return f"{seconds // factor:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{seconds}s"
