"""A wsgate process, the backend a case makes faulty, and bystanders: what every case plays on."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.faults.bystanders import Bystanders
from tests.faults.metrics import Metrics
from tests.faults.scripted_fastcgi import ScriptedFastCGI
from tests.faults.status import fpm_processes
from tests.integration.gateway_process import Gateway, eventually, free_port, gateway
from tests.integration.php_fpm import PHPFPM, php_fpm
from tests.integration.raw_client import RawClient
from wsgate.config.limits import Limits

LATE = 0.5
"""Seconds an error may come after its deadline."""
NOISE = 0.5
"""Seconds that a busy machine may add to anything."""

# The cases connect as often as they like, from one address; D8 is about these limits.
_NO_RATE_LIMITS = {"new_connections_per_address": 0, "max_connections_per_address": 0}


class Stage:
    """A running wsgate. `peer` or `fpm` is the backend of the route `/`.

    The route `/close` is the same, but closes on errors; `/bystander` is the bystanders'.
    """

    def __init__(
        self,
        running: Gateway,
        bystanders: Bystanders,
        peer: ScriptedFastCGI | None = None,
        fpm: PHPFPM | None = None,
    ) -> None:
        self.wsgate = running
        self.bystanders = bystanders
        self.peer = peer
        self.fpm = fpm
        self.told: set[str] = set()
        """Message ids of all errors that `error` has read."""
        self.resident = 0
        """Resident memory in bytes, when the stage was new."""
        self.descriptors = 0
        """Open files then."""
        self.disconnects = 0
        """Bystanders that a case disconnects on purpose."""
        self.scraped = 0.0
        """When /metrics was asked last."""
        self.kept = 0
        """Connections to the backend that may stay open while nothing is asked."""
        self.ended_by_the_case = False
        self.fpm_runs = True
        self.silent = False
        """Whether a case takes the log away."""

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self.wsgate.port

    @property
    def also(self) -> dict[str, int]:
        """The numbers of further ports, by their kind."""
        return self.wsgate.also

    def client(self, path: str = "/", **options: Any) -> RawClient:
        """A raw client."""
        return RawClient(self.port, path, **options)

    def ask(self, message: bytes, path: str = "/", *, is_text: bool = True) -> bytes:
        """Send one message on a connection of its own; the answer."""
        with self.client(path) as client:
            client.send_message(message, is_text)
            return client.receive_message()

    def error(self, message: bytes, deadline: float = 0.0, path: str = "/") -> Error:
        """Send one message, on a connection of its own, that must fail, once, within `deadline`."""
        with self.client(path) as client:
            return self.error_on(client, message, deadline)

    def error_on(self, client: RawClient, message: bytes, deadline: float = 0.0) -> Error:
        """As `error`, on this connection, which must still serve afterwards."""
        began = time.monotonic()
        client.send_message(message)
        return self.next_error(client, began, deadline)

    def next_error(self, client: RawClient, began: float, deadline: float = 0.0) -> Error:
        """The next message, which must be an error; `deadline` counts from `began`."""
        answer = client.receive_message()
        seconds = time.monotonic() - began
        said = json.loads(answer)["error"]
        assert set(said) == {"status", "reason", "message_id"}, answer
        assert seconds < deadline + LATE + NOISE, f"{said} after {seconds:.2f} s"
        self.told.add(said["message_id"])
        return Error(said["status"], said["reason"], said["message_id"], seconds)

    def log_of(self, message_id: str) -> list[str]:
        """The lines of log that hold this text or the id of this message."""
        exactly = re.compile(re.escape(message_id) + r"(?!\d)")
        return [line for line in self.wsgate.log().splitlines() if exactly.search(line)]

    def metrics(self) -> Metrics:
        """What /metrics says now, or said less than a second ago."""
        self.scraped = time.monotonic()
        return Metrics(self.wsgate.control)

    def open_files(self) -> int:
        """Descriptors of wsgate now."""
        return len(os.listdir(f"/proc/{self.wsgate.pid}/fd"))

    def workers_idle(self) -> bool:
        """Whether no worker of php-fpm has a request, or a connection that may not be kept."""
        assert self.fpm is not None
        return fpm_processes(self.fpm).active <= self.kept


class Error:
    """An error message that a client got, and after how many seconds."""

    def __init__(self, status: int, reason: str, message_id: str, seconds: float) -> None:
        self.status = status
        self.reason = reason
        self.message_id = message_id
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"<Error {self.status} {self.reason!r} after {self.seconds:.3f} s>"


Settings = Mapping[str, Any]


@contextlib.contextmanager
def scripted_stage(
    path: str | None = None, backends: tuple[str, ...] = (), **asked: Any
) -> Iterator[Stage]:
    """A stage whose backend is a `ScriptedFastCGI`, on TCP or at the UNIX socket `path`.

    `backends` are the endpoints that wsgate is given, where they are not the peer's own.
    """
    with contextlib.ExitStack() as stack:
        peer = ScriptedFastCGI(path)
        stack.callback(peer.stop)
        endpoints = list(backends) or [peer.endpoint]
        running, bystanders = stack.enter_context(_wsgate(endpoints, __file__, **asked))
        stage = Stage(running, bystanders, peer=peer)
        if asked.get("pool", {}).get("keep_connections"):
            stage.kept = 8
        yield stage


@contextlib.contextmanager
def php_stage(
    *,
    workers: int = 2,
    listen: str = "unix",
    scripts: Mapping[str, str] | None = None,
    ini: Mapping[str, str] | None = None,
    fpm: Mapping[str, str] | None = None,
    pool: Settings | None = None,
    **asked: Any,
) -> Iterator[Stage]:
    """A stage whose backend is a real php-fpm. Each of `scripts` has the route `/NAME`.

    `main.php` answers `/`.
    """
    texts = {"main.php": ECHO, **(scripts or {})}
    folder = Path(tempfile.mkdtemp(prefix="wsgate-status-"))
    folder.chmod(0o755)
    status = {"pm.status_path": "/status", "pm.status_listen": str(folder / "status.sock")}
    try:
        with php_fpm(workers, listen, texts, ini, {**status, **(fpm or {})}) as running_fpm:
            running_fpm.status_socket = status["pm.status_listen"]
            routes = {f"/{name}": running_fpm.script_path(name) for name in texts}
            with _wsgate(
                [running_fpm.endpoint],
                running_fpm.script_path("main.php"),
                pool={"max_in_flight": workers, **(pool or {})},
                routes=routes,
                **asked,
            ) as (running, bystanders):
                stage = Stage(running, bystanders, fpm=running_fpm)
                if (pool or {}).get("keep_connections"):
                    stage.kept = workers
                yield stage
    finally:
        shutil.rmtree(folder, ignore_errors=True)


ECHO = """<?php
header('Content-Type: ' . ($_SERVER['WSGATE_OPCODE'] === 'binary'
    ? 'application/octet-stream' : 'text/plain'));
echo file_get_contents('php://input');
"""


_PORTS = {
    "tls": "tls:{}:interface=127.0.0.1",
    "haproxy": "haproxy:tcp:{}:interface=127.0.0.1",
}
"""Further ports that a stage may have: what `also` names."""


@contextlib.contextmanager
def _wsgate(
    endpoints: list[str],
    script: str,
    *,
    pool: Settings | None = None,
    limits: Settings | None = None,
    gateway_settings: Settings | None = None,
    routes: Mapping[str, str] | None = None,
    also: tuple[str, ...] = (),
    command: list[str] | None = None,
    env: Mapping[str, str] | None = None,
    options: tuple[str, ...] = (),
) -> Iterator[tuple[Gateway, Bystanders]]:
    folder = Path(tempfile.mkdtemp(prefix="wsgate-stage-"))
    folder.chmod(0o755)
    bystanders = Bystanders(folder / "bystanders.sock")
    lines = [
        *_table("gateway", {"control": f"unix:{folder}/control.sock", **(gateway_settings or {})}),
        *_table("limits", {**_NO_RATE_LIMITS, **(limits or {})}),
        *_table("pools.default", {"fastcgi": endpoints, **(pool or {})}),
        *_table("pools.bystanders", {"fastcgi": bystanders.endpoint}),
        *_table("[route]", {"path": "/bystander", "script": script, "pool": "bystanders"}),
        *_table("[route]", {"path": "/", "script": script}),
        *_table("[route]", {"path": "/close", "script": script, "on_error": "close"}),
    ]
    for path, file in (routes or {}).items():
        lines += _table("[route]", {"path": path, "script": file})
    config = folder / "wsgate.toml"
    config.write_text("\n".join(lines) + "\n")
    try:
        numbers = {kind: free_port() for kind in also}
        more = (f"--port={_PORTS[kind].format(number)}" for kind, number in numbers.items())
        with gateway(
            f"--config={config}", *more, *options, script=None, command=command, env=env
        ) as running:
            running.also = numbers
            running.control = f"{folder}/control.sock"
            yield running, bystanders
    finally:
        bystanders.end()
        shutil.rmtree(folder, ignore_errors=True)


def _table(name: str, values: Settings) -> list[str]:
    # JSON's strings, numbers, booleans and lists are TOML's.
    return [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]


def needs_limit(name: str) -> pytest.MarkDecorator:
    """Skip the case where wsgate has no such setting."""
    there = name in {field.name for field in fields(Limits)}
    return pytest.mark.skipif(not there, reason=f"there is no setting limits.{name}")


_TALLY = re.compile(r"stopped; messages: (.*)")


def closing_tally(running: Gateway) -> dict[str, int]:
    """What wsgate says became of the messages, in its last line."""
    (counts,) = _TALLY.findall(running.log())
    return {key: int(value) for value, key in (pair.split() for pair in counts.split(", "))}


def stop(running: Gateway) -> dict[str, int]:
    """End wsgate by SIGTERM; its closing tally, which must agree with itself."""
    status = running.stop(signal.SIGTERM)
    assert status in (0, -signal.SIGTERM), status
    tally = closing_tally(running)
    assert tally["received"] == sum(tally.values()) - tally["received"], tally
    return tally


def until(condition, seconds: float = 5.0, what: str = "") -> Any:
    """`eventually`, with a machine's noise allowed for."""
    return eventually(condition, seconds + NOISE, what)
