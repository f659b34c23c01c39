"""Finds the PHP that wsgate can run as a FastCGI application."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from typing import Literal, NamedTuple

from wsgate.php.errors import PHPNotFound

Kind = Literal["php-fpm", "php-cgi"]

# A daemon is often not on a user's PATH: Debian has php-fpm8.2 in /usr/sbin alone.
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin")

# Debian writes php-fpm8.4, Alpine php-fpm84, Fedora and Arch php-fpm.
_NAME = re.compile(r"php-(fpm|cgi)(?:(\d)\.?(\d+))?")
_BANNER = re.compile(r"^PHP (\d\S*) \(([a-z-]+)\)", re.MULTILINE)
_KINDS: dict[str, Kind] = {"fpm-fcgi": "php-fpm", "cgi-fcgi": "php-cgi"}

# A PHP with slow extensions takes a second; one that never answers must not stop the start.
_PATIENCE = 10.0

_MEND = "install PHP-FPM (Debian: apt install php-fpm), or name a running one with --fastcgi"


class Program(NamedTuple):
    """A PHP that speaks FastCGI: its absolute path, and what it says of itself."""

    kind: Kind
    path: str
    version: str
    opcache: bool = True


def find_php(program: str | None = None, search_path: str | None = None) -> Program:
    """Find php-fpm, else php-cgi; among several the plain name first, then the newest version.

    `search_path` is a list of folders as in PATH, which it replaces; the folders of system daemons
    are looked at after it. Folders that are not absolute are passed over. With `program`, a path or
    a name to look up, only that one is considered. Each candidate is asked for its version, so a
    broken one is passed over.

    Raises:
        PHPNotFound: nothing found, or `program` is no FastCGI PHP.
    """
    folders = _folders(os.environ.get("PATH", os.defpath) if search_path is None else search_path)
    if program is not None:
        return _ask(_locate(program, folders))
    broken = ""
    for candidate in _candidates(folders):
        try:
            return _ask(candidate)
        except PHPNotFound as error:
            broken = broken or f" ({error})"
    raise PHPNotFound(f"no php-fpm and no php-cgi found on PATH{broken}: {_MEND}")


def _folders(search_path: str) -> list[str]:
    named = [folder for folder in search_path.split(os.pathsep) if os.path.isabs(folder)]
    return list(dict.fromkeys([*named, *SYSTEM_FOLDERS]))


def _locate(program: str, folders: list[str]) -> str:
    if os.sep in program:
        path = os.path.abspath(program)
        if not os.path.isfile(path):
            raise PHPNotFound(f"PHP program {program!r}: no such file; {_MEND}")
        if not os.access(path, os.X_OK):
            raise PHPNotFound(f"PHP program {program!r}: not executable; {_MEND}")
        return path
    for folder in folders:
        path = os.path.join(folder, program)
        if _is_program(path):
            return path
    raise PHPNotFound(f"PHP program {program!r}: not found on PATH; {_MEND}")


def _candidates(folders: list[str]) -> Iterator[str]:
    found: list[tuple[bool, float, int, int, str]] = []
    for place, folder in enumerate(folders):
        for name in _names_in(folder):
            match = _NAME.fullmatch(name)
            path = os.path.join(folder, name)
            if match and _is_program(path):
                kind, major, minor = match.groups()
                # The plain name is the one the administrator chose, so it goes first.
                newest = (-int(major), -int(minor)) if major else (float("-inf"), 0)
                found.append((kind == "cgi", *newest, place, path))
    for candidate in sorted(found):
        yield candidate[-1]


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _ask(path: str) -> Program:
    try:
        answer = subprocess.run(
            [path, "-v"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PHPNotFound(f"{path} -v gave no answer within {_PATIENCE:g} s; {_MEND}") from None
    except OSError as error:
        raise PHPNotFound(f"{path} cannot be run: {error.strerror}; {_MEND}") from None
    said = answer.stdout.decode("utf-8", "replace")
    banner = _BANNER.search(said)
    if banner is None:
        raise PHPNotFound(f"{path} is not PHP: {path} -v does not say so; {_MEND}")
    version, interface = banner.groups()
    if interface not in _KINDS:
        raise PHPNotFound(
            f"{path} is the {interface!r} kind of PHP, which does not speak FastCGI; {_MEND}"
        )
    return Program(_KINDS[interface], path, version, "Zend OPcache" in said)
