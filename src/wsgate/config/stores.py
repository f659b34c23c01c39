"""[stores.NAME]: Redis, memcached and databases that hooks may ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wsgate.config import addresses
from wsgate.config.about import about
from wsgate.config.errors import ConfigError
from wsgate.config.kinds import Count, Flag, Path, Text, Time
from wsgate.config.paths import check_file


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """One store. `repr` does not show its URL, since there may be a password in it."""

    name: str
    url: str = field(
        repr=False,
        metadata=about(
            Text(addresses.check_url, unit="URL", is_secret=True),
            "where it is: redis://, rediss://, unix://, memcached://, memcached+unix://, "
            "postgresql://, mysql:// or mariadb://",
            limit="while it is away, routes whose hooks ask it do what on_hook_failure says",
            why="it must be given. A password in it is shown nowhere",
        ),
    )
    password_file: str | None = field(
        default=None,
        metadata=about(
            Path(),
            "file with the password, which wsgate can read; its first line counts",
            limit="a file that cannot be read stops the start",
            why="the URL's, if there is one",
        ),
    )
    timeout: float = field(
        default=1.0,
        metadata=about(
            Time(0.01, 3600),
            "until an answer is here, waiting for a connection included",
            limit="longer: what asked fails, and the connection to a database is thrown away",
            why="half of limits.hook_timeout: a hook can still decide; a look-up takes a few ms",
        ),
    )
    connect_timeout: float = field(
        default=5.0,
        metadata=about(
            Time(0.1, 600),
            "to connect, and to be let in",
            limit="longer: the store is away; tried again after 50 ms to 5 s",
            why="TLS and a busy server take a while; nobody waits longer than `timeout`",
        ),
    )
    connections: int = field(
        default=4,
        metadata=about(
            Count(1, 256),
            "connections to PostgreSQL or MySQL, of each process; Redis and memcached have one",
            limit="more requests wait",
            why="4 that answer in 2 ms are 2,000 a second; servers allow 100 or 151 in all",
        ),
    )
    waiting: int = field(
        default=256,
        metadata=about(
            Count(1, 10**6),
            "requests that wait for a connection, or for Redis' and memcached's answers",
            limit="more: what asks fails at once",
            why="what 4 connections do in a second at 15 ms each",
        ),
    )
    max_rows: int = field(
        default=100,
        metadata=about(
            Count(1, 10**5),
            "PostgreSQL, MySQL: rows of one answer",
            limit="more: the first ones are given, the others not read",
            why="a check needs one; what is beyond should say LIMIT",
        ),
    )
    read_only: bool = field(
        default=True,
        metadata=about(
            Flag(),
            "PostgreSQL, MySQL: whether the server is told to refuse every change",
            limit="a statement that writes fails",
            why="a check needs no more, and a mistake in one cannot do harm",
        ),
    )

    @property
    def kind(self) -> addresses.Kind:
        """What the URL names."""
        return addresses.kind_of(self.url)


_DATABASES_ONLY = ("connections", "max_rows", "read_only")


def check_store(name: str, values: Mapping[str, Any]) -> StoreSettings:
    """The settings of a store, whose `values` have been looked at one by one.

    Raises:
        ConfigError: they do not go together.
    """
    if "url" not in values:
        first = next((value.written for value in values.values()), f"stores.{name}")
        raise ConfigError(f'{first}: the store has no url; write url = "redis://HOST" or such')
    store = StoreSettings(name=name, **{key: value.typed for key, value in values.items()})
    if store.kind in ("redis", "memcached"):
        for key in _DATABASES_ONLY:
            if key in values:
                raise ConfigError(
                    f"{values[key].written}: only for PostgreSQL and MySQL; leave it out"
                )
    if store.password_file is not None:
        written = values["password_file"].written
        if store.kind == "memcached":
            raise ConfigError(f"{written}: memcached has no passwords here; leave it out")
        check_file(store.password_file, written)
    return store
