"""Where Redis is, from a URL as redis-py and redis-cli take it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

FORMS = "redis://HOST:6379, rediss://HOST:6380 or unix:///run/redis/redis.sock"

_KNOWN = {"db", "ssl_ca_certs"}


@dataclass(frozen=True, slots=True)
class Address:
    """One Redis. `path` is that of its UNIX socket; without one, `host` and `port` count.

    With `secure` the certificate is always verified: against `roots`, a PEM file, or against the
    authorities this machine trusts. `repr` and `str` never show the password.
    """

    host: str = ""
    port: int = 6379
    path: str = ""
    secure: bool = False
    roots: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    database: int = 0

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.secure else 'redis'}://{host}:{self.port}"


def parse(url: str) -> Address:
    """The Redis that `url` names.

    `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, `rediss://` for TLS (`?ssl_ca_certs=FILE`
    names other authorities than this machine's), `unix://[USER:PASSWORD@]/PATH[?db=DATABASE]`; the
    user may be left out (`redis://:PASSWORD@HOST`).

    Raises:
        ValueError: it is none of them; the text says why, and shows nothing of the URL, since
            there may be a password in it.
    """
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("blanks and control characters are written as %XX in a URL")
    if "#" in url:
        raise ValueError("has a #; in a password it is written as %23")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"not a URL; write one like {FORMS}") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"not a URL of Redis; write one like {FORMS}")
    options = _options(parts.query, parts.scheme)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme == "unix":
        path, database = _path(unquote(parts.path), parts.hostname), options.get("db", "")
        return Address(path=path, user=user, password=password, database=_database(database))
    if not parts.hostname:
        raise ValueError(f"names no host; write one like {FORMS}")
    in_path = parts.path.strip("/")
    if in_path and "db" in options:
        raise ValueError("names the database twice, as /N and as ?db=N")
    return Address(
        host=parts.hostname,
        port=6379 if port is None else _port(port),
        secure=parts.scheme == "rediss",
        roots=options.get("ssl_ca_certs", ""),
        user=user,
        password=password,
        database=_database(in_path or options.get("db", "")),
    )


def _path(path: str, host: str | None) -> str:
    if host or not path.startswith("/") or path == "/":
        raise ValueError("names no absolute path; write unix:///run/redis/redis.sock")
    return path


def _options(query: str, scheme: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if "ssl_cert_reqs" in options:
        raise ValueError("the certificate is always verified; name its authority: ?ssl_ca_certs=")
    unknown = options.keys() - (_KNOWN if scheme == "rediss" else {"db"})
    if unknown:
        known = "db and ssl_ca_certs" if scheme == "rediss" else "db"
        raise ValueError(f"has an unknown option after the ?; known: {known}")
    return options


def _port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise ValueError("needs a port of 1 to 65535")
    return port


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,5}", text):
        raise ValueError("needs a number as its database, like redis://HOST/0")
    return int(text or 0)
