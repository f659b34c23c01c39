"""What a worker is told, as one line of JSON on its standard input.

Not on its command line or in its environment, which other users or its own children could read:
private keys are in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wsgate.config import Gateway, Limits, NamedHook, Pool, Route, Settings, StoreSettings
from wsgate.config.hooks import HOOK_OPTIONS
from wsgate.tls import Credentials
from wsgate.workers import credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """One worker's task. Its ports are descriptors from `FIRST_PORT` on, in the settings' order."""

    number: int
    settings: Settings
    credentials: Credentials | None
    """The certificates of `tls:PORT`: read by the parent, which may have been root then."""
    reactor: str
    """The module whose `install()` makes the parent's kind of reactor."""
    folder: str
    """Where relative names in port strings begin."""

    def to_line(self) -> bytes:
        """As one line, with its end."""
        return (
            json.dumps(
                {
                    "number": self.number,
                    "settings": asdict(self.settings),
                    "credentials": credentials.to_json(self.credentials),
                    "reactor": self.reactor,
                    "folder": self.folder,
                }
            ).encode()
            + b"\n"
        )

    @classmethod
    def from_line(cls, line: bytes) -> Brief:
        """What `to_line` wrote. ValueError, KeyError or TypeError for anything else."""
        told = json.loads(line)
        return cls(
            number=told["number"],
            settings=_settings(told["settings"]),
            credentials=credentials.from_json(told["credentials"]),
            reactor=told["reactor"],
            folder=told["folder"],
        )


def _settings(told: Mapping[str, Any]) -> Settings:
    return Settings(
        gateway=_section(Gateway, told["gateway"]),
        limits=_section(Limits, told["limits"]),
        pools={name: _section(Pool, pool) for name, pool in told["pools"].items()},
        routes=tuple(_section(Route, route) for route in told["routes"]),
        hooks={name: _hook(hook) for name, hook in told["hooks"].items()},
        hook_folders=tuple(told["hook_folders"]),
        stores={name: _section(StoreSettings, store) for name, store in told["stores"].items()},
    )


def _hook(told: Mapping[str, Any]) -> NamedHook:
    section = HOOK_OPTIONS.get(told["use"])
    options = told["options"]
    return NamedHook(**{**told, "options": _section(section, options) if section else options})


def _section(section: type, told: Mapping[str, Any]) -> Any:
    # Settings hold tuples, which JSON makes lists of.
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in told.items()}
    return section(**values)
