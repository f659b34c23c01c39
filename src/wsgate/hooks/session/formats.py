"""What the values of PHP's session.serialize_handler write, as an array of PHP. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from wsgate.hooks.session.unserialize import Reader, Unreadable, Value, unserialize

Session = Mapping[bytes, Value]

_NOTHING: Session = MappingProxyType({})

# Names in `php` are as long as the next bar is far, and PHP's own are not even 64 KiB.
_MAX_NAME = 1024


def _php(data: bytes) -> Session:
    """`name|value` after `name|value`."""
    session: dict[bytes, Value] = {}
    reader = Reader(data)
    while reader.at < len(data):
        end = data.find(b"|", reader.at, reader.at + _MAX_NAME + 1)
        if end < 0:
            raise Unreadable(f"no name at byte {reader.at}")
        name = data[reader.at : end]
        reader.skip(end + 1 - reader.at)
        session[name] = reader.value()
    return session


def _php_binary(data: bytes) -> Session:
    """The length of a name in one byte, the name, its value; and so on."""
    session: dict[bytes, Value] = {}
    reader = Reader(data)
    while reader.at < len(data):
        size = data[reader.at]
        name = data[reader.at + 1 : reader.at + 1 + size]
        if size > 127 or len(name) < size:
            raise Unreadable(f"no name at byte {reader.at}")
        reader.skip(1 + size)
        session[name] = reader.value()
    return session


def _php_serialize(data: bytes) -> Session:
    """The whole of $_SESSION, serialized."""
    value = unserialize(data)
    if not isinstance(value, Mapping):
        raise Unreadable("not an array")
    return value


READERS: dict[str, Callable[[bytes], Session]] = {
    "php": _php,
    "php_binary": _php_binary,
    "php_serialize": _php_serialize,
}
"""By the name that php.ini has."""

NOT_READ = ("igbinary", "msgpack", "wddx")
"""Values of session.serialize_handler that PHP knows, too, and wsgate does not."""


def read(data: bytes, handler: str) -> Session:
    """The session that `data` is, as `handler` (one of READERS) has written it; empty for nothing.

    Raises:
        Unreadable: it is none. The text says so in one line, names the setting, and nothing of what
            the session holds.
    """
    if not data:
        return _NOTHING
    try:
        return READERS[handler](data)
    except Unreadable as error:
        raise Unreadable(
            f"is not what session.serialize_handler = {handler} writes{_guess(data)}: {error}"
        ) from None


def _guess(data: bytes) -> str:
    """What may have written it, where its first bytes tell."""
    if data.startswith((b"\0\0\0\1", b"\0\0\0\2")):
        return ", it looks like igbinary; wsgate reads php, php_binary and php_serialize"
    if 0x80 <= data[0] <= 0x8F or 0xDC <= data[0] <= 0xDF:
        return ", it may be msgpack; wsgate reads php, php_binary and php_serialize"
    if data.startswith((b"(\xb5/\xfd", b"ZV", b"\x78\x9c", b"\x04\x22\x4d\x18")):
        return ", it looks compressed, which wsgate does not read"
    if data.startswith(b"a:"):
        return ", it looks like php_serialize"
    return ""
