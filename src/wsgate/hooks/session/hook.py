"""The hook `session`: who has a session of PHP, and what PHP is told of it."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from wsgate.config.session import SessionOptions
from wsgate.floods import CalmLogger
from wsgate.hooks.connection import Connection
from wsgate.hooks.errors import HookFailed
from wsgate.hooks.hook import Hook, OnConnect, Refuse
from wsgate.hooks.services import Services
from wsgate.hooks.session import fields, formats
from wsgate.hooks.session.formats import Session
from wsgate.hooks.session.names import session_id
from wsgate.hooks.session.sources import Source
from wsgate.hooks.session.unserialize import Unreadable

log = CalmLogger(namespace="wsgate")

CHECKS_AT_ONCE = 4
"""Sessions looked up at a time for clients that are in."""

_QUICK = 8192
"""Bytes of a session that are read in the reactor's own thread: a few milliseconds at most."""

LOGGED_OUT = 4401, "logged out"
ANOTHER_USER = 4401, "another user"


class SessionHook(Hook):
    """Looks the session of a client up when it comes in, and again while it is in if asked to."""

    def __init__(self, services: Services, options: SessionOptions, source: Source) -> None:
        self._services = services
        self._options = options
        self._source = source
        # Of clients that are in; those who come in do not wait for them.
        self._turns = DeferredSemaphore(CHECKS_AT_ONCE)

    def stop(self) -> None:
        """No connection needs it any more."""
        self._source.stop()

    async def on_connect(self, connection: Connection) -> OnConnect:
        """Let in who has a session with all that is required, and tell PHP of it."""
        session = session_id(connection.cookie(self._options.cookie))
        found = await self._look_up(session) if session is not None else {}
        if fields.lacking(found, self._options.required) is not None:
            return Refuse(403, "not logged in")
        self._count("let_in" if found else "without")
        if found and session is not None:
            self._tell(connection, found)
            self._watch(connection, session)
        return None

    async def _look_up(self, session: str) -> Session:
        """The session; empty where there is none.

        Raises:
            HookFailed: it cannot be known.
        """
        data = await self._source.look_up(session) or b""
        read = partial(formats.read, data, self._options.serialize_handler)
        try:
            if len(data) <= _QUICK:
                return read()
            reactor = self._services.reactor
            return await deferToThreadPool(reactor, reactor.getThreadPool(), read)
        except Unreadable as error:
            raise HookFailed(f"a session {error}") from None

    def _tell(self, connection: Connection, session: Session) -> None:
        try:
            for name, value in fields.params(session, self._options.fields).items():
                connection.set_param(name, value)
            user = fields.user(session, self._options.user_field)
            connection.memory[self] = user
            if user is not None:
                connection.bind_user(user)
        except ValueError as error:
            raise HookFailed(f"a field of a session cannot be told to PHP: {error}") from None

    # -- clients that are in

    def _watch(self, connection: Connection, session: str) -> None:
        if self._options.check_interval:
            connection.call_later(
                self._options.check_interval, partial(self._begin_check, connection, session)
            )

    def _begin_check(self, connection: Connection, session: str) -> None:
        checking: Deferred[tuple[int, str] | None] = self._turns.run(
            lambda: Deferred.fromCoroutine(self._check(connection, session))
        )
        checking.addErrback(self._check_failed)
        checking.addCallback(partial(self._checked, connection, session))

    async def _check(self, connection: Connection, session: str) -> tuple[int, str] | None:
        """Why a client may not stay with what its session is now; None if it may.

        Raises:
            HookFailed: it cannot be known.
        """
        found = await self._look_up(session)
        if not found or fields.lacking(found, self._options.required) is not None:
            return LOGGED_OUT
        before = connection.memory.get(self)
        if before != fields.user(found, self._options.user_field):
            return ANOTHER_USER
        self._tell(connection, found)
        return None

    def _check_failed(self, failure: Failure) -> None:
        """Whoever is in stays: a store that is away for a moment must not close everybody."""
        if failure.check(CancelledError):
            # This hook has stopped.
            return
        self._count("check_failed")
        log.warn(
            "hook {hook}: a client stays, whose session cannot be looked up: {error}",
            hook=self._services.name,
            error=failure.value if failure.check(HookFailed) else type(failure.value).__name__,
        )

    def _checked(self, connection: Connection, session: str, over: tuple[int, str] | None) -> None:
        if over is None:
            self._watch(connection, session)
        else:
            self._count("logged_out")
            connection.close(*over)

    def _count(self, outcome: str) -> None:
        self._services.count(self._services.name, outcome)
