"""`[hooks.NAME]`: which hook a name stands for, and its options.

The options of a hook that comes with wsgate are a frozen dataclass in `HOOK_OPTIONS`, described as
every setting is; those of the user's own are whatever TOML holds.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from wsgate.config.about import About, described, is_needed
from wsgate.config.cache import CacheOptions
from wsgate.config.errors import ConfigError, OptionError, as_written, did_you_mean
from wsgate.config.kinds import Path, WrongItem, text
from wsgate.config.paths import check_file
from wsgate.config.rate import RateOptions
from wsgate.config.session import SessionOptions
from wsgate.config.sql import SqlOptions
from wsgate.config.tokens import JwtOptions, SecretOptions, SignedUrlOptions

__all__ = [
    "HOOK_OPTIONS",
    "NamedHook",
    "OptionError",
    "Raw",
    "Raws",
    "hook",
    "hook_name",
    "named_hooks",
    "shown_option",
]

HOOK_OPTIONS: dict[str, type] = {
    "cache": CacheOptions,
    "rate": RateOptions,
    "session": SessionOptions,
    "sql": SqlOptions,
    "jwt": JwtOptions,
    "secret": SecretOptions,
    "signed_url": SignedUrlOptions,
}
"""By the word that is `use`. Fields without a default must be given; `__post_init__` may raise
`OptionError` where two do not go together. Files (`Path()`) must be there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedHook:
    """A hook, by its name in the settings."""

    name: str
    use: str
    """One of `HOOK_OPTIONS`, `module:object`, or the name of a Twisted plugin."""
    options: Any = field(default_factory=dict)
    """An instance of the class in `HOOK_OPTIONS`, or a mapping."""
    written: str = field(default="", compare=False)
    """How the user wrote what it is, for errors that only show when it is made."""
    others: tuple[str, ...] = field(default=(), compare=False)
    """The names in [hooks], where a route has one that is none of them: it may be misspelt."""


class Raw(NamedTuple):
    """An option that is not looked at yet, since `use` may stand in another source."""

    value: object
    folder: str
    """Where relative file names begin."""
    place: str
    write: Callable[[object], str]

    @property
    def written(self) -> str:
        """The option with its value."""
        return self.write(self.value)


Raws = dict[str, Raw]


def hook_name(value: str) -> str:
    """A name of [hooks]."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", value):
        raise ValueError("not the name of a hook; a letter and at most 63 of A-Z a-z 0-9 _ -")
    return value


_OBJECT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def hook(value: str) -> str:
    """A name of [hooks] or of a plugin, or `module:object`."""
    if ":" in value:
        if not _OBJECT.fullmatch(value) or ".py:" in value:
            file = re.fullmatch(r"(.*)\.py:(.*)", value)
            mend = f"{file[1].replace('/', '.')}:{file[2]}" if file else "one like app.door:Door"
            raise ValueError(f"not module:object; write {mend}")
        return value
    return hook_name(value)


def named_hooks(
    sections: Mapping[str, Raws], asked: Iterable[tuple[str, str]]
) -> dict[str, NamedHook]:
    """The hooks of `sections`, and those that routes ask for without one.

    Args:
        asked: what stands in the `hooks` of routes, each with how that was written.

    Raises:
        ConfigError: an option is wrong, or missing.
    """
    hooks = {name: _named(name, options) for name, options in sections.items()}
    for name, written in asked:
        if name not in hooks:
            made = _options_of(name, {}, f"{written}: {name}") if name in HOOK_OPTIONS else {}
            hooks[name] = NamedHook(
                name=name, use=name, options=made, written=written, others=tuple(sections)
            )
    return hooks


def _named(name: str, section: Raws) -> NamedHook:
    use, written = _use(name, section)
    options = {option: raw for option, raw in section.items() if option != "use"}
    if use in HOOK_OPTIONS:
        made: Any = _options_of(use, options, written, f"hooks.{name}.")
    else:
        made = {option: _free(raw) for option, raw in options.items()}
    return NamedHook(name=name, use=use, options=made, written=written)


def _use(name: str, section: Raws) -> tuple[str, str]:
    raw = section.get("use")
    if raw is None:
        first = next(iter(section.values()), None)
        written = first.written if first is not None else f"[hooks.{name}]"
        if name in HOOK_OPTIONS:
            return name, written
        raise ConfigError(
            f'{written}: the hook has no `use`; write use = "module:object", or one of '
            f"{', '.join(HOOK_OPTIONS) or 'your plugins'}"
        )
    try:
        return hook(text(raw.value)), raw.written
    except ValueError as error:
        raise ConfigError(f"{raw.written}: {error}") from None


def _options_of(use: str, raws: Raws, written: str, prefix: str = "") -> Any:
    section = HOOK_OPTIONS[use]
    known = described(section)
    values = {}
    for option, raw in raws.items():
        if option not in known:
            mend = did_you_mean(option, known, prefix=prefix)
            raise ConfigError(f"{raw.place}: unknown setting{mend}")
        values[option] = _typed(raw, known[option])
    missing = [name for name in known if is_needed(section, name) and name not in values]
    if missing:
        place = prefix or f"hooks.{use}."
        raise ConfigError(f"{written}: needs {place}{missing[0]} too")
    try:
        return section(**values)
    except OptionError as error:
        where = raws[error.option].written if error.option in raws else written
        raise ConfigError(f"{where}: {error}") from None


def _typed(raw: Raw, about: About) -> object:
    try:
        typed = about.kind.parse(raw.value, raw.folder)
    except WrongItem as error:
        raise ConfigError(f"{raw.write(error.item)}: {error}") from None
    except ValueError as error:
        raise ConfigError(f"{raw.written}: {error}") from None
    if isinstance(about.kind, Path) and about.kind.unit == "file" and isinstance(typed, str):
        check_file(typed, raw.written)
    return typed


def _free(raw: Raw) -> object:
    """An option of the user's own hook, as it is; workers get it as JSON."""
    if _has_time(raw.value):
        raise ConfigError(f"{raw.written}: a date or time; write it as a text, in quotes")
    return raw.value


def _has_time(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_time, value.values()))
    if isinstance(value, list):
        return any(map(_has_time, value))
    return isinstance(value, (datetime.date, datetime.time))


def shown_option(hook: NamedHook, option: str) -> str:
    """An option of a hook as a user would write it, for an error line."""
    options = hook.options
    value = options.get(option) if isinstance(options, dict) else getattr(options, option, None)
    return f"hooks.{hook.name}.{option} = {as_written(value)}"
