"""The pools that routes use, made of their settings, and the private PHPs among them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from wsgate import php
from wsgate.config import Limits, Pool, Route, Settings
from wsgate.fastcgi import Backend, BreakerRules, ConnectionPool, PoolLimits, UNIXEndpoint
from wsgate.secure import SecureEndpoint


def recipes(asked: Settings, routes: Sequence[Route]) -> dict[str, object]:
    """What each pool that `routes` use is made of; equal where a pool need not be made anew."""
    found: dict[str, object] = {}
    for name, pool in asked.pools.items():
        scripts = [route.script for route in routes if route.pool == name]
        if scripts:
            own = (asked.limits.max_message_size, _extensions(scripts)) if pool.private else ()
            found[name] = (pool, asked.limits.max_answer_size, own)
    return found


def make_pools(
    reactor: Any, asked: Settings, routes: Sequence[Route], names: Iterable[str] | None = None
) -> tuple[dict[str, ConnectionPool], list[php.PrivatePHP]]:
    """The pools that `routes` use, by name, and the private PHPs among them; of `names` only.

    Raises:
        php.PHPError: there is no PHP, or it cannot be run as it should.
    """
    pools: dict[str, ConnectionPool] = {}
    privates: list[php.PrivatePHP] = []
    for name, pool in asked.pools.items():
        scripts = [route.script for route in routes if route.pool == name]
        if not scripts or (names is not None and name not in names):
            continue
        if pool.private:
            pools[name], private = _private_pool(reactor, pool, asked.limits, scripts)
            privates.append(private)
        else:
            backends = [
                Backend(address, _fastcgi_endpoint(reactor, address)) for address in pool.fastcgi
            ]
            pools[name] = _connection_pool(reactor, pool, asked.limits, backends)
    return pools, privates


def _connection_pool(
    reactor: IReactorTime,
    pool: Pool,
    limits: Limits,
    backends: Sequence[Backend],
) -> ConnectionPool:
    most = PoolLimits(
        max_in_flight=pool.max_in_flight,
        queue=pool.queue,
        queue_deadline=pool.queue_deadline,
        connect_timeout=pool.connect_timeout,
        write_timeout=pool.write_timeout,
        response_timeout=pool.response_timeout,
        max_answer_size=limits.max_answer_size,
        max_streams=pool.streams,
        keep_connections=pool.keeps_connections,
        own_workers=pool.private,
        breaker=BreakerRules(pool.breaker_connects, pool.breaker_percent),
    )
    return ConnectionPool(reactor, backends, most, name=pool.name)


def _private_pool(
    reactor: Any, pool: Pool, limits: Limits, scripts: Iterable[str]
) -> tuple[ConnectionPool, php.PrivatePHP]:
    private: php.PrivatePHP
    # The path of its socket is known only once it is started.
    endpoint = UNIXEndpoint(reactor, lambda: private.socket_path)
    connections = _connection_pool(reactor, pool, limits, [Backend("private PHP", endpoint)])
    connections.hold()
    private = php.PrivatePHP(
        reactor,
        php.find_php(pool.php),
        name=pool.name,
        workers=pool.max_in_flight,
        ini=private_ini(pool.ini, limits.max_message_size),
        user=pool.user,
        extensions=_extensions(scripts),
        on_ready=connections.release,
        on_gone=connections.hold,
    )
    return connections, private


def _extensions(scripts: Iterable[str]) -> list[str]:
    # What an operator names as a script is one, whatever its ending.
    return sorted({".php", ".phar", *(os.path.splitext(script)[1] for script in scripts)})


POST_MAX_SIZE = 8 * 2**20
"""PHP's own default, which a private pool never goes below."""


def private_ini(given: Mapping[str, str], max_message_size: int) -> dict[str, str]:
    """The `php.ini` directives of a private pool: PHP must take what wsgate lets in.

    Above `post_max_size` PHP drops the body and runs the script all the same.
    """
    return {"post_max_size": str(max(POST_MAX_SIZE, max_message_size)), **given}


def _fastcgi_endpoint(reactor: Any, description: str) -> IStreamClientEndpoint:
    """The endpoint of a FastCGI address: of a plain UNIX path the quick one, of TLS ours."""
    kind, _, path = description.partition(":")
    if kind == "unix" and not set(path) & set(":=\\"):
        return UNIXEndpoint(reactor, lambda: path)
    endpoint: IStreamClientEndpoint = clientFromString(reactor, description)
    if kind.lower() == "tls":
        return SecureEndpoint(endpoint, _host(description))
    return endpoint


def _host(description: str) -> str:
    """The host in `tls:HOST:PORT…` or `tls:host=HOST…`, by Twisted's rules."""
    parts = re.split(r"(?<!\\):", description)[1:]
    named = [part.removeprefix("host=") for part in parts if part.startswith("host=")]
    positional = [part for part in parts if not re.match(r"[A-Za-z]+=", part)]
    return re.sub(r"\\(.)", r"\1", (named or positional)[0])
