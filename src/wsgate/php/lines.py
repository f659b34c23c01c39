"""PHP's log, line by line: cut, escaped, and with a level."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from twisted.logger import LogLevel

# php-fpm itself cuts at log_limit = 8192.
LONGEST = 8192

_FPM = re.compile(r"(\[[^\]]{1,40}\] )?(DEBUG|NOTICE|WARNING|ERROR|ALERT): (.*)", re.DOTALL)
_PHP = re.compile(r"PHP (?:(Warning|Deprecated|Notice)|(?:Fatal|Parse|Recoverable fatal) error): ")
_MESSAGE = "PHP message: "
# What follows the first line of a PHP message.
_TRACE = re.compile(r"Stack trace:|#\d+ |Next |  thrown in ")
_LEVELS = {
    "DEBUG": LogLevel.debug,
    "NOTICE": LogLevel.debug,
    "WARNING": LogLevel.warn,
    "ERROR": LogLevel.error,
    "ALERT": LogLevel.error,
}


class LogLine(NamedTuple):
    """One line of PHP's log, printable, without php-fpm's own time."""

    level: Any  # of LogLevel, whose library has no types
    text: str


class LineSplitter:
    """Whole lines out of any pieces of a byte stream; at most `longest` bytes of each."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._begun = b""
        self._cut = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes. A longer line gives its beginning and "...", once."""
        *complete, rest = data.split(b"\n")
        lines = []
        for piece in complete:
            self._grow(piece)
            lines.append(self._take())
        self._grow(rest)
        return [line for line in lines if line]

    def flush(self) -> list[bytes]:
        """What is left at the end of the stream."""
        line = self._take()
        return [line] if line else []

    def _grow(self, piece: bytes) -> None:
        room = self._longest - len(self._begun)
        self._cut = self._cut or len(piece) > room
        self._begun += piece[:room]

    def _take(self) -> bytes:
        line = self._begun.rstrip(b"\r") + (b"..." if self._cut else b"")
        self._begun, self._cut = b"", False
        return line


def escaped(line: bytes) -> str:
    r"""`line` as text in which every character that is not printable is an escape such as \x1b."""
    text = line.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def read_log_line(line: bytes) -> LogLine:
    """One line of php-fpm's or php-cgi's output, with the level it asks for."""
    text = escaped(line)
    if match := _FPM.fullmatch(text):
        time, level, rest = match.groups()
        # Only the master writes the time. A worker's message is a copy of the STDERR of a request,
        # which is logged where it is known what request it was.
        if time and rest.startswith(_MESSAGE):
            return _php_line(rest.removeprefix(_MESSAGE))
        return LogLine(_LEVELS[level], rest)
    return _php_line(text)


def _php_line(text: str) -> LogLine:
    if match := _PHP.match(text):
        return LogLine(LogLevel.warn if match[1] else LogLevel.error, text)
    return LogLine(LogLevel.debug if _TRACE.match(text) else LogLevel.info, text)
