"""Hooks made as the settings ask: one that comes with wsgate, the user's own, or a plugin's."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import import_module
from typing import Any

from twisted.plugin import getPlugins

from wsgate.config import NamedHook
from wsgate.config.errors import did_you_mean, escaped
from wsgate.config.hooks import HOOK_OPTIONS, OptionError, shown_option
from wsgate.hooks.errors import HookUnusable
from wsgate.hooks.plugin import IHookMaker
from wsgate.hooks.services import Services

BUILT_IN: dict[str, str] = {
    "cache": "wsgate.hooks.cache.make:make",
    "rate": "wsgate.hooks.rate.make:make",
    "session": "wsgate.hooks.session.make:make",
    "sql": "wsgate.hooks.sql:make",
    "jwt": "wsgate.hooks.jwt:make",
    "secret": "wsgate.hooks.secret:make",
    "signed_url": "wsgate.hooks.signed_url:make",
}
"""Who makes what comes with wsgate, by `use`: `module:function`, called with services and options.

A module is imported when a route asks for its hook. The function may raise `OptionError`, or
another ValueError or an OSError, whose text is for the user.
"""

LONGEST = 400
"""Characters of what a hook says is wrong, the mend included."""

METHODS = ("on_connect", "on_message", "on_disconnect")


def find_modules_in(folders: Iterable[str]) -> None:
    """Let Python look for modules in these folders too, after everywhere else."""
    sys.path += [folder for folder in folders if folder not in sys.path]


def make_hook(named: NamedHook, services: Services, route: str) -> Any:
    """The hook that a name stands for, made for a route of this path.

    Raises:
        HookUnusable: it cannot be made.
    """
    services = replace(services, name=named.name, route=route)
    if named.use in HOOK_OPTIONS:
        make = _found(BUILT_IN[named.use], named)
        return _made(named, lambda: make(services, named.options))
    if ":" in named.use:
        return _own(named, services)
    return _of_plugin(named, services)


def _own(named: NamedHook, services: Services) -> Any:
    found = _found(named.use, named)
    if callable(found):
        return _checked(named, _made(named, lambda: found(services, **named.options)))
    if named.options:
        first = next(iter(named.options))
        raise HookUnusable(
            f"{shown_option(named, first)}: {named.use} is an object and takes no options; name a "
            "class or a function that makes it"
        )
    return _checked(named, found)


def _of_plugin(named: NamedHook, services: Services) -> Any:
    plugins = {str(plugin.name): plugin for plugin in getPlugins(IHookMaker)}
    plugin = plugins.get(named.use)
    if plugin is None:
        known = {*HOOK_OPTIONS, *plugins, *named.others}
        mend = did_you_mean(named.use, known) or "; write module:object for one of your own"
        raise HookUnusable(f"{named.written}: no hook or plugin {named.use}{mend}")
    return _checked(named, _made(named, lambda: plugin.make(services, **named.options)))


def _found(use: str, named: NamedHook) -> Any:
    module, _, path = use.partition(":")
    try:
        found: Any = import_module(module)
    except ImportError as error:
        raise HookUnusable(f"{named.written}: {_import_fault(module, error)}") from None
    except Exception as error:
        raise HookUnusable(f"{named.written}: {_fault(error)}") from None
    for part in path.split("."):
        if not hasattr(found, part):
            mend = did_you_mean(part, [name for name in vars(found) if not name.startswith("_")])
            raise HookUnusable(f"{named.written}: {module} has no {part}{mend}")
        found = getattr(found, part)
    return found


def _import_fault(module: str, error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name in _parents(module):
        return (
            f"no module {error.name}; put {module.partition('.')[0]}.py, or its package, beside "
            "the configuration file, or name its folder in PYTHONPATH"
        )
    if isinstance(error, ModuleNotFoundError):
        return f"{module} needs the module {error.name}, which is not there; install it"
    return _fault(error)


def _parents(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts) + 1)}


def _made(named: NamedHook, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except OptionError as error:
        where = shown_option(named, error.option) if error.option else f"hooks.{named.name}"
        raise HookUnusable(f"{where}: {escaped(str(error), LONGEST)}") from None
    except HookUnusable:
        raise
    except Exception as error:
        ours = named.use in HOOK_OPTIONS and isinstance(error, (ValueError, OSError))
        text = escaped(str(error), LONGEST) if ours else _fault(error)
        raise HookUnusable(f"{named.written}: {text}") from None


def _fault(error: Exception) -> str:
    """What an exception of somebody's own code says, and where that is."""
    if isinstance(error, SyntaxError):
        return escaped(f"{error.msg} in line {error.lineno} of {error.filename}")
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    last = traceback.extract_tb(error.__traceback__)[-1]
    if last.filename == __file__:
        return escaped(text)
    return f"{escaped(text)} (in line {last.lineno} of {escaped(last.filename)})"


def _checked(named: NamedHook, made: Any) -> Any:
    if not any(callable(getattr(made, name, None)) for name in METHODS):
        raise HookUnusable(
            f"{named.written}: gives {escaped(repr(type(made).__name__))}, which has none of "
            f"{', '.join(METHODS)}; derive it from wsgate.hooks.Hook"
        )
    return made
