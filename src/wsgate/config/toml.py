"""The configuration file."""

from __future__ import annotations

import os
import re
import tomllib

from wsgate.config.errors import ConfigError, as_written, escaped
from wsgate.config.sources import Key, Source, dotted

# Far beyond any real file; a device or a log given by mistake must not fill the memory.
LARGEST_FILE = 4 * 2**20


def read(path: str, folder: str = "") -> Source:
    """Return the TOML file at `path` as a source; relative file names in it begin at its folder.

    `path` itself begins at `folder`, by default the working directory.

    Raises:
        ConfigError: it cannot be read, or is not TOML; with the line.
    """
    shown = escaped(path)
    # An empty path is no file, rather than the folder.
    full = path and os.path.join(folder, path)
    try:
        with open(full, "rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    # ValueError: a NUL in the name.
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config {shown}: {_reason(error)}") from None
    if len(raw) > LARGEST_FILE:
        raise ConfigError(f"--config {shown}: larger than 4MiB; is it a configuration file?")
    tree = _parse(raw, shown)

    def place(key: Key) -> str:
        return f"{shown}: {dotted(key)}"

    def write(key: Key, value: object) -> str:
        return f"{shown}: {dotted(key)} = {as_written(value)}"

    return Source(tree, os.path.dirname(os.path.abspath(full)), place, write)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "not readable by this user"
    if isinstance(error, IsADirectoryError):
        return "a folder; give a TOML file"
    return escaped(getattr(error, "strerror", None) or str(error))


def _parse(raw: bytes, shown: str) -> dict[str, object]:
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{shown}, line {line}: not UTF-8 text") from None
    except RecursionError:
        raise ConfigError(f"{shown}: brackets nested too deeply") from None
    # tomllib's own error is a ValueError too; int() of thousands of digits raises another.
    except ValueError as error:
        raise ConfigError(_syntax_error(shown, str(error), raw)) from None


def _syntax_error(shown: str, message: str, raw: bytes) -> str:
    found = re.search(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)$", message)
    if found is None:
        return f"{shown}: {escaped(message)}"
    words = escaped(message[: found.start()])
    if found[1] is None:
        last = raw.rstrip().count(b"\n") + 1
        return f"{shown}, line {last}, at its end: {words}"
    return f"{shown}, line {found[1]}, column {found[2]}: {words}"
