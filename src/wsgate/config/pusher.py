"""What only shows when all settings of a route of the dialect Pusher are together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from wsgate.config.errors import ConfigError, as_written
from wsgate.config.settings import Route
from wsgate.config.sources import Values

NEEDED = ("app_id", "app_key", "app_secret_file")

_OWN = (
    *NEEDED,
    *("client_events", "webhooks", "webhook_uri", "activity_timeout", "subscription_counts"),
    *("max_presence_members", "max_presence_member_size", "max_event_size"),
)

_FOREIGN = ("events", "on_error", "text_content_type", "binary_content_type")


def is_pusher(values: Values) -> bool:
    """Whether a route is of this dialect."""
    return "dialect" in values and values["dialect"].typed == "pusher"


def needs_no_pool(values: Values) -> bool:
    """Whether nothing of a route is asked of PHP."""
    return is_pusher(values) and "script" not in values


def check_dialect(values: Values) -> None:
    """See whether the settings of a route go together.

    Raises:
        ConfigError: they do not.
    """
    if not is_pusher(values):
        _refuse(values, _OWN, 'only for dialect = "pusher"')
        return
    written = values["dialect"].written
    for name in NEEDED:
        if name not in values:
            raise ConfigError(f"{written}: needs {name} too")
    _refuse(values, _FOREIGN, 'not for dialect = "pusher", where PHP gets no messages')
    if "script" not in values:
        _refuse(values, ("webhooks", "webhook_uri", "pool"), "needs script too, which gets them")


def _refuse(values: Values, names: Iterable[str], why: str) -> None:
    for name in names:
        if name in values:
            raise ConfigError(f"{values[name].written}: {why}; leave it out")


def with_path(route: Route) -> Route:
    """The route with the path where clients connect: below `path`, unless it says all of it."""
    app = f"/app/{route.app_key}"
    if route.dialect != "pusher" or route.path.endswith(app):
        return route
    return replace(route, path=route.path.rstrip("/") + app)


def check_routes(routes: Iterable[Route]) -> None:
    """See whether no two routes are the same application, or the same path.

    Raises:
        ConfigError: two are.
    """
    seen: dict[tuple[str, str | None], Route] = {}
    for route in routes:
        for name in ("path", "app_id", "app_key"):
            value = getattr(route, name)
            if value is not None and (name, value) in seen:
                raise ConfigError(
                    f"route[{as_written(route.path)}].{name} = {as_written(value)}: another route "
                    "has it too; give each its own"
                )
            seen[name, value] = route
