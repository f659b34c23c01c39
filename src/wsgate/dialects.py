"""What routes of other dialects need beside their scripts, as the settings say."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from wsgate import config as settings
from wsgate.bus import SharedChannels
from wsgate.gateway import Route
from wsgate.ports import CannotStart
from wsgate.pusher import (
    WEBHOOKS,
    ApiFactory,
    App,
    Applications,
    Served,
    read_app_secret,
)
from wsgate.secretfile import SecretUnusable
from wsgate.websocket import GatewayFactory


def pusher_apps(routes: Sequence[settings.Route]) -> dict[str, App]:
    """The applications of the routes of the dialect Pusher, by path.

    Raises:
        CannotStart: a secret cannot be read.
    """
    try:
        return {route.path: _app(route) for route in routes if route.dialect == "pusher"}
    except SecretUnusable as error:
        raise CannotStart(str(error)) from None


def _app(route: settings.Route) -> App:
    assert route.app_id is not None
    assert route.app_key is not None
    assert route.app_secret_file is not None
    webhooks = route.webhooks if route.script else ()
    return App(
        id=route.app_id,
        key=route.app_key,
        secret=read_app_secret(route.app_secret_file, f"route[{route.path}].app_secret_file"),
        prefix=route.path.removesuffix(f"/app/{route.app_key}"),
        client_events=route.client_events,
        subscription_counts=route.subscription_counts,
        activity_timeout=route.activity_timeout,
        max_presence_members=route.max_presence_members,
        max_presence_member_size=route.max_presence_member_size,
        max_event_size=route.max_event_size,
        webhooks=frozenset(name for word in webhooks for name in WEBHOOKS[word]),
        webhook_uri=route.webhook_uri or "",
    )


class Pusher:
    """The applications of a gateway, through all changes, and their HTTP API."""

    def __init__(self, reactor: Any, factory: GatewayFactory) -> None:
        self._factory = factory
        channels = factory.channels
        shared = isinstance(channels, SharedChannels)
        self.applications = Applications(reactor, channels, time.time, shared=shared)
        self._api = ApiFactory(reactor, self.applications, time.time)

    def serve(self, apps: Mapping[str, App], routes: Iterable[Route]) -> None:
        """Let `routes` be of the applications at their paths, and no others be served."""
        served = []
        for route in routes:
            app = apps.get(route.path)
            if app is not None:
                route.dialect = "pusher"
                route.make_conversation = partial(self.applications.converse, app.id)
                script = route.script if route.script.filename else None
                served.append(Served(app, script, route.pool))
        self.applications.serve(served)
        self._factory.plain_http = self._api if served else None

    def start(self) -> None:
        """Clients may come."""
        self.applications.start()

    def close(self) -> None:
        """Everybody is gone: tell other processes, and end the API's connections."""
        self.applications.stop()
        self._api.close()
