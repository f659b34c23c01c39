"""The options of the hook `session`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from wsgate.config import checks
from wsgate.config.about import about
from wsgate.config.errors import OptionError
from wsgate.config.kinds import Size, Text, Texts, Time
from wsgate.config.units import KIB, MIB

HANDLERS = ("php", "php_binary", "php_serialize")


def _cookie(value: str) -> str:
    """A cookie's name, as session.name has it."""
    # RFC 6265 §4.1.1, less the dot and bracket that PHP would change.
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+^_`|~-]{1,64}", value):
        raise ValueError("not a name for a session's cookie; write session.name of php.ini")
    return value


def _handler(value: str) -> str:
    """A session.serialize_handler that is read."""
    if value in ("igbinary", "msgpack", "wddx"):
        raise ValueError(
            "not read by wsgate; set session.serialize_handler of php.ini, and this, to php, "
            "php_binary or php_serialize"
        )
    if value not in HANDLERS:
        raise ValueError("write php, php_binary or php_serialize, as session.serialize_handler is")
    return value


def _save_path(value: str) -> str:
    """As session.save_path of php.ini."""
    if not re.fullmatch(r"(([0-9]|1[0-6]);([0-7]{1,4};)?)?/[^;]*", value):
        raise ValueError('write it as PHP has it: "/PATH", "DEPTH;/PATH" or "DEPTH;MODE;/PATH"')
    return value


def _field(value: str) -> str:
    """A path into $_SESSION."""
    if not all(value.split(".")) or len(value) > 256 or value.count(".") > 15:
        raise ValueError('not a field of a session; write one like "user_id" or "cart.items"')
    return value


def _told(value: str) -> str:
    """A path into $_SESSION, of which PHP is told."""
    _field(value)
    if len(param_name(value)) > 64:
        raise ValueError(f"too long a name for a param, which would be {param_name(value)[:40]}…")
    return value


def param_name(field: str) -> str:
    """The param that a field becomes: `cart.items` is WSGATE_SESSION_CART_ITEMS."""
    return "WSGATE_SESSION_" + re.sub(r"[^A-Z0-9]", "_", field.upper())


class _Prefix(Text):
    """What keys in a store begin with; it may be empty."""

    def parse(self, value: object, _folder: str, /) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]{0,200}", value):
            raise ValueError("write at most 200 printable ASCII characters without blanks")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Looks PHP's own session up before PHP is asked (docs/logged-in-users.md)."""

    cookie: str = field(
        default="PHPSESSID",
        metadata=about(
            Text(_cookie), "the session's cookie: session.name of php.ini", why="PHP's own"
        ),
    )
    store: str = field(
        default="files",
        metadata=about(
            Text(checks.pool_name),
            'where sessions are: "files", or the name of a Redis or memcached of [stores]',
            limit="one that is away, or too slow: what on_hook_failure says",
            why="PHP's own session.save_handler",
        ),
    )
    save_path: str = field(
        default="/var/lib/php/sessions",
        metadata=about(
            Text(_save_path),
            'files: session.save_path of php.ini, also as "DEPTH;/PATH" or "DEPTH;MODE;/PATH"',
            limit="a folder that cannot be entered stops the start",
            why="Debian's",
        ),
    )
    owner: str | None = field(
        default=None,
        metadata=about(
            Text(checks.user),
            "files: the user PHP runs as, whose files alone are believed",
            limit="a file of another user: what on_hook_failure says, and a line in the log",
            why="in a folder where every user may write: the user wsgate runs as; else whoever "
            "may write there",
        ),
    )
    prefix: str | None = field(
        default=None,
        metadata=about(
            _Prefix(),
            "stores: what the keys of sessions begin with",
            why="PHPREDIS_SESSION: for Redis, memc.sess.key. for memcached, as the PHP extensions "
            'redis and memcached have it; that of the extension memcache is ""',
        ),
    )
    serialize_handler: str = field(
        default="php",
        metadata=about(
            Text(_handler, unit="word", bounds="php, php_binary or php_serialize"),
            "how sessions are written: session.serialize_handler of php.ini",
            limit="a session written otherwise: what on_hook_failure says, and a line in the log",
            why="PHP's own",
        ),
    )
    max_size: int = field(
        default=MIB,
        metadata=about(
            Size(KIB, 64 * MIB),
            "one session",
            limit="longer, or more than 20,000 values, or 64 levels: what on_hook_failure says",
            why="sessions are a few KiB; memcached takes as much",
        ),
    )
    max_age: float = field(
        default=1440.0,
        metadata=about(
            Time(1, 10**9),
            "files: since a script has last used the session: session.gc_maxlifetime of php.ini",
            limit="older: no session, whether PHP has cleared it away by then or not",
            why="PHP's own; stores forget by themselves",
        ),
    )
    fields: tuple[str, ...] = field(
        default=(),
        metadata=about(
            Texts(_told, unit="list of fields"),
            "fields of $_SESSION that PHP gets as WSGATE_SESSION_NAME; dots go into arrays: "
            '"cart.items"',
            limit="no text or number: no such param; longer than hook_param_bytes allows: what "
            "on_hook_failure says",
            why="a script that calls session_start has them all",
        ),
    )
    required: tuple[str, ...] = field(
        default=(),
        metadata=about(
            Texts(_field, unit="list of fields"),
            "fields of $_SESSION without which nobody comes in",
            limit="one that is empty() in PHP's sense, or no session: 403, PHP is not asked",
            why="routes may be open to guests too",
        ),
    )
    user_field: str | None = field(
        default=None,
        metadata=about(
            Text(_field),
            "the field of $_SESSION that is the user's name or number: binds the connection, as "
            "Wsgate-User does",
            why="its name is the application's own",
        ),
    )
    check_interval: float = field(
        default=0.0,
        metadata=about(
            Time(1, 86400, zero=True),
            "sessions of clients that are in are looked up again, 4 at a time",
            limit="gone, or of another user: closed with 4401; what cannot be looked up stays",
            why="none: each is a look-up in the store for as long as somebody is connected",
        ),
    )

    def __post_init__(self) -> None:
        """See whether the options go together.

        Raises:
            OptionError: they do not.
        """
        names: dict[str, str] = {}
        for one in self.fields:
            other = names.setdefault(param_name(one), one)
            if other != one:
                raise OptionError("fields", f"{other} and {one} would both be {param_name(one)}")
        if self.store == "files" and self.prefix is not None:
            raise OptionError("prefix", "only for a store, not for files; leave it out")
        if self.store != "files" and self.owner is not None:
            raise OptionError("owner", "only for files; leave it out")
