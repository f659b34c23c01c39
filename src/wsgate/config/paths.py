"""Files and folders that settings name: whether they are there."""

from __future__ import annotations

import os

from wsgate.config.errors import ConfigError, as_written


def check_file(path: str, written: str) -> None:
    """See whether a file is there and can be read.

    Args:
        path: absolute.
        written: the setting with its value, for the error.

    Raises:
        ConfigError: it is not.
    """
    shown = _resolved(path, written)
    if not os.path.exists(path):
        raise ConfigError(f"{written}: no such file{shown}")
    if os.path.isdir(path):
        raise ConfigError(f"{written}: a folder; give a file{shown}")
    if not os.access(path, os.R_OK):
        raise ConfigError(f"{written}: not readable by this user{shown}")


def check_folder(path: str, written: str) -> None:
    """As `check_file`, of a folder."""
    shown = _resolved(path, written)
    if not os.path.isdir(path):
        raise ConfigError(f"{written}: no such folder{shown}")
    if not os.access(path, os.R_OK | os.X_OK):
        raise ConfigError(f"{written}: not readable by this user{shown}")


def _resolved(path: str, written: str) -> str:
    """Say where a relative name led, which the user cannot see."""
    return "" if path in written else f" ({as_written(path)})"
