"""memcached's text protocol, as far as wsgate speaks it. Pure.

https://github.com/memcached/memcached/blob/master/doc/protocol.txt. Whatever is not exactly what
was due is a `Nonsense`: there is no way to find the beginning of the next answer then.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Literal, NamedTuple, TypeAlias

LONGEST_KEY = 250
"""Bytes."""

LARGEST_VALUE = 16 * 2**20
"""Bytes; memcached itself takes 1 MiB, unless it is told otherwise."""

LONGEST_EXPIRE = 30 * 86400
"""Seconds; what is longer memcached takes for a date."""

_LONGEST_LINE = 2048
_VALUE = re.compile(
    rb"VALUE ([\x21-\x7e\x80-\xff]{1,250}) [0-9]{1,10} ([0-9]{1,10})(?: [0-9]{1,20})?"
)

Due: TypeAlias = Literal["version", "value", "stored", "added", "deleted"]


class Nonsense(Exception):
    """What came is no answer to what was asked; `str()` says so in words of ours."""


class Refused(NamedTuple):
    """memcached says that it could not do it."""

    why: str


Answer: TypeAlias = bytes | bool | Refused | None


def key_bytes(key: str) -> bytes:
    """A key as it is sent.

    Raises:
        ValueError: it is empty, longer than 250 bytes of UTF-8, or has a blank or a control
            character in it.
    """
    try:
        raw = key.encode()
    except UnicodeEncodeError:
        raise ValueError("a key of memcached is text") from None
    if not 1 <= len(raw) <= LONGEST_KEY:
        raise ValueError(f"a key of memcached has 1 to {LONGEST_KEY} bytes")
    if re.search(rb"[\x00-\x20\x7f]", raw):
        raise ValueError("a key of memcached has no blanks or control characters")
    return raw


def get(key: str) -> bytes:
    """The request for a value; a "value" is due. Raises ValueError as `key_bytes`."""
    return b"get %b\r\n" % key_bytes(key)


def store(verb: Literal["set", "add"], key: str, value: bytes, expire: int) -> bytes:
    """The request to keep a value for `expire` seconds, 0: for good; "stored" or "added" is due.

    Raises:
        ValueError: as `key_bytes`; or `expire` is not 0 to 30 days, or `value` is too long.
    """
    if not 0 <= expire <= LONGEST_EXPIRE:
        raise ValueError("memcached keeps for 0 (for good) to 2592000 seconds (30 days)")
    if len(value) > LARGEST_VALUE:
        raise ValueError(f"longer than {LARGEST_VALUE} bytes")
    head = b"%b %b 0 %d %d\r\n" % (verb.encode(), key_bytes(key), expire, len(value))
    return b"".join((head, value, b"\r\n"))


def delete(key: str) -> bytes:
    """The request to forget a value; a "deleted" is due. Raises ValueError as `key_bytes`."""
    return b"delete %b\r\n" % key_bytes(key)


VERSION = b"version\r\n"
"""Asks who is there; a "version" is due."""

_WORDS: dict[Due, dict[bytes, bool]] = {
    "stored": {b"STORED": True},
    "added": {b"STORED": True, b"NOT_STORED": False},
    "deleted": {b"DELETED": True, b"NOT_FOUND": False},
}


class Reader:
    """Cuts what memcached says into answers, however TCP cut it.

    `expect` says what is due next, and of which key; answers come in that order.
    """

    def __init__(self) -> None:
        self._due: deque[tuple[Due, bytes]] = deque()
        self._buffer = bytearray()
        self._value: bytes | None = None
        """One that has come whole; its END is due."""
        self._length = -1
        """Of a value whose line has come; -1 where no value is under way."""

    def expect(self, due: Due, key: bytes = b"") -> None:
        """Something was asked."""
        self._due.append((due, key))

    def feed(self, data: bytes) -> list[Answer]:
        """The answers that are whole now.

        Raises:
            Nonsense: something came that is none. The reader is of no more use.
        """
        self._buffer += data
        answers: list[Answer] = []
        while True:
            if self._length >= 0:
                if not self._take_value():
                    return answers
                continue
            line = self._line()
            if line is None:
                return answers
            self._read(line, answers)

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", 0, _LONGEST_LINE)
        if end < 0:
            if len(self._buffer) >= _LONGEST_LINE:
                raise Nonsense("it sent a line without an end")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        if not line.endswith(b"\r"):
            raise Nonsense("it does not speak memcached's protocol")
        return line[:-1]

    def _take_value(self) -> bool:
        whole = self._length + 2
        if len(self._buffer) < whole:
            return False
        if self._buffer[self._length : whole] != b"\r\n":
            raise Nonsense("a value is not as long as it says")
        self._value = bytes(self._buffer[: self._length])
        del self._buffer[:whole]
        self._length = -1
        return True

    def _read(self, line: bytes, answers: list[Answer]) -> None:
        if not self._due:
            raise Nonsense("it answered what was not asked")
        due, key = self._due[0]
        if line.startswith(b"SERVER_ERROR ") and self._value is None:
            # The one error after which the next answer is where it should be.
            answers.append(Refused(line.decode("utf-8", "replace")))
        elif due == "value":
            if line != b"END":
                self._begin_value(line, key)
                return
            answers.append(self._value)
            self._value = None
        elif due == "version" and line.startswith(b"VERSION "):
            answers.append(True)
        elif due != "version" and line in _WORDS[due]:
            answers.append(_WORDS[due][line])
        else:
            raise Nonsense("it does not speak memcached's protocol")
        self._due.popleft()

    def _begin_value(self, line: bytes, key: bytes) -> None:
        match = _VALUE.fullmatch(line)
        if match is None or match[1] != key or self._value is not None:
            raise Nonsense("it does not speak memcached's protocol")
        length = int(match[2])
        if length > LARGEST_VALUE:
            raise Nonsense(f"a value is longer than {LARGEST_VALUE} bytes")
        self._length = length
