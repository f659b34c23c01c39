"""Wires everything together; the only module that knows the real reactor.

`twistd` finds `Options` and `makeService` here by the plugin's description, and a `.tac` file calls
the same two.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred, maybeDeferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsgate import __version__, cgi, demo, php, tls
from wsgate import config as settings
from wsgate.dispatch import call_directly
from wsgate.eager import write_eagerly
from wsgate.fastcgi import Backend, ConnectionPool, UNIXEndpoint
from wsgate.gateway import QueueLimits, Route
from wsgate.options import Options
from wsgate.websocket import GatewayFactory, Page, WebSocketOptions

__all__ = ["GatewayService", "Options", "makeService"]

log = Logger(namespace="wsgate")

DRAIN_TIMEOUT = 20.0
"""Seconds that requests in flight get to finish when the service stops."""


class CannotStart(SystemExit):
    """The service cannot start; Python prints the one line and exits with status 1."""

    def __init__(self, line: str) -> None:
        super().__init__(f"wsgate: {line}")
        log.critical("{line}", line=line)


def makeService(options: Options) -> GatewayService:
    """Make the service that `options.settings` describe.

    Raises:
        CannotStart: a certificate, a port string or PHP itself is missing or unusable.
    """
    from twisted.internet import reactor

    return make_service(reactor, options.settings)


def make_service(reactor: Any, asked: settings.Settings) -> GatewayService:
    """As `makeService`, on a reactor of the caller's choice."""
    try:
        creator = tls.connection_creator(
            certificate=asked.gateway.certificate,
            private_key=asked.gateway.private_key,
            certificates=asked.gateway.certificates,
            self_signed=asked.gateway.self_signed,
        )
        ports = [(port, tls.server_endpoint(reactor, port, creator)) for port in asked.gateway.port]
        _check_scripts(asked)
        routes = [*asked.routes, *_demo_routes(asked)]
        pools, privates = _pools(reactor, asked, routes)
    except (tls.TLSError, php.PHPError) as error:
        raise CannotStart(str(error)) from None
    pages = [Page("/", *demo.page())] if asked.gateway.demo else []
    factory = GatewayFactory(
        reactor,
        [_route(route, pools[route.pool]) for route in routes],
        _options(asked.limits),
        pages,
    )
    return GatewayService(reactor, factory, ports, list(pools.values()), privates)


def _options(limits: settings.Limits) -> WebSocketOptions:
    return WebSocketOptions(
        max_message_size=limits.max_message_size,
        max_frame_size=limits.max_frame_size,
        max_fragments=limits.max_fragments,
        fragment_size=limits.fragment_size,
        max_header_bytes=limits.max_header_bytes,
        max_header_lines=limits.max_header_lines,
        max_connections=limits.max_connections,
        max_connections_per_address=limits.max_connections_per_address,
        queue=QueueLimits(limits.queue_per_connection, limits.queue_bytes_per_connection),
        handshake_timeout=limits.handshake_timeout,
        ping_interval=limits.ping_interval,
        pong_timeout=limits.pong_timeout,
        close_timeout=limits.close_timeout,
        send_high_water=limits.send_high_water,
        send_timeout=limits.send_timeout,
        compression=limits.compression,
    )


# -- pools


def _pools(
    reactor: Any, asked: settings.Settings, routes: Sequence[settings.Route]
) -> tuple[dict[str, ConnectionPool], list[php.PrivatePHP]]:
    """The pools that routes use, and the private PHPs among them."""
    pools: dict[str, ConnectionPool] = {}
    privates: list[php.PrivatePHP] = []
    for name, pool in asked.pools.items():
        scripts = [route.script for route in routes if route.pool == name]
        if not scripts:
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
    pool: settings.Pool,
    limits: settings.Limits,
    backends: Sequence[Backend],
) -> ConnectionPool:
    return ConnectionPool(
        reactor,
        backends,
        max_in_flight=pool.max_in_flight,
        queue=pool.queue,
        queue_deadline=pool.queue_deadline,
        response_timeout=pool.response_timeout,
        connect_timeout=pool.connect_timeout,
        keep_connections=pool.keeps_connections,
        max_answer_size=limits.max_answer_size,
        name=pool.name,
    )


def _private_pool(
    reactor: Any, pool: settings.Pool, limits: settings.Limits, scripts: Iterable[str]
) -> tuple[ConnectionPool, php.PrivatePHP]:
    # What an operator names as a script is one, whatever its ending.
    extensions = {".php", ".phar", *(os.path.splitext(script)[1] for script in scripts)}
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
        extensions=sorted(extensions),
        on_ready=connections.release,
        on_gone=connections.hold,
    )
    return connections, private


POST_MAX_SIZE = 8 * 2**20
"""PHP's own default, which a private pool never goes below."""


def private_ini(given: Mapping[str, str], max_message_size: int) -> dict[str, str]:
    """The `php.ini` directives of a private pool: PHP must take what wsgate lets in.

    Above `post_max_size` PHP drops the body and runs the script all the same.
    """
    return {"post_max_size": str(max(POST_MAX_SIZE, max_message_size)), **given}


def _fastcgi_endpoint(reactor: Any, description: str) -> IStreamClientEndpoint:
    """The endpoint of a FastCGI address; a plain UNIX path gets the quick one."""
    kind, _, path = description.partition(":")
    if kind == "unix" and not set(path) & set(":=\\"):
        return UNIXEndpoint(reactor, lambda: path)
    endpoint: IStreamClientEndpoint = clientFromString(reactor, description)
    return endpoint


# -- routes


def _demo_routes(asked: settings.Settings) -> list[settings.Route]:
    """The routes of the demo, where their paths are free."""
    if not asked.gateway.demo:
        return []
    taken = {route.path for route in asked.routes}
    pool = asked.pools.get("default") or next(iter(asked.pools.values()))
    folder = demo.script_folder(_is_readable(pool))
    return [
        settings.Route(path=path, script=f"{folder}/{name}", pool=pool.name)
        for path, name in demo.ROUTES
        if path not in taken
    ]


def _is_readable(pool: settings.Pool) -> Any:
    return lambda path: not pool.private or php.readable_by(path, pool.user)


def _check_scripts(asked: settings.Settings) -> None:
    for route in asked.routes:
        pool = asked.pools[route.pool]
        if not _is_readable(pool)(route.script):
            raise CannotStart(
                f"--script {route.script}: the user {php.user_name(pool.user)}, whom PHP runs as, "
                "cannot read it; move it, or change its permissions or those of its folders"
            )


def _route(route: settings.Route, pool: ConnectionPool) -> Route:
    root = route.root.rstrip("/")
    script = cgi.Script(route.script, route.script.removeprefix(root), root or "/")
    return Route(
        path=route.path,
        script=script,
        pool=pool,
        origins=frozenset(origin.lower() for origin in route.origins),
        subprotocols=route.subprotocols,
        on_error=route.on_error,
        text_content_type=route.text_content_type,
        binary_content_type=route.binary_content_type,
    )


# -- the service


class GatewayService(Service):
    """Ports, connections, pools and PHP, started and stopped in the right order.

    Ports are bound before privileges are dropped; PHP starts after that. Messages that come
    before PHP answers wait in the pool's queue.
    """

    name = "wsgate"

    def __init__(
        self,
        reactor: Any,
        factory: GatewayFactory,
        ports: Sequence[tuple[str, IStreamServerEndpoint]],
        pools: Sequence[ConnectionPool],
        privates: Sequence[php.PrivatePHP],
    ) -> None:
        self.factory = factory
        self.pools = pools
        self._reactor = reactor
        self._ports = ports
        self._privates = privates
        self.listening: list[IListeningPort] = []

    def privilegedStartService(self) -> None:
        """Bind the ports.

        Raises:
            CannotStart: one of them cannot be bound.
        """
        super().privilegedStartService()
        _raise_file_limit(self.factory.options.max_connections)
        for description, endpoint in self._ports:
            listening = endpoint.listen(self.factory)
            listening.addCallback(self._listens)
            listening.addErrback(_cannot_listen, description)
            # Every endpoint of Twisted binds at once; a failure must not hide in a log.
            _raise_now(listening)

    def _listens(self, port: IListeningPort) -> None:
        write_eagerly(port)
        self.listening.append(port)

    def startService(self) -> None:
        """Start PHP and say where wsgate is."""
        if not self.listening:
            self.privilegedStartService()
        super().startService()
        call_directly(self._reactor)
        try:
            for private in self._privates:
                private.startService()
        except (php.PHPError, OSError) as error:
            raise CannotStart(str(error)) from None
        for (description, _), listening in zip(self._ports, self.listening, strict=True):
            log.info(
                "wsgate {version} listens on {url}",
                version=__version__,
                url=_url(description, listening.getHost()),
            )

    def stopService(self) -> Deferred[None]:
        """Stop without losing what is under way.

        Accept nothing new, let requests in flight finish within `DRAIN_TIMEOUT`, close every
        connection with 1001, then stop PHP.
        """
        super().stopService()
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        await DeferredList([_deferred(port.stopListening()) for port in self.listening])
        self.listening = []
        drained = DeferredList([pool.stop() for pool in self.pools])
        await drained.addTimeout(DRAIN_TIMEOUT, self._reactor).addErrback(_log_undrained)
        await self.factory.close_all()
        await DeferredList([_deferred(private.stopService()) for private in self._privates])
        log.info("stopped; messages: {tally}", tally=self.factory.tally())


def _log_undrained(_: Failure) -> None:
    log.warn("requests still in flight after {seconds} s are given up", seconds=DRAIN_TIMEOUT)


def _cannot_listen(failure: Failure, description: str) -> None:
    error = failure.value
    why: object = error
    if isinstance(error, CannotListenError):
        why = getattr(error.socketError, "strerror", None) or error.socketError
    raise CannotStart(f"--port {description}: cannot listen there: {why}")


def _url(description: str, host: Any) -> str:
    """A bound port as people write it."""
    if not isinstance(host, IPv4Address | IPv6Address):
        return description
    scheme = "wss" if description.startswith(("tls:", "ssl:")) else "ws"
    if host.host in ("0.0.0.0", "::"):
        name = socket.gethostname()
    else:
        name = f"[{host.host}]" if ":" in host.host else host.host
    return f"{scheme}://{name}:{host.port}/"


SPARE_FILES = 512
"""Descriptors beside those of the clients: PHP, logs, the reactor, connections being refused."""


def _raise_file_limit(connections: int) -> None:
    """Use what the hard limit allows; warn where that is too little for `max_connections`."""
    needed = connections + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            log.warn(
                "limits.max_connections = {connections}: this process may open only {files} files; "
                "raise its limit (systemd: LimitNOFILE={needed}) or lower max_connections",
                connections=connections,
                files=soft,
                needed=needed,
            )


def _raise_now(deferred: Deferred[Any]) -> None:
    failures: list[Failure] = []
    deferred.addErrback(failures.append)
    for failure in failures:
        failure.raiseException()


def _deferred(result: Any) -> Deferred[Any]:
    return maybeDeferred(lambda: result)
