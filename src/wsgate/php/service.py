"""The private PHP as a Twisted service: always there, and gone when wsgate is gone."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from wsgate.backoff import Backoff
from wsgate.floods import CalmLogger
from wsgate.interpreter import why_no_python
from wsgate.php import guardian
from wsgate.php.command import Command, command_for
from wsgate.php.configuration import EXTENSIONS, check_extensions, settings
from wsgate.php.errors import PHPError
from wsgate.php.find import Program
from wsgate.php.folder import PrivateFolder, private_parent
from wsgate.php.guarded import GuardedPHP
from wsgate.php.lines import LogLine
from wsgate.php.probe import Probe
from wsgate.php.users import php_user

# Seconds. A first answer later than this deserves a line in the log.
SLOW_START = 5.0

# Seconds a stop may take: the guardian's own bounds add up to 2.3, so longer means it hangs.
STOP_PATIENCE = 4.0
KILL_PATIENCE = 1.0


class PrivatePHP(Service):
    """A pool of `workers` PHP processes of our own on a UNIX socket that only we can reach.

    States: stopped; starting (spawned, no answer yet); answering; waiting (ended, a restart is
    due); stopping.

    `on_ready` is called each time PHP begins to answer on `socket_path`, `on_gone` each time it
    stopped answering by itself; they alternate, beginning with `on_ready`. A stop calls neither.

    `socket_path` is valid from startService on, and stays the same through all restarts.
    `ini` holds php.ini settings, which win over ours (configuration.DEFAULT_INI). `extensions` are
    those that php-fpm lets a script's file have; none given means any. `user` is whom PHP runs as,
    by php_user's rules.

    Raises:
        PHPError: at once, for a user that cannot be had or a setting that cannot be written;
            in startService, when there is no place for the socket.
    """

    log = CalmLogger(namespace="wsgate")
    socket_path: str = ""

    def __init__(
        self,
        reactor: Any,  # IReactorTime, IReactorProcess and IReactorUNIX in one
        program: Program,
        *,
        name: str,
        workers: int,
        ini: Mapping[str, str],
        user: str | None = None,
        on_ready: Callable[[], None],
        on_gone: Callable[[], None],
        extensions: Collection[str] = EXTENSIONS,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        php_user(user)
        check_extensions(extensions)
        self._reactor = reactor
        self._program = program
        self.pool_name = name
        """The pool whose PHP it is."""
        self.restarts = 0
        """How often PHP was started after the first time."""
        self._workers = workers
        self._settings = settings(ini, opcache=program.opcache)
        self._user = user
        self._on_ready = on_ready
        self._on_gone = on_gone
        self._extensions = extensions
        self._environ = environ
        self._folder: PrivateFolder | None = None
        self._command: Command | None = None
        self._php: GuardedPHP | None = None
        self._probe: Probe | None = None
        self._timer: IDelayedCall | None = None
        self._answering_since: float | None = None
        self._backoff = Backoff()
        self._stopped: Deferred[None] | None = None

    @property
    def is_answering(self) -> bool:
        """Whether PHP answers now, as far as is known."""
        return self._answering_since is not None

    def __repr__(self) -> str:
        return f"<PrivatePHP {self.pool_name}: {self._program.kind} {self._program.version}>"

    def startService(self) -> None:
        """Make the private folder and start PHP. Raises PHPError, OSError."""
        no_guardian = why_no_python(guardian.__file__)
        if no_guardian:
            raise PHPError(no_guardian)
        self._folder = PrivateFolder.create(private_parent(self._environ))
        self.socket_path = self._folder.socket_path
        try:
            self._command = self._prepare(self._folder)
        except BaseException:
            self._all_gone()
            raise
        self._backoff = Backoff()
        super().startService()
        self._start()

    def stopService(self) -> Deferred[None]:
        """Stop PHP. Fires when it is gone, within some 5 seconds whatever PHP does."""
        super().stopService()
        if self._stopped is not None:
            again: Deferred[None] = Deferred()
            self._stopped.chainDeferred(again)
            return again
        self._answering_since = None
        self._stop_waiting()
        if self._folder is None:
            return succeed(None)
        stopped = self._stopped = Deferred()
        if self._php is None:
            self._all_gone()
        else:
            self._php.stop()
            self._timer = self._reactor.callLater(STOP_PATIENCE, self._lose_patience)
        return stopped

    def _prepare(self, folder: PrivateFolder) -> Command:
        return command_for(
            self._program,
            folder,
            name=self.pool_name,
            workers=self._workers,
            settings=self._settings,
            user=php_user(self._user),
            extensions=self._extensions,
            environ=self._environ,
        )

    def _start(self) -> None:
        assert self._folder is not None
        assert self._command is not None
        self._timer = None
        self._php = php = GuardedPHP(self._reactor, self._relay)
        php.ended.addCallback(self._ended)
        php.ended.addErrback(self._bug)
        try:
            php.spawn(
                self._command.guardian,
                self._command.arguments,
                self._command.environment,
                self._folder.lock,
            )
        except OSError as error:
            php.ended.callback(f"its guardian cannot be started: {error}")
            return
        self._probe = Probe(self._reactor, self.socket_path)
        self._probe.answered.addCallback(self._answers)
        self._probe.answered.addErrback(self._bug)
        self._probe.start()
        self._timer = self._reactor.callLater(SLOW_START, self._starts_slowly)

    def _restart(self) -> None:
        self.restarts += 1
        self._start()

    def _answers(self, _: None) -> None:
        self._stop_waiting()
        self._answering_since = self._reactor.seconds()
        self.log.info("{php!r} answers, {workers} workers", php=self, workers=self._workers)
        self._on_ready()

    def _ended(self, cause: str) -> None:
        self._php = None
        self._stop_waiting()
        if not self.running:
            self._all_gone()
            return
        since, self._answering_since = self._answering_since, None
        served = 0.0 if since is None else self._reactor.seconds() - since
        delay = self._backoff.after(served)
        self.log.error(
            "{php!r} ended {when}: {cause}; next start in {delay:g} s",
            php=self,
            when="before it answered" if since is None else f"after {served:.1f} s",
            cause=cause,
            delay=delay,
        )
        self._timer = self._reactor.callLater(delay, self._restart)
        if since is not None:
            self._on_gone()

    def _all_gone(self) -> None:
        if self._folder is not None:
            self._folder.remove()
            self._folder = None
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.callback(None)

    def _lose_patience(self) -> None:
        if self._php is not None:
            self.log.error("{php!r} does not stop: killing it", php=self)
            self._php.kill()
            self._timer = self._reactor.callLater(KILL_PATIENCE, self._give_up)

    def _give_up(self) -> None:
        self.log.error("{php!r} cannot even be killed: leaving it behind", php=self)
        self._all_gone()

    def _starts_slowly(self) -> None:
        self._timer = None
        self.log.warn("{php!r} has not answered for {slow:g} s", php=self, slow=SLOW_START)

    def _stop_waiting(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None

    def _bug(self, failure: Failure) -> None:
        self.log.failure("{php!r}: an error in what was told of it", failure, php=self)

    def _relay(self, line: LogLine) -> None:
        self.log.emit(
            line.level,
            "PHP {pool}: {line}",
            pool=self.pool_name,
            line=line.text,
            kind=(self.pool_name, line.text),
        )
