"""Functions that exist twice: in Python, and compiled in `_speedups.c`.

The Python is the reference. The compiled one gives the same result for the same arguments and is
used where it was built, unless the environment says `WSGATE_PURE_PYTHON=1`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])

PURE: dict[str, Callable[..., Any]] = {}
"""The Python of each such function, by name."""


def _speedups() -> ModuleType | None:
    if os.environ.get("WSGATE_PURE_PYTHON", "") not in ("", "0"):
        return None
    try:
        return import_module("wsgate._speedups")
    except ImportError:
        return None


_module = _speedups()

DESCRIPTION = "compiled" if _module is not None else "pure Python"
"""Which of the two is in use, for people."""


def compiled(function: _Function) -> _Function:
    """The compiled function of the same name; `function` itself where none was built."""
    PURE[function.__name__] = function
    replacement: _Function = getattr(_module, function.__name__, function)
    return replacement
