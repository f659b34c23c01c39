"""What happens in an application's channels, told to its script in batches.

Pusher's documentation, "Webhooks". The script gets what it would get over HTTP: a POST with the
events as JSON, and their signature in `HTTP_X_PUSHER_SIGNATURE`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from itertools import islice
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsgate import cgi
from wsgate.fastcgi import ConnectionPool, Lane, Request, Response, encode_params
from wsgate.floods import CalmLogger
from wsgate.oneline import one_line
from wsgate.pusher.app import App
from wsgate.pusher.signatures import signature
from wsgate.pusher.told import encoded
from wsgate.timeouts import Timeout, Timeouts

GATHER = 0.1
"""Seconds in which events become one batch."""

MOST_IN_BATCH = 100
MOST_WAITING = 10_000
"""Events that wait for the script; more are dropped, the newest first."""

MOST_BYTES_IN_BATCH = 1024 * 1024
"""Below PHP's post_max_size. A single event may be longer."""
MOST_BYTES_WAITING = 16 * 1024 * 1024
"""The same for bytes: clients say what is in theirs."""

RETRIES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 57.0)
"""Seconds before each further try of a batch: five minutes in all, then it is dropped."""

RELOAD = 3.0
"""Seconds in which a page that is loaded anew comes back: nobody has left then."""

Ask = Callable[[bytes, str], "Deferred[Response]"]

_log = CalmLogger(namespace="wsgate")


class Failed(Exception):
    """The script did not take a batch; `str()` says why, for the log."""


class Counts:
    """Events and what became of them; `told` and `dropped` have been `gathered`."""

    __slots__ = ("dropped", "failures", "gathered", "told")

    def __init__(self) -> None:
        self.gathered = self.told = self.dropped = self.failures = 0


class Webhooks:
    """Tells an application's script of events, in order, one batch at a time.

    A batch that the script does not answer with 2xx is sent again after each of `RETRIES`. What
    ends within `RELOAD` seconds before it begins again is not told at all.

    Args:
        app: gives the settings of now: which events are told, and what signs.
        timeouts: for pauses.
        ask: calls the script with a body and its signature.
        now: Unix time in seconds.
    """

    def __init__(
        self, app: Callable[[], App], timeouts: Timeouts, ask: Ask, now: Callable[[], float]
    ) -> None:
        self.counts = Counts()
        self._app = app
        self._timeouts = timeouts
        self._ask = ask
        self._now = now
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._ending: dict[Hashable, Timeout] = {}
        self._timer: Timeout | None = None
        self._is_asking = False
        self._tries = 0

    def tell(self, name: str, **about: object) -> None:
        """An event happened."""
        if name not in self._app().webhooks:
            return
        self.counts.gathered += 1
        event = encoded({"name": name, **about}).encode()
        is_full = self._waiting_bytes + len(event) > MOST_BYTES_WAITING
        if is_full or len(self._waiting) >= MOST_WAITING:
            self.counts.dropped += 1
            return
        self._waiting.append(event)
        self._waiting_bytes += len(event)
        if self._timer is None and not self._is_asking:
            self._timer = self._timeouts.call_later(GATHER, self._next)

    def begins(self, name: str, *key: str, **about: object) -> None:
        """Something begins, like a channel's being occupied, which `key` names."""
        ending = self._ending.pop(key, None)
        if ending is None:
            self.tell(name, **about)
        else:
            ending.cancel()

    def ends(self, name: str, *key: str, **about: object) -> None:
        """What `key` names ends, unless it begins again soon."""
        if len(self._ending) >= MOST_WAITING:
            self.tell(name, **about)
        elif name in self._app().webhooks and key not in self._ending:
            self._ending[key] = self._timeouts.call_later(RELOAD, self._has_ended, key, name, about)

    def _has_ended(self, key: Hashable, name: str, about: dict[str, object]) -> None:
        del self._ending[key]
        self.tell(name, **about)

    def _next(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        batch = self._batch()
        body = b'{"time_ms":%d,"events":[%b]}' % (self._now() * 1000, b",".join(batch))
        self._is_asking = True
        asked = self._ask(body, signature(self._app().secret, body))
        asked.addCallback(check_response).addCallbacks(
            lambda _: self._done(len(batch)), self._failed, errbackArgs=(len(batch),)
        )
        asked.addErrback(lambda failure: _log.failure("webhooks", failure))

    def _batch(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        for event in islice(self._waiting, MOST_IN_BATCH):
            size += len(event)
            if batch and size > MOST_BYTES_IN_BATCH:
                break
            batch.append(event)
        return batch

    def _done(self, count: int) -> None:
        self.counts.told += count
        self._forget(count)

    def _failed(self, failure: Failure, count: int) -> None:
        self.counts.failures += 1
        if self._tries == len(RETRIES):
            _log.error(
                "webhooks of app {app}: {count} events are dropped: {why}",
                app=self._app().id,
                count=count,
                why=one_line(str(failure.value)),
            )
            self.counts.dropped += count
            self._forget(count)
            return
        pause = RETRIES[self._tries]
        self._tries += 1
        _log.warn(
            "webhooks of app {app}: the script fails, tried again in {pause:g} s: {why}",
            app=self._app().id,
            pause=pause,
            why=one_line(str(failure.value)),
            kind=("webhooks", self._app().id),
        )
        self._is_asking = False
        self._timer = self._timeouts.call_later(pause, self._next)

    def _forget(self, count: int) -> None:
        self._is_asking = False
        self._tries = 0
        for _ in range(count):
            self._waiting_bytes -= len(self._waiting.popleft())
        if self._waiting:
            self._timer = self._timeouts.call_later(0, self._next)


def check_response(response: Response) -> None:
    """See whether the script took the events.

    Raises:
        Failed: it did not: no 2xx, or a fatal error.
        cgi.MalformedResponse: its output is no response.
    """
    head, _ = cgi.parse_response(response.stdout)
    if _FATAL in response.stderr:
        raise Failed("PHP says: " + one_line(response.stderr))
    if not 200 <= head.status <= 299:
        raise Failed(f"it answered with status {head.status}")


# The output until then may have gone out as a 200 before.
_FATAL = b"PHP message: PHP Fatal error: "


class Script(NamedTuple):
    """The script that is told, and through which pool."""

    script: cgi.Script
    pool: ConnectionPool


def ask_script(of: Callable[[], Script], settings: Callable[[], App]) -> Ask:
    """Makes webhooks calls of a script; `of` and `settings` give those of now."""

    def ask(body: bytes, signed: str) -> Deferred[Response]:
        script, pool = of()
        app = settings()
        uri = (app.webhook_uri or script.name).encode()
        params = encode_params(
            [
                *cgi.script_params(script),
                (b"REQUEST_METHOD", b"POST"),
                (b"REQUEST_URI", uri),
                (b"QUERY_STRING", b""),
                (b"SERVER_PROTOCOL", b"HTTP/1.1"),
                (b"REMOTE_ADDR", b"127.0.0.1"),
                (b"SERVER_NAME", b"localhost"),
                (b"CONTENT_TYPE", b"application/json"),
                (b"CONTENT_LENGTH", b"%d" % len(body)),
                (b"HTTP_CONTENT_TYPE", b"application/json"),
                (b"HTTP_HOST", b"localhost"),
                (b"HTTP_X_PUSHER_KEY", app.key.encode()),
                (b"HTTP_X_PUSHER_SIGNATURE", signed.encode()),
                (b"WSGATE_EVENT", b"webhook"),
            ]
        )
        return pool.request(Request(params, body), Lane.MESSAGE)

    return ask
