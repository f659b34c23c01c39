"""Every setting, its unit, its default and its reason, as frozen typed values.

errors.py    the one error, and how values are shown in it
units.py     sizes and times
kinds.py     what a setting may hold; checks.py: single texts; about.py: the words beside each
limits.py    [limits]; settings.py: the other sections, and all together
hooks.py     [hooks.NAME]: the options of those that come with wsgate; paths.py: files they name
stores.py    [stores.NAME]; addresses.py: their URLs
sources.py   one source of settings, checked value by value; toml.py: the file
build.py     sources one over the other, and what only shows when all is together
page.py      docs/settings.md
"""

from wsgate.config.build import build
from wsgate.config.errors import ConfigError
from wsgate.config.hooks import NamedHook
from wsgate.config.limits import Limits
from wsgate.config.settings import Gateway, Pool, Route, Settings
from wsgate.config.sources import Source
from wsgate.config.stores import StoreSettings
from wsgate.config.toml import read

__all__ = [
    "ConfigError",
    "Gateway",
    "Limits",
    "NamedHook",
    "Pool",
    "Route",
    "Settings",
    "Source",
    "StoreSettings",
    "build",
    "read",
]
