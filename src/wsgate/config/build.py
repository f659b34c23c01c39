"""Sources put one over the other, and what only shows when all is together."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from operator import itemgetter
from typing import Any

from wsgate.config.about import described
from wsgate.config.checks import is_unix_endpoint
from wsgate.config.errors import ConfigError, as_written, did_you_mean, escaped
from wsgate.config.grip import check_grip, check_prefixes
from wsgate.config.hooks import named_hooks
from wsgate.config.limits import Limits
from wsgate.config.paths import check_file, check_folder
from wsgate.config.pusher import (
    check_dialect,
    check_routes,
    is_pusher,
    needs_no_pool,
    with_path,
)
from wsgate.config.settings import Gateway, Pool, Route, Settings
from wsgate.config.sources import Given, Source, Value, Values, dotted
from wsgate.config.stores import check_store

_CERTIFICATES = "--certificate FILE and --private-key FILE, --certificates DIR, or --self-signed"
# wsgate.tls reads these itself; every other string is Twisted's own.
_TLS_PORT = re.compile(r"(haproxy:)?tls:[0-9]+(:|$)", re.IGNORECASE)
_PRIVATE_ONLY = ("php", "user", "ini")


def build(sources: Iterable[Source]) -> Settings:
    """Return the settings that `sources` give together; a later source wins over an earlier one.

    A route of a later source changes the route with the same path, setting by setting.

    Raises:
        ConfigError: a value is wrong, or two do not go together, or a file is missing.
    """
    given = Given()
    for source in sources:
        _merge(given, source.parse())
    hooks = named_hooks(given.hooks, _asked_hooks(given))
    _follow(given.limits)
    gateway = _make(Gateway, given.gateway)
    _check_gateway(gateway, given.gateway)
    _imply_default_pool(given, gateway.demo)
    pools = {name: _make_pool(name, values) for name, values in given.pools.items()}
    routes = tuple(_make_route(path, values, pools) for path, values in given.routes.items())
    check_routes(routes)
    check_prefixes(routes)
    if not routes and not gateway.demo:
        raise ConfigError(
            "no route; give --script FILE (the PHP script that gets the messages) or --demo"
        )
    used = {route.pool for route in routes if route.pool}
    used |= {"default"} if gateway.demo else set()
    _check_unused(given, used)
    limits: Limits = _make(Limits, given.limits)
    workers = _workers(gateway.workers, given, limits, [pools[name] for name in sorted(used)])
    gateway = replace(gateway, workers=workers)
    stores = {name: check_store(name, values) for name, values in given.stores.items()}
    return Settings(
        gateway=gateway,
        limits=limits,
        pools=pools,
        stores=stores,
        routes=routes,
        hooks=hooks,
        hook_folders=tuple(given.hook_folders),
    )


def _merge(under: Given, over: Given) -> None:
    under.gateway.update(over.gateway)
    under.limits.update(over.limits)
    for name, values in over.pools.items():
        pool = under.pools.setdefault(name, {})
        if "ini" in values and "ini" in pool:
            # Directive by directive, as settings are.
            ini = {**pool["ini"].typed, **values["ini"].typed}
            values["ini"] = Value(ini, values["ini"].written)
        pool.update(values)
    for name, options in over.hooks.items():
        under.hooks.setdefault(name, {}).update(options)
    under.hook_folders.update(over.hook_folders)
    for name, values in over.stores.items():
        under.stores.setdefault(name, {}).update(values)
    for path, values in over.routes.items():
        under.routes.setdefault(path, {}).update(values)


def _asked_hooks(given: Given) -> list[tuple[str, str]]:
    asked = [values["hooks"] for values in given.routes.values() if "hooks" in values]
    return [(name, value.written) for value in asked for name in value.typed]


def _follow(limits: Values) -> None:
    for name, about in described(Limits).items():
        if about.follows in limits and name not in limits:
            limits[name] = limits[about.follows]


def _make(section: type, values: Values, **more: str) -> Any:
    return section(**{name: value.typed for name, value in values.items()}, **more)


# --- gateway ---------------------------------------------------------------------------------


def _check_gateway(gateway: Gateway, values: Values) -> None:
    if gateway.certificate and not gateway.private_key:
        raise ConfigError(
            f"{values['certificate'].written}: needs --private-key FILE too (the same file, if "
            "the key is in it)"
        )
    if gateway.private_key and not gateway.certificate:
        raise ConfigError(f"{values['private_key'].written}: needs --certificate FILE too")
    own = gateway.certificate or gateway.certificates
    if gateway.self_signed and own:
        name = "certificate" if gateway.certificate else "certificates"
        raise ConfigError(f"{values[name].written}: leave it out, or leave out --self-signed")
    if "client_certificate" in values and not gateway.client_ca:
        raise ConfigError(f"{values['client_certificate'].written}: needs --client-ca FILE too")
    _check_tls_ports(gateway, values, secure=bool(own) or gateway.self_signed)
    for name in ("certificate", "private_key", "client_ca"):
        if name in values:
            check_file(*values[name])
    if gateway.certificates:
        check_folder(*values["certificates"])
    _check_control(gateway, values)
    _check_stop(gateway, values)


def _check_stop(gateway: Gateway, values: Values) -> None:
    # Both given is a choice; one alone would be cut off by a limit that nobody thought of.
    if "drain_timeout" not in values or "stop_timeout" in values:
        return
    if gateway.drain_timeout >= gateway.stop_timeout:
        raise ConfigError(
            f"{values['drain_timeout'].written}: a stop ends after gateway.stop_timeout = "
            f"{gateway.stop_timeout:g} s (the default), answered or not; raise that above it too"
        )


def _check_control(gateway: Gateway, values: Values) -> None:
    if gateway.control is None:
        if gateway.control_token_file is not None:
            written = values["control_token_file"].written
            raise ConfigError(f"{written}: nothing asks for it; give --control ENDPOINT too")
    elif gateway.control_token_file is not None:
        check_file(*values["control_token_file"])
    elif not is_unix_endpoint(gateway.control):
        raise ConfigError(
            f"{values['control'].written}: needs --control-token-file FILE too, unless it is a "
            "UNIX socket, like unix:/run/wsgate/control.sock"
        )


def _check_tls_ports(gateway: Gateway, values: Values, *, secure: bool) -> None:
    short = [port for port in gateway.port if _TLS_PORT.match(port)]
    if short and not secure:
        written = values["port"].written
        which = f"{escaped(short[0])} " if len(gateway.port) > 1 else ""
        raise ConfigError(f"{written}: {which}needs a certificate; give {_CERTIFICATES}")
    # Whoever gives a certificate must not find out later that nothing was encrypted.
    if (secure or gateway.client_ca) and not short:
        names = ("certificate", "certificates", "self_signed", "client_ca")
        name = next(name for name in names if name in values)
        raise ConfigError(f"{values[name].written}: no port uses it; give --port tls:443 too")


# --- workers ---------------------------------------------------------------------------------


def _workers(asked: int, given: Given, limits: Limits, pools: Iterable[Pool]) -> int:
    """Return how many workers there are: each needs a part of everything that is shared out.

    `auto` (0) is one for each core this process may run on, and no more than there are parts.
    """
    shared = [
        (
            pool.max_in_flight,
            f"pools.{pool.name}.max_in_flight",
            given.pools[pool.name].get("max_in_flight"),
        )
        for pool in pools
    ]
    written = given.limits.get("max_connections")
    shared.append((limits.max_connections, "limits.max_connections", written))
    least, name, value = min(shared, key=itemgetter(0))
    if asked == 0:
        return min(_cores(), least)
    if asked > least:
        few = value.written if value else f"{name} = {least} (the default)"
        raise ConfigError(
            f"{given.gateway['workers'].written}: more than {few}, of which each worker needs one "
            f"at least; raise that to {asked}, or lower workers to {least}"
        )
    return asked


def _cores() -> int:
    """How many cores this process may run on; not every system can tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# --- pools -----------------------------------------------------------------------------------


def _imply_default_pool(given: Given, demo: bool) -> None:
    """Make the pool `default` where it is meant without being written.

    Not beside pools of a file: there a route that forgot its `pool` is a mistake, and a second,
    private PHP would hide it.
    """
    meant = any(
        "pool" not in values or values["pool"].typed == "default"
        for values in given.routes.values()
        if not needs_no_pool(values)
    )
    filed = any(
        not values or not all(map(_by_option, values.values())) for values in given.pools.values()
    )
    if demo or (meant and not filed):
        given.pools.setdefault("default", {})


def _by_option(value: Value) -> bool:
    return value.written.startswith("--")


def _check_unused(given: Given, used: set[str]) -> None:
    """Refuse options for a pool that nothing uses: they were meant for another."""
    for name, values in given.pools.items():
        for value in values.values():
            if name not in used and _by_option(value):
                raise ConfigError(
                    f"{value.written}: no route uses the pool {name}; used: "
                    f"{', '.join(sorted(used))}"
                )


def _make_pool(name: str, values: Values) -> Pool:
    pool: Pool = _make(Pool, values, name=name)
    if pool.streams >= max(pool.max_in_flight, 2):
        raise ConfigError(
            f"{values['max_streams'].written}: must be less than max_in_flight, which is "
            f"{pool.max_in_flight}: messages need a PHP worker as well"
        )
    if pool.fastcgi:
        for setting in _PRIVATE_ONLY:
            if setting in values:
                raise ConfigError(
                    f"{values[setting].written}: only for a private PHP pool, and "
                    f"{values['fastcgi'].written} makes this one a foreign one; leave one out"
                )
    elif pool.php and "/" in pool.php:
        check_file(*values["php"])
        if not os.access(pool.php, os.X_OK):
            raise ConfigError(f"{values['php'].written}: not a program this user may run")
    return pool


# --- routes ----------------------------------------------------------------------------------


def _make_route(path: str, values: Values, pools: dict[str, Pool]) -> Route:
    check_dialect(values)
    _check_hooks(values)
    if is_pusher(values):
        check_file(*values["app_secret_file"])
    if needs_no_pool(values):
        bare: Route = _make(Route, values, script="", pool="")
        return with_path(bare)
    check_grip(values)
    if "grip_key_file" in values:
        check_file(*values["grip_key_file"])
    if "script" not in values:
        first = next((value.written for value in values.values()), dotted(("route", path)))
        raise ConfigError(f"{first}: the route has no script; give --script FILE")
    route: Route = _make(Route, values)
    if route.pool not in pools:
        raise ConfigError(_no_such_pool(route, values, pools))
    if pools[route.pool].private:
        check_file(*values["script"])
    root = route.root
    if os.path.commonpath((root, route.script)) != root:
        written = values["document_root"].written
        raise ConfigError(f"{written}: the script {as_written(route.script)} is not inside")
    return with_path(route)


def _check_hooks(values: Values) -> None:
    if "on_hook_failure" in values and "hooks" not in values:
        raise ConfigError(f"{values['on_hook_failure'].written}: the route has no hooks")
    if "hooks" in values and "dialect" in values and values["dialect"].typed != "plain":
        raise ConfigError(
            f'{values["hooks"].written}: only for dialect = "plain"; leave it out, or the dialect'
        )


def _no_such_pool(route: Route, values: Values, pools: dict[str, Pool]) -> str:
    if "pool" in values:
        nearest = did_you_mean(route.pool, pools or ["default"])
        return f"{values['pool'].written}: no such pool{nearest}"
    return (
        f"{values['script'].written}: the route names no pool, and there is no [pools.default]; "
        f"known: {', '.join(sorted(pools))}"
    )
