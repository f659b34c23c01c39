"""The settings page, made from the words beside each setting."""

from __future__ import annotations

from collections.abc import Iterator

from wsgate.config.about import About, default_of, described, is_needed
from wsgate.config.hooks import HOOK_OPTIONS
from wsgate.config.limits import Limits
from wsgate.config.settings import Gateway, Pool, Route
from wsgate.config.stores import StoreSettings

_HEAD = """\
# Settings

<!-- Made by `python -m wsgate.config`; change src/wsgate/config/ instead. -->

Every setting can stand in the file of `--config FILE` (TOML), or in `--set KEY=VALUE`; the most
used have options of their own ([options.md](options.md)). `twistd wsgate --config FILE --check`
says whether a file is good.

- **Sizes** are `"64KiB"`, `"1MiB"`, `"2GiB"`, or plain bytes: `65536`.
- **Times** are `"250ms"`, `"5s"`, `"2min"`, `"1h"`, or plain seconds: `0.25`.
- **Relative file names** begin at the folder of the configuration file; in options, at the
  working directory.
- Where a list is allowed, one text alone may stand without brackets.
- An unknown setting is an error. 0 means "none" only where the range says so.
"""

_SECTIONS: tuple[tuple[str, type, str], ...] = (
    ("`[gateway]`", Gateway, "Where clients connect, and with which certificate."),
    ("`[limits]`", Limits, "What one client, or all of them together, may use up."),
    (
        "`[pools.NAME]`",
        Pool,
        "Who runs PHP. Without `fastcgi`, wsgate starts and supervises a private PHP of its own.\n"
        "The pool the options make is `[pools.default]`; it need not be written where no other\n"
        "pool is.",
    ),
    (
        "`[stores.NAME]`",
        StoreSettings,
        "Redis, memcached, PostgreSQL and MySQL or MariaDB, which hooks may ask:\n"
        "[stores.md](stores.md). "
        'Where the URL is all there is to say: `NAME = "redis://…"` below\n`[stores]`.',
    ),
    (
        "`[[route]]`",
        Route,
        "Which script answers the clients of one URL path. One table for each path. With\n"
        "`--set`, `route.KEY` is the route of `--path` (default `/`).",
    ),
)


def settings_page() -> str:
    """Return docs/settings.md."""
    sections = [*_SECTIONS, *_hooks()]
    return _HEAD + "".join("\n" + "\n".join(_section(*section)) + "\n" for section in sections)


def _hooks() -> Iterator[tuple[str, type, str]]:
    for use, options in sorted(HOOK_OPTIONS.items()):
        yield (
            f'`[hooks.NAME]` with `use = "{use}"`',
            options,
            f"{(options.__doc__ or '').strip()}\n\nWith `--set`: `hooks.NAME.KEY`. Without `use` a "
            f"hook is what its name says: `[hooks.{use}]`.",
        )


def _section(title: str, section: type, intro: str) -> Iterator[str]:
    yield f"## {title}\n\n{intro}\n"
    yield "| setting | default | unit and range | what it is | at the limit | why this default |"
    yield "|---|---|---|---|---|---|"
    for name, about in described(section).items():
        cells = (f"`{name}`", _default(section, name), *_words(about))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(section: type, name: str) -> str:
    if is_needed(section, name):
        return "must be given"
    shown = shown_default(section, name)
    return shown if shown in ("none", "automatic") else f"`{shown}`"


def _words(about: About) -> tuple[str, ...]:
    kind = about.kind
    unit = f"{kind.unit}, {kind.bounds}" if kind.bounds else kind.unit
    return unit, about.what, about.limit or "–", about.why


def shown_default(section: type, name: str) -> str:
    """Return the default of a setting as a user would write it, or `none` or `automatic`."""
    return described(section)[name].kind.show(default_of(section, name))
