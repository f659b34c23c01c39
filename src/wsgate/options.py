"""The options of `twistd wsgate`, for a tac file too.

What an option means and its default come from the setting it stands for, in `wsgate.config`.
"""

from __future__ import annotations

import difflib
import getopt
import platform
import re
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any, ClassVar, NamedTuple, NoReturn

from twisted.python.usage import Options as TwistedOptions
from twisted.python.usage import UsageError

from wsgate import __version__
from wsgate.compiled import DESCRIPTION
from wsgate.config import ConfigError, Gateway, Limits, Pool, Route, Settings, Source, build, read
from wsgate.config.about import described
from wsgate.config.errors import did_you_mean, escaped
from wsgate.config.page import shown_default
from wsgate.config.sources import Key, working_directory

_INDENT = 28


class Option(NamedTuple):
    """One option: the setting it stands for, or words of its own."""

    name: str
    short: str
    value: str
    section: type | None
    words: str = ""
    repeat: bool = False

    @property
    def setting(self) -> str:
        return self.name.replace("-", "_")

    def describe(self) -> str:
        """Return what the option is, with its default, for `--help`."""
        parts = [self.words]
        if self.section is not None:
            parts = [described(self.section)[self.setting].what]
            default = shown_default(self.section, self.setting) if self.value else "none"
            if default != "none":
                parts.append("default " + default.strip('[]"'))
        if self.repeat:
            parts.append("may be repeated")
        return "; ".join(part for part in parts if part)


class _Set(NamedTuple):
    """One KEY=VALUE: the key in parts, the TOML value, and both as written."""

    key: list[str]
    value: object
    written: str


_GROUPS: tuple[tuple[str, tuple[Option, ...]], ...] = (
    (
        "PHP",
        (
            Option("script", "s", "FILE", Route),
            Option("fastcgi", "f", "ENDPOINT", Pool, repeat=True),
            Option("path", "", "PATH", Route),
            Option("events", "", "LIST", Route),
        ),
    ),
    (
        "Clients",
        (
            Option("port", "p", "ENDPOINT", Gateway, repeat=True),
            Option("certificate", "", "FILE", Gateway),
            Option("private-key", "", "FILE", Gateway),
            Option("certificates", "", "DIR", Gateway),
            Option("self-signed", "", "", Gateway),
            Option("client-ca", "", "FILE", Gateway),
        ),
    ),
    (
        "Everything else",
        (
            Option("config", "c", "FILE", None, "a TOML file of settings; options win over it"),
            Option(
                "set",
                "",
                "KEY=VALUE",
                None,
                "any setting below, like limits.max_message_size=32MiB",
                repeat=True,
            ),
            Option("check", "", "", None, "say whether the settings are good, and exit"),
            Option("workers", "", "N", Gateway),
            Option("bus", "", "URL", Gateway),
            Option("control", "", "ENDPOINT", Gateway),
            Option("control-token-file", "", "FILE", Gateway),
            Option("demo", "", "", Gateway),
            Option("version", "", "", None, "show the version, and exit"),
            Option("help", "", "", None, "show this, and exit"),
        ),
    ),
)
OPTIONS: dict[str, Option] = {o.name: o for _, group in _GROUPS for o in group}

_SECTIONS: tuple[tuple[str, type], ...] = (
    ("gateway", Gateway),
    ("limits", Limits),
    ("pools.default", Pool),
    ("route", Route),
)

_SET_WORDS = (
    "Settings for --set and for the file of --config, with their defaults. Sizes: 512, 64KiB, "
    "1MiB, 2GiB. Times: 0.5, 250ms, 5s, 2min, 1h. 0 means none only where it says so. "
    "`python -m wsgate.config` prints them all, with range and reason."
)


class Options(TwistedOptions):
    """The command line. After `parseOptions`, `settings` is what it and the file ask for."""

    optFlags: ClassVar = [
        [o.name, o.short or None, o.describe()]
        for o in OPTIONS.values()
        if not o.value and o.name not in ("version", "help")
    ]
    optParameters: ClassVar = [
        [o.name, o.short or None, None, o.describe()]
        for o in OPTIONS.values()
        if o.value and not o.repeat
    ]
    settings: Settings

    def __init__(self) -> None:
        super().__init__()
        self.update({"port": [], "fastcgi": [], "set": []})

    def opt_port(self, endpoint: str) -> None:
        """where clients connect"""
        self["port"].append(endpoint)

    def opt_fastcgi(self, endpoint: str) -> None:
        """where PHP-FPM listens"""
        self["fastcgi"].append(endpoint)

    def opt_set(self, key_and_value: str) -> None:
        """any setting, as KEY=VALUE"""
        self["set"].append(key_and_value)

    opt_p = opt_port
    opt_f = opt_fastcgi

    def opt_version(self) -> NoReturn:
        """show the version, and exit"""
        print(
            f"wsgate {__version__} (Twisted {version('twisted')}, "
            f"Autobahn {version('autobahn')}, Python {platform.python_version()}, {DESCRIPTION})"
        )
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line and the file, and set `settings`.

        Raises:
            SystemExit: something is wrong; its text is one line. Twisted would print its whole
                usage first, and the line would scroll away. Also after --help, --version, --check.
        """
        try:
            # A daemon leaves it.
            self._folder = working_directory()
            super().parseOptions(options)
        except UsageError as error:
            raise SystemExit(f"wsgate: {_usage_error(error)}") from None
        except ConfigError as error:
            raise SystemExit(f"wsgate: {error}") from None

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            first = escaped(arguments[0])
            mend = f"; did you mean --script {first}?" if first.endswith(".php") else ""
            raise UsageError(f"{first}: not an option{mend}")

    def postOptions(self) -> None:
        self.settings = build(self._sources())
        if self["check"]:
            self.try_out()
            what = f"--config {escaped(self['config'])}" if self["config"] else "options"
            print(f"wsgate: {what}: good")
            raise SystemExit(0)

    def try_out(self) -> None:
        """For --check: find what is wrong that only a start would; `wsgate.service` knows how.

        Raises:
            SystemExit: with one line.
        """

    def read_again(self) -> Settings:
        """The settings, with the file of --config as it is now.

        Raises:
            ConfigError: something in it is wrong; `settings` stay as they were.
        """
        return build(self._sources())

    def _sources(self) -> Iterator[Source]:
        """The file, each --set, the other options: a later one wins over an earlier one."""
        if self["config"] is not None:
            yield read(self["config"], self._folder)
        settings = [_split_set(given) for given in self["set"]]
        path = self._path(settings)
        for setting in settings:
            yield _set_source(setting, path, self._folder)
        yield Source(self._tree(path.value), self._folder, _option, _option_and_value)

    def _path(self, settings: Sequence[_Set]) -> _Set:
        """The path of the route that --script and `--set route.KEY` speak of."""
        key = ["route", "path"]
        if self["path"] is not None:
            return _Set(key, self["path"], f"--path {escaped(self['path'])}")
        by_set = [setting for setting in settings if setting.key == key]
        return by_set[-1] if by_set else _Set(key, "/", "--path /")

    def _tree(self, path: object) -> dict[str, Any]:
        """The other options as the file would have them."""
        gateway: dict[str, Any] = {
            o.setting: bool(self[o.name]) if not o.value else self[o.name]
            for o in OPTIONS.values()
            # An empty text is given, and wrong.
            if o.section is Gateway and self[o.name] not in (None, 0, [])
        }
        if "workers" in gateway:
            # A number or a word, as --set would take it.
            gateway["workers"] = _toml_or_text(gateway["workers"])
        tree: dict[str, Any] = {"gateway": gateway}
        if self["fastcgi"]:
            tree["pools"] = {"default": {"fastcgi": self["fastcgi"]}}
        route: dict[str, Any] = {"path": path}
        if self["script"] is not None:
            route["script"] = self["script"]
        if self["events"] is not None:
            route["events"] = [word.strip() for word in self["events"].split(",")]
        if len(route) > 1 or self["path"] is not None:
            tree["route"] = [route]
        return tree

    def getUsage(self, width: int | None = None) -> str:
        """Return `--help`: the options by purpose, then the settings; 80 columns at most."""
        lines = ["", "The shortest: twistd -n wsgate --script ws.php"]
        for title, group in _GROUPS:
            lines.append(f"\n{title}:")
            for option in group:
                short = f"-{option.short}, " if option.short else "    "
                lines += _columns(f"{short}--{option.name} {option.value}", option.describe())
        lines += ["", *textwrap.wrap(_SET_WORDS, 79)]
        for prefix, section in _SECTIONS:
            lines += ["", f"{prefix}:", *_setting_lines(section)]
        return "\n".join(lines) + "\n"


def _columns(left: str, right: str) -> list[str]:
    """Lay out one line of help; `right` wraps in a column of its own."""
    body = textwrap.wrap(right, 79 - _INDENT)
    head = f"  {left.rstrip()}"
    if len(head) > _INDENT - 2:
        return [head, *(" " * _INDENT + line for line in body)]
    return [head.ljust(_INDENT) + body[0], *(" " * _INDENT + line for line in body[1:])]


def _setting_lines(section: type) -> Iterator[str]:
    has_option = {o.setting for o in OPTIONS.values() if o.section is section}
    for name, about in described(section).items():
        if name not in has_option:
            default = shown_default(section, name)
            zero = "; 0: none" if about.kind.bounds.endswith("0 for none") else ""
            limit = f" ({about.limit})" if about.limit else ""
            # Neither can be written; leaving the setting out is what gives it.
            left = name if default in ("none", "automatic") else f"{name}={default}"
            yield from _columns(left, about.what + zero + limit)


def _option(key: Key) -> str:
    return f"--{key[-1].replace('_', '-')}"


def _option_and_value(key: Key, value: object) -> str:
    name = _option(key)
    if isinstance(value, bool):
        return name
    items = value if isinstance(value, list) else [value]
    return " ".join(f"{name} {escaped(str(item))}" for item in items)


def _split_set(given: str) -> _Set:
    key, equals, raw = given.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(
            f"--set {escaped(given)}: write KEY=VALUE, like limits.max_message_size=32MiB"
        )
    # There may be a password in it, wherever a mistake has put it.
    shown = f"{key}=…" if re.fullmatch(r"stores\.[^.]+(\.url)?", key) else given
    return _Set(key.split("."), _toml_or_text(raw), f"--set {escaped(shown)}")


def _toml_or_text(raw: str) -> object:
    """Return the TOML value `raw` is, or `raw` itself: 32MiB and paths need no quotes."""
    try:
        tree = tomllib.loads(f"value = {raw}")
    # ValueError also from int() of thousands of digits.
    except (ValueError, RecursionError):
        return raw
    # More keys: a line end in `raw` has begun another one.
    return tree["value"] if len(tree) == 1 else raw


def _set_source(setting: _Set, path: _Set, folder: str) -> Source:
    key = setting.key
    tree: Any
    if key[0] == "route" and len(key) == 2:
        # The path comes second, so that messages about the whole route name this setting.
        tree = {"route": [{key[1]: setting.value} | {"path": path.value}]}
    else:
        tree = setting.value
        for part in reversed(key):
            tree = {part: tree}

    def write(at: Key, _value: object) -> str:
        return path.written if at[0] == "route" and at[-1] == "path" else setting.written

    return Source(tree, folder, lambda _: setting.written, write)


def _usage_error(error: UsageError) -> str:
    """Return the one line for what getopt refused, in our words."""
    cause = error.__context__
    if not isinstance(cause, getopt.GetoptError):
        return str(error)
    given = cause.opt
    option = OPTIONS.get(given) or next((o for o in OPTIONS.values() if o.short == given), None)
    if option is not None:
        shown = f"--{option.name}"
        if option.value:
            return f"{shown}: needs a value, like {shown} {option.value}"
        return f"{shown}: takes no value"
    if len(given) == 1:
        return f"-{escaped(given)}: unknown option; see --help"
    starts = [f"--{name}" for name in OPTIONS if name.startswith(given)]
    if starts:
        return f"--{escaped(given)}: could be {', '.join(starts)}; write it in full"
    near = difflib.get_close_matches(given, OPTIONS, n=1)
    mend = did_you_mean(given, OPTIONS, prefix="--") if near else "; see --help"
    return f"--{escaped(given)}: unknown option{mend}"
