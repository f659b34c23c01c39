"""Where a store is, from its URL. Pure.

Passwords are in no error and in no `repr`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from wsgate import redis

Kind: TypeAlias = Literal["redis", "memcached", "postgresql", "mysql"]

FORMS = "redis://HOST, memcached://HOST, postgresql://USER@HOST/DATABASE or mysql://USER@HOST/…"

_KINDS: dict[str, Kind] = {
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "memcached": "memcached",
    "memcached+unix": "memcached",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_PORTS: dict[Kind, int] = {"memcached": 11211, "postgresql": 5432, "mysql": 3306}
_OPTIONS: dict[Kind, tuple[str, ...]] = {
    "memcached": (),
    "postgresql": ("host", "sslmode", "sslrootcert", "sslcert", "sslkey"),
    "mysql": ("unix_socket", "ssl", "ssl_ca", "ssl_cert", "ssl_key"),
}
_SSL_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """One memcached or database. `path` is that of a UNIX socket; without one, `host` and `port`.

    For PostgreSQL `path` is the folder of the socket. `repr` never shows the password.
    """

    kind: Kind
    host: str = ""
    port: int = 0
    path: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    """About TLS, by the names that the URL has for them."""

    def __str__(self) -> str:
        if self.path:
            return f"{self.kind}, {self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{host}:{self.port}"


def kind_of(url: str) -> Kind:
    """What kind of store a URL names.

    Raises:
        ValueError: none that is known.
    """
    scheme = url.partition(":")[0].lower()
    if scheme not in _KINDS:
        raise ValueError(f"not the URL of a store; write one like {FORMS}")
    return _KINDS[scheme]


def check_url(url: str) -> str:
    """The URL of a store, as it is, if it can be understood.

    Raises:
        ValueError: it cannot; the text shows nothing of it.
    """
    if kind_of(url) == "redis":
        redis.parse(url)
    else:
        parse(url)
    return url


def parse(url: str) -> StoreAddress:
    """The memcached or database that `url` names.

    `memcached://HOST[:PORT]`, `memcached+unix:///PATH`,
    `postgresql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?sslmode=…&sslrootcert=FILE]` (or
    `postgresql://USER@/DATABASE?host=/FOLDER` for its UNIX socket),
    `mysql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?ssl_ca=FILE]` (or
    `mysql://USER@/DATABASE?unix_socket=/PATH`); `postgres:` and `mariadb:` mean the same.

    Raises:
        ValueError: it is none of them; the text shows nothing of it.
    """
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("blanks and control characters are written as %XX in a URL")
    if "#" in url:
        raise ValueError("has a #; in a password it is written as %23")
    kind = kind_of(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"not a URL; write one like {FORMS}") from None
    if port == 0:
        raise ValueError("needs a port of 1 to 65535")
    options = _options(kind, parts.query)
    if kind == "memcached":
        return _memcached(parts.scheme, parts.hostname, port, unquote(parts.path), parts.netloc)
    host, path = _place(kind, parts.hostname or "", options)
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in parts.path[1:]:
        raise ValueError("names no database; it is the path of the URL: …//HOST/DATABASE")
    return StoreAddress(
        kind=kind,
        host=host,
        port=port or _PORTS[kind],
        path=path,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=database,
        options=options,
    )


def _memcached(
    scheme: str, host: str | None, port: int | None, path: str, netloc: str
) -> StoreAddress:
    if "@" in netloc:
        raise ValueError("has a user or password, which memcached's text protocol knows nothing of")
    if scheme == "memcached+unix":
        if netloc or not path.strip("/"):
            raise ValueError("names no absolute path; write memcached+unix:///run/memcached.sock")
        return StoreAddress("memcached", path=path)
    if not host or path.strip("/"):
        raise ValueError("write memcached://HOST:PORT, without a path")
    return StoreAddress("memcached", host=host, port=port or _PORTS["memcached"])


def _options(kind: Kind, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = _OPTIONS[kind]
    if "password" in options:
        raise ValueError("a password stands before the @, or in password_file")
    if options.keys() - set(known):
        words = f"known: {', '.join(known)}" if known else "there are none"
        raise ValueError(f"has an unknown option after the ?; {words}")
    if options.get("sslmode", "prefer") not in _SSL_MODES:
        raise ValueError(f"needs one of these as its sslmode: {', '.join(_SSL_MODES)}")
    if options.get("ssl", "true") not in ("true", "false"):
        raise ValueError("needs ssl=true or ssl=false")
    return options


def _place(kind: Kind, host: str, options: dict[str, str]) -> tuple[str, str]:
    """The host, or the path of the UNIX socket, which is taken out of the options."""
    name = "host" if kind == "postgresql" else "unix_socket"
    path = options.pop(name, "")
    if path and not path.startswith("/"):
        raise ValueError(f"needs an absolute path as its {name}; a host stands after the //")
    if bool(path) == bool(host):
        raise ValueError(f"names either a host, after the //, or a UNIX socket, by ?{name}=/PATH")
    return host, path
