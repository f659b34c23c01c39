"""SIGHUP: the settings read anew, and what they say put in place of what was.

Whatever is wrong with the new ones, the log says it in one line and everything stays as it was;
only of several workers some may have the new ones by then, and the line says which.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields, replace

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsgate.config import ConfigError, Gateway, Settings
from wsgate.php import PHPError
from wsgate.ports import CannotStart
from wsgate.secretfile import SecretUnusable
from wsgate.tls import TLSError

log = Logger(namespace="wsgate")

CHANGEABLE = frozenset(
    {"drain_timeout", "close_spread", "stop_timeout", "disconnect_age", "disconnect_backlog"}
)
"""What of `[gateway]` can change at run time; everything of the other sections can."""


class NotTaken(Exception):
    """New settings that could not be put in place; `str()` is one line."""


_WRONG = (
    *(ConfigError, PHPError, TLSError, CannotStart, SecretUnusable, NotTaken),
    OSError,
)
"""What the parts say of settings that cannot be put in place."""


class TakenInPart(Exception):
    """New settings that only some of the workers have; `str()` is one line that says which."""


def fixed_changes(before: Settings, after: Settings) -> list[str]:
    """The names of settings that differ and need a restart."""
    return [
        f"gateway.{field.name}"
        for field in fields(Gateway)
        if field.name not in CHANGEABLE
        and getattr(before.gateway, field.name) != getattr(after.gateway, field.name)
    ]


def changed(before: Settings, after: Settings) -> Settings:
    """`after`, with what needs a restart as it was `before`."""
    can_change = {name: getattr(after.gateway, name) for name in CHANGEABLE}
    return replace(after, gateway=replace(before.gateway, **can_change))


Follower = Callable[[Settings], Callable[[], object]]
"""What goes by the settings too. It is given new ones before they are put in place, and raises what
keeps them from it; what it gives back is called once they are."""


class Reload:
    """Reloads when it is called, one time after the other; asked again meanwhile, once more.

    `read` gives the settings as they are now written. `apply` puts new ones in place, or changes
    nothing and raises; TakenInPart where it could not undo what it had changed. Each of `others` is
    called first: renewed files other than the settings. `begins` and `is_over` are called around it
    all.
    """

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        apply: Callable[[Settings], Awaitable[None]],
        *,
        others: Sequence[Callable[[], object]] = (),
        begins: Callable[[], object] = lambda: None,
        is_over: Callable[[], object] = lambda: None,
    ) -> None:
        self.settings = settings
        """Those in place."""
        self.followers: list[Follower] = []
        self._read = read
        self._apply = apply
        self._others = others
        self._begins = begins
        self._is_over = is_over
        self._asked = 0
        self._running = False

    def __call__(self) -> None:
        """Reload now, or once more when the present one is over."""
        self._asked += 1
        if not self._running:
            self._running = True
            ensureDeferred(self._run()).addErrback(self._bug)

    async def _run(self) -> None:
        try:
            while self._asked:
                self._asked = 0
                self._begins()
                try:
                    await self._once()
                finally:
                    self._is_over()
        finally:
            self._running = False

    async def _once(self) -> None:
        for other in self._others:
            other()
        try:
            after = self._read()
            self._warn_of(fixed_changes(self.settings, after))
            after = changed(self.settings, after)
            ready = [follower(after) for follower in self.followers]
            await self._apply(after)
        except _WRONG as error:
            line = str(error).removeprefix("wsgate: ")
            log.error("SIGHUP: {line}; the settings stay as they were", line=line)
        except TakenInPart as error:
            log.error("SIGHUP: {line}", line=error)
        else:
            what = "the settings are as before" if after == self.settings else "new settings taken"
            self.settings = after
            for follow in ready:
                follow()
            log.info("SIGHUP: {what}", what=what)

    def _warn_of(self, names: Sequence[str]) -> None:
        if names:
            log.warn("SIGHUP: {names}: changes only with a restart", names=", ".join(names))

    def _bug(self, failure: Failure) -> None:
        log.failure("the reload failed", failure)
