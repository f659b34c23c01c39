"""What a gateway is made of, out of its settings: routes, limits, certificates and the factory.

Its pools are made in `wsgate.pools`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from wsgate import cgi, demo, grip, journal, php, tls
from wsgate import config as settings
from wsgate.bus import Bus, channels_over, make_bus
from wsgate.channels import ChannelLimits
from wsgate.fastcgi import ConnectionPool
from wsgate.gateway import (
    DepartureLimits,
    EventfulConversation,
    LastWords,
    MakeConversation,
    QueueLimits,
    Register,
    Route,
    StreamLimits,
)
from wsgate.node import NODE
from wsgate.ports import CannotStart
from wsgate.proxies import TrustedProxies
from wsgate.secretfile import SecretUnusable
from wsgate.timeouts import Timeouts
from wsgate.websocket import GatewayFactory, Page, WebSocketOptions


def make_factory(
    reactor: Any,
    asked: settings.Settings,
    routes: Sequence[settings.Route],
    pools: Mapping[str, ConnectionPool],
    register: Register,
    bus: Bus | None = None,
) -> GatewayFactory:
    """What serves `routes` to WebSocket clients; `pools` has the pool of each, by name.

    `bus` leads to other processes; that of the settings, if there is one, where it is left out.

    Raises:
        BusError, RedisError: the settings' bus cannot be used.
    """
    factory = GatewayFactory(
        reactor,
        make_routes(routes, pools, register, asked.limits),
        make_options(asked.limits),
        [Page("/", *demo.page())] if asked.gateway.demo else [],
        TrustedProxies(asked.gateway.trusted_proxies),
        tls.client_params,
        channels_over(bus or make_bus(reactor, asked)),
    )
    register.departures.heard = LastWords(factory.channels)
    return factory


def make_register(reactor: Any, gateway: settings.Gateway) -> Register:
    """Who is connected, where PHP is to hear of the end; opens nothing yet."""
    book = journal.Journal(_state_folder(gateway), NODE, reactor.callFromThread)
    return Register(book, Timeouts(reactor), time.time, departure_limits(gateway))


def _state_folder(gateway: settings.Gateway) -> str:
    return gateway.state or journal.default_folder(os.environ, is_root=os.geteuid() == 0)


def check_state(asked: settings.Settings) -> None:
    """See whether the journal can be kept, if a route asks for it.

    Raises:
        CannotStart: it cannot.
    """
    if not any("disconnect" in route.events for route in asked.routes):
        return
    try:
        journal.check_folder(_state_folder(asked.gateway))
    except journal.JournalError as error:
        raise CannotStart(str(error)) from None


def departure_limits(gateway: settings.Gateway) -> DepartureLimits:
    """What the register is to know of the settings."""
    return DepartureLimits(gateway.disconnect_age, gateway.disconnect_backlog)


def make_options(limits: settings.Limits) -> WebSocketOptions:
    """What the WebSocket side is to know of the limits."""
    return WebSocketOptions(
        max_message_size=limits.max_message_size,
        max_frame_size=limits.max_frame_size,
        max_fragments=limits.max_fragments,
        fragment_size=limits.fragment_size,
        max_header_bytes=limits.max_header_bytes,
        max_header_lines=limits.max_header_lines,
        max_connections=limits.max_connections,
        max_connections_per_address=limits.max_connections_per_address,
        new_connections_per_address=limits.new_connections_per_address,
        max_handshakes=limits.max_handshakes,
        queue=QueueLimits(limits.queue_per_connection, limits.queue_bytes_per_connection),
        messages_per_second=limits.messages_per_second,
        pusher_messages_per_second=limits.pusher_messages_per_second,
        control_frames_per_second=limits.control_frames_per_second,
        handshake_timeout=limits.handshake_timeout,
        ping_interval=limits.ping_interval,
        pong_timeout=limits.pong_timeout,
        close_timeout=limits.close_timeout,
        send_high_water=limits.send_high_water,
        send_timeout=limits.send_timeout,
        push_buffer=limits.push_buffer,
        channels=ChannelLimits(
            channels_per_connection=limits.channels_per_connection,
            max_channels=limits.max_channels,
            publish_backlog=limits.publish_backlog,
            channel_history=limits.channel_history,
            channel_history_age=limits.channel_history_age,
            channel_history_bytes=limits.channel_history_bytes,
            push_buffer=limits.push_buffer,
            variables_per_connection=limits.variables_per_connection,
            variable_bytes_per_connection=limits.variable_bytes_per_connection,
        ),
        idle_timeout=limits.idle_timeout,
        max_connection_age=limits.max_connection_age,
        compression=limits.compression,
    )


def read_certificates(gateway: settings.Gateway) -> tls.Certificates | None:
    """Those of `tls:PORT`; None where the settings name none.

    Raises:
        tls.TLSError: one of their files is missing or unusable.
    """
    files = tls.CertificateFiles(
        certificate=gateway.certificate,
        private_key=gateway.private_key,
        certificates=gateway.certificates,
        client_ca=gateway.client_ca,
        client_required=gateway.client_certificate == "require",
    )
    return tls.read_certificates(files, self_signed=gateway.self_signed)


def all_routes(asked: settings.Settings) -> list[settings.Route]:
    """Those of the settings, then those of the demo."""
    return [*asked.routes, *_demo_routes(asked)]


def _demo_routes(asked: settings.Settings) -> list[settings.Route]:
    """The routes of the demo, where their paths are free."""
    if not asked.gateway.demo:
        return []
    taken = {route.path for route in asked.routes}
    free = [(path, name) for path, name in demo.ROUTES if path not in taken]
    if not free:
        return []
    pool = asked.pools.get("default") or next(iter(asked.pools.values()))
    folder = demo.script_folder(_is_readable(pool))
    return [
        settings.Route(path=path, script=f"{folder}/{name}", pool=pool.name) for path, name in free
    ]


def _is_readable(pool: settings.Pool) -> Callable[[str], bool]:
    return lambda path: not pool.private or php.readable_by(path, pool.user)


def check_scripts(asked: settings.Settings) -> None:
    """See whether PHP will be able to read each script.

    Raises:
        CannotStart: a private PHP's user cannot.
    """
    for route in asked.routes:
        if not route.script:
            continue
        pool = asked.pools[route.pool]
        if not _is_readable(pool)(route.script):
            raise CannotStart(
                f"--script {route.script}: the user {php.user_name(pool.user)}, whom PHP runs as, "
                "cannot read it; move it, or change its permissions or those of its folders"
            )


_NO_POOL: Any = None
"""Of a route that asks PHP for nothing."""


def make_routes(
    routes: Sequence[settings.Route],
    pools: Mapping[str, ConnectionPool],
    register: Register,
    limits: settings.Limits,
) -> list[Route]:
    """`routes` as the gateway knows them; `pools` has the pool of each, by name.

    Raises:
        CannotStart: a key cannot be read.
    """
    streams = StreamLimits(
        timeout=limits.stream_timeout,
        messages=limits.stream_messages,
        size=limits.stream_bytes,
        message_size=limits.max_answer_size,
    )
    return [
        _route(route, pools[route.pool] if route.pool else _NO_POOL, register, streams)
        for route in routes
    ]


def _conversation(route: settings.Route, register: Register) -> MakeConversation | None:
    if route.dialect == "grip":
        try:
            return grip.make_grip(route, register)
        except SecretUnusable as error:
            raise CannotStart(str(error)) from None
    if route.events == ("message",):
        return None
    return partial(EventfulConversation, register)


def _route(
    route: settings.Route, pool: ConnectionPool, register: Register, streams: StreamLimits
) -> Route:
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
        events=frozenset(route.events),
        dialect=route.dialect,
        make_conversation=_conversation(route, register),
        streams=streams,
        replayed=grip.replayed if route.dialect == "grip" else None,
    )
