"""What only shows when all settings of a route of the dialect GRIP are together."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from wsgate.config.errors import ConfigError, as_written
from wsgate.config.settings import Route
from wsgate.config.sources import Values

_OWN = ("grip_key_file", "grip_iss", "grip_prefix")
_FOREIGN = ("events", "text_content_type", "binary_content_type")


def check_grip(values: Values) -> None:
    """See whether the settings of a route go together.

    Raises:
        ConfigError: they do not.
    """
    if "dialect" not in values or values["dialect"].typed != "grip":
        _refuse(values, _OWN, 'only for dialect = "grip"')
        return
    _refuse(values, _FOREIGN, 'not for dialect = "grip", where PHP gets all events as events')
    if "grip_iss" in values and "grip_key_file" not in values:
        raise ConfigError(f"{values['grip_iss'].written}: needs grip_key_file too")


def check_prefixes(routes: Iterable[Route]) -> None:
    """See whether no route's channels could be named from another's: `a` and `ab` have `abc`.

    Without a prefix a route has all channels, and with the same one two share theirs.

    Raises:
        ConfigError: they could.
    """
    prefixed = sorted((route.grip_prefix, route.path) for route in routes if route.grip_prefix)
    for (short, _), (long, path) in pairwise(prefixed):
        if long != short and long.startswith(short):
            raise ConfigError(
                f"route[{path}].grip_prefix = {as_written(long)}: begins with another route's "
                f"prefix, {as_written(short)}, which would reach these channels; end both with -"
            )


def _refuse(values: Values, names: Iterable[str], why: str) -> None:
    for name in names:
        if name in values:
            raise ConfigError(f"{values[name].written}: {why}; leave it out")
