"""All applications of this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from twisted.internet.interfaces import IReactorTime

from wsgate import cgi
from wsgate.channels import Channels
from wsgate.fastcgi import ConnectionPool
from wsgate.gateway import Arrival, Conversation, Route
from wsgate.pusher import calls
from wsgate.pusher.app import App
from wsgate.pusher.application import Application
from wsgate.pusher.conversation import PusherConversation, TurnedAway
from wsgate.pusher.webhooks import Script, Webhooks, ask_script
from wsgate.timeouts import Timeouts


class Served(NamedTuple):
    """An application, and the script that gets its webhooks, if any, with its pool."""

    app: App
    script: cgi.Script | None
    pool: ConnectionPool


class Applications:
    """The applications by id; they stay as long as the process, whatever settings change.

    Args:
        reactor: for turns and pauses.
        channels: those of all dialects.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        channels: Channels,
        now: Callable[[], float],
        *,
        shared: bool = False,
    ) -> None:
        self._reactor = reactor
        self._channels = channels
        self._now = now
        self._shared = shared
        self._has_started = False
        self._timeouts = Timeouts(reactor)
        self._by_id: dict[str, Application] = {}
        self._scripts: dict[str, Script] = {}
        self.statuses: Counter[int] = Counter()
        """Answers of the HTTP API so far, by status."""
        self._served: frozenset[str] = frozenset()
        """Ids of those that the settings of now name."""
        self._turning_away = Route(
            path="/app",
            script=cgi.Script("", "", "/"),
            pool=_NO_POOL,
            origins=frozenset({"*"}),
            dialect="pusher",
            make_conversation=TurnedAway,
        )

    def __iter__(self) -> Iterator[Application]:
        return iter(self._by_id.values())

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._served)

    def find(self, app_id: str) -> Application | None:
        """The application of this id, if the settings name it."""
        return self._by_id.get(app_id) if app_id in self._served else None

    def has_api_at(self, target: str) -> bool:
        """Whether the API is below this target of a request."""
        return any(target.startswith(f"{prefix}/apps/") for prefix in self._prefixes())

    def stranger(self, path: str) -> Route | None:
        """The route of a path that would be of an application if there were one of this key."""
        if any(path.startswith(f"{prefix}/app/") for prefix in self._prefixes()):
            return self._turning_away
        return None

    def _prefixes(self) -> set[str]:
        return {one.app.prefix for one in self if one.app.id in self._served}

    @property
    def body_limit(self) -> int:
        """The longest body that any of them takes."""
        return max((calls.body_limit(one.app) for one in self), default=0)

    def serve(self, served: Iterable[Served]) -> None:
        """Serve these and no others."""
        served = tuple(served)
        self._served = frozenset(app.id for app, _, _ in served)
        for app, script, pool in served:
            application = self._by_id.get(app.id)
            if application is None:
                application = self._by_id[app.id] = Application(
                    app, self._channels, self._reactor.seconds, timeouts=self._timeouts
                )
                if self._has_started:
                    self._meet(application)
            application.app = app
            if script is not None:
                self._scripts[app.id] = Script(script, pool)
                application.webhooks = application.webhooks or self._webhooks(application)

    def start(self) -> None:
        """Clients may come: meet those of other processes."""
        self._has_started = True
        for application in self:
            self._meet(application)

    def _meet(self, application: Application) -> None:
        if self._shared:
            application.meet(self._timeouts)

    def stop(self) -> None:
        """Nobody is here any more."""
        self._has_started = False
        for application in self:
            application.stop()

    def _webhooks(self, application: Application) -> Webhooks:
        def script() -> Script:
            return self._scripts[application.app.id]

        return Webhooks(
            lambda: application.app,
            self._timeouts,
            ask_script(script, lambda: application.app),
            self._now,
        )

    def converse(self, app_id: str, route: Route, arrival: Arrival) -> Conversation:
        """A conversation with a new client of an application."""
        return PusherConversation(self._by_id[app_id], self._next_turn, route, arrival)

    def _next_turn(self, function: Callable[[], object]) -> None:
        self._reactor.callLater(0, function)


_NO_POOL: Any = None
"""Of a route that asks PHP for nothing."""
