"""One source of settings — a file, the options, `--set` — checked value by value.

The result knows for each value how the user wrote it, so that an error found later still says
`--script ws.php` or `wsgate.toml: route[/chat].script = "ws.php"`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from wsgate.config import checks
from wsgate.config.about import About, described
from wsgate.config.errors import ConfigError, as_written, did_you_mean, escaped
from wsgate.config.hooks import Raw, Raws, hook_name
from wsgate.config.kinds import Text, WrongItem
from wsgate.config.limits import Limits
from wsgate.config.settings import Gateway, Pool, Route
from wsgate.config.stores import StoreSettings

# ("limits", "queue"), ("pools", "app", "php"), ("route", "/chat", "script")
Key = tuple[str, ...]

SECTIONS = ("gateway", "limits", "pools", "stores", "hooks", "route")


class Value(NamedTuple):
    """One typed value, and the place and text it came from."""

    typed: Any
    written: str


Values = dict[str, Value]


@dataclass(slots=True)
class Given:
    """What one source gives: typed values for each section, pool and route (by its path)."""

    gateway: Values = field(default_factory=dict)
    limits: Values = field(default_factory=dict)
    pools: dict[str, Values] = field(default_factory=dict)
    stores: dict[str, Values] = field(default_factory=dict)
    routes: dict[str, Values] = field(default_factory=dict)
    hooks: dict[str, Raws] = field(default_factory=dict)
    hook_folders: dict[str, None] = field(default_factory=dict)
    """The folders of the sources that name hooks."""


def dotted(key: Key) -> str:
    """Return a key as people write it: `pools.app.php`, `route[/chat].script`."""
    if key[0] == "route" and len(key) > 1:
        return ".".join((f"route[{escaped(key[1])}]", *map(escaped, key[2:])))
    return ".".join(map(escaped, key))


def working_directory() -> str:
    """Return the working directory, or raise ConfigError if it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        raise ConfigError("the working directory is gone; change to one that exists") from None


@dataclass(frozen=True, slots=True)
class Source:
    """A tree as tomllib makes it, and how to talk about it.

    `folder` is where relative file names begin. `place` turns a key into the words before a colon;
    `write` turns a key and its value into them.
    """

    tree: Mapping[str, Any]
    folder: str = field(default_factory=working_directory)
    place: Callable[[Key], str] = dotted
    write: Callable[[Key, object], str] = lambda key, value: f"{dotted(key)} = {as_written(value)}"

    def parse(self) -> Given:
        """Check every value by itself.

        Raises:
            ConfigError: for the first that is unknown, or of a wrong type, unit or range.
        """
        given = Given()
        for section, held in self.tree.items():
            if section == "gateway":
                given.gateway = self._section((section,), Gateway, held)
            elif section == "limits":
                given.limits = self._section((section,), Limits, held)
            elif section == "pools":
                given.pools = self._pools(held)
            elif section == "hooks":
                given.hooks = self._hooks(held)
            elif section == "stores":
                given.stores = self._stores(held)
            elif section == "route":
                given.routes = self._routes(held)
            else:
                raise self._unknown_section(section)
        if given.hooks or any("hooks" in values for values in given.routes.values()):
            given.hook_folders[self.folder] = None
        return given

    def _unknown_section(self, section: str) -> ConfigError:
        # `routes` and `pool` are as near as can be, yet people still look for what they mean.
        nearest = {"routes": "route", "pool": "pools", "hook": "hooks"}.get(section, section)
        return ConfigError(
            f"{self.place((section,))}: unknown section{did_you_mean(nearest, SECTIONS)}"
        )

    def _table(self, key: Key, held: object, example: str) -> Mapping[str, object]:
        if not isinstance(held, dict):
            raise ConfigError(f"{self.write(key, held)}: not a section; write {example}")
        return held

    def _section(self, key: Key, section: type, held: object) -> Values:
        table = self._table(key, held, f"[{dotted(key)}] and its settings below")
        known = described(section)
        values: Values = {}
        for name, value in table.items():
            if name not in known:
                prefix = "route." if key[0] == "route" else dotted(key) + "."
                mend = did_you_mean(name, known, prefix=prefix)
                raise ConfigError(f"{self.place((*key, name))}: unknown setting{mend}")
            values[name] = self._value((*key, name), known[name], value)
        return values

    def _value(self, key: Key, about: About, value: object) -> Value:
        # A mistake in a URL may be a password that stands in the wrong place.
        is_secret = isinstance(about.kind, Text) and about.kind.is_secret
        shown = "…" if is_secret and isinstance(value, str) else value
        try:
            typed = about.kind.parse(value, self.folder)
        except WrongItem as error:
            raise ConfigError(f"{self.write(key, error.item)}: {error}") from None
        except ValueError as error:
            raise ConfigError(f"{self.write(key, shown)}: {error}") from None
        return Value(typed, self.write(key, shown))

    def _pools(self, held: object) -> dict[str, Values]:
        pools = self._table(("pools",), held, "[pools.NAME] and its settings below")
        parsed = {}
        for name, values in pools.items():
            try:
                described(Route)["pool"].kind.parse(name, self.folder)
            except ValueError as error:
                raise ConfigError(f"{self.place(('pools', name))}: {error}") from None
            parsed[name] = self._section(("pools", name), Pool, values)
        return parsed

    def _hooks(self, held: object) -> dict[str, Raws]:
        hooks = self._table(("hooks",), held, "[hooks.NAME] and its options below")
        parsed = {}
        for name, options in hooks.items():
            key = ("hooks", name)
            try:
                hook_name(name)
            except ValueError as error:
                raise ConfigError(f"{self.place(key)}: {error}") from None
            table = self._table(key, options, f"[{dotted(key)}] and its options below")
            parsed[name] = {option: self._raw((*key, option), v) for option, v in table.items()}
        return parsed

    def _raw(self, key: Key, value: object) -> Raw:
        return Raw(value, self.folder, self.place(key), partial(self.write, key))

    def _stores(self, held: object) -> dict[str, Values]:
        stores = self._table(("stores",), held, '[stores] and NAME = "redis://…" below')
        parsed = {}
        for name, values in stores.items():
            try:
                checks.store_name(name)
            except ValueError as error:
                raise ConfigError(f"{self.place(('stores', name))}: {error}") from None
            table = {"url": values} if isinstance(values, str) else values
            parsed[name] = self._section(("stores", name), StoreSettings, table)
        return parsed

    def _routes(self, held: object) -> dict[str, Values]:
        # A single table is what [route] for [[route]] gives.
        if not isinstance(held, list):
            raise ConfigError(
                f"{self.place(('route',))}: not a list of routes; write [[route]] above each"
            )
        routes: dict[str, Values] = {}
        for number, table in enumerate(held, 1):
            path = self._path(number, table)
            if path in routes:
                raise ConfigError(f"{self.place(('route', path))}: two routes have this path")
            routes[path] = self._section(("route", path), Route, table)
        return routes

    def _path(self, number: int, table: object) -> str:
        """Return the path of a route, which names it in every message."""
        key = ("route", str(number))
        about = described(Route)["path"]
        path = self._table(key, table, "[[route]] above each").get("path", "/")
        return str(self._value((*key, "path"), about, path).typed)
