"""The real `twistd -n wsgate` as a process of its own, for integration tests."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection

from tests.integration.websocket_client import connect
from tests.ports import free_port

START_DEADLINE = 30.0
STOP_DEADLINE = 30.0

ECHO = """<?php
header('Content-Type: ' . ($_SERVER['WSGATE_OPCODE'] === 'binary'
    ? 'application/octet-stream' : 'text/plain'));
echo file_get_contents('php://input');
"""


def eventually(condition: Callable[[], Any], seconds: float = 5.0, what: str = "") -> Any:
    """The first true value of `condition()`; AssertionError when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        # Other processes are waited for; there is nothing to be woken by.
        time.sleep(0.02)


def process_table() -> dict[int, tuple[int, str]]:
    """Each process that is no zombie: {pid: (parent, command line)}."""
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    table[int(entry.name)] = (int(parent), command.decode(errors="replace"))
    return table


def descendants(pid: int) -> list[int]:
    """The processes below `pid`, at any depth."""
    table = process_table()
    found = [pid]
    for above in found:
        found += [child for child, (parent, _) in table.items() if parent == above]
    return found[1:]


def freeze(pid: int) -> None:
    """SIGSTOP; returns when none of its threads runs any more."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")

    def stand_still() -> bool:
        stats = [task.joinpath("stat").read_text() for task in tasks.iterdir()]
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    eventually(stand_still, 10, "it stands still")


def obeys(pid: int) -> bool:
    """Whether wsgate has taken over its signals; SIGHUP is the last one that it takes."""
    caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) & 1 << signal.SIGHUP - 1)


def living(pids: list[int]) -> list[int]:
    """Those of `pids` that still run."""
    table = process_table()
    return [pid for pid in pids if pid in table]


def rss(pid: int) -> int:
    """Resident memory of a process, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no VmRSS for {pid}")


def twistd() -> str:
    """The twistd of the Python that runs the tests."""
    return str(Path(sys.executable).with_name("twistd"))


class Workplace:
    """A folder for scripts and logs that PHP can read, whichever user it runs as."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wsgate-test-"))
        self.folder.chmod(0o755)
        self.scripts = self.folder / "scripts"
        # World-writable, so that scripts can leave traces of having run.
        self.scripts.mkdir()
        self.scripts.chmod(0o777)

    def write(self, name: str, text: str) -> str:
        """Write a script that PHP can read; its path."""
        path = self.scripts / name
        path.write_text(text)
        path.chmod(0o644)
        return str(path)

    def remove(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Gateway:
    """A wsgate process. `command` is everything after the program."""

    def __init__(
        self,
        place: Workplace,
        command: list[str],
        port: int,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.place = place
        self.port = port
        self.url = f"ws://127.0.0.1:{port}"
        self.also: dict[str, int] = {}
        self.control = ""
        number = len(list(place.folder.glob("out*")))
        self._out = place.folder / f"out{number}"
        self._err = place.folder / f"err{number}"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=place.folder,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                pass_fds=pass_fds,
            )

    @property
    def pid(self) -> int:
        """Of wsgate itself."""
        return self.process.pid

    def log(self) -> str:
        """What it wrote to standard output: twistd's log."""
        return self._out.read_text(errors="replace")

    def errors(self) -> str:
        """What it wrote to standard error."""
        return self._err.read_text(errors="replace")

    def script(self, name: str) -> str:
        """The path of a script."""
        return str(self.place.scripts / name)

    def php_pids(self) -> list[int]:
        """Guardian, php-fpm's master and its workers."""
        return descendants(self.pid)

    def fpm_master(self) -> int:
        """The master of the private php-fpm, once it is there."""
        masters = eventually(lambda: self._fpm("php-fpm: master process"), 10, "php-fpm's master")
        return int(masters[0])

    def fpm_workers(self) -> list[int]:
        """The workers of the private php-fpm that live now."""
        return self._fpm("php-fpm: pool")

    def _fpm(self, title: str) -> list[int]:
        table = process_table()
        return [pid for pid in self.php_pids() if table.get(pid, (0, ""))[1].startswith(title)]

    def memory(self) -> int:
        """Resident memory of wsgate itself, in bytes."""
        return rss(self.pid)

    def accepts(self) -> bool:
        """Whether its port takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def wait_until_accepting(self, ready: "Callable[[Gateway], bool]") -> None:
        """Return once it listens. AssertionError if it ends or takes too long."""

        def up() -> bool:
            assert self.process.poll() is None, f"wsgate ended: {self.errors()}\n{self.log()}"
            return ready(self)

        eventually(up, START_DEADLINE, "wsgate accepts connections")

    def connect(self, path: str = "/", **options: Any) -> ClientConnection:
        """A client, without limits of its own."""
        return connect(self.url + path, **{"compression": None, "max_size": None} | options)

    def ask(self, message: str | bytes, path: str = "/", **options: Any) -> str | bytes:
        """Send one message on a connection of its own; the answer."""
        with self.connect(path, **options) as client:
            client.send(message)
            return client.recv(timeout=30)

    def ask_php(self) -> None:
        """Return once PHP answers; messages wait in the queue until it does."""
        self.ask("")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait; its exit status, negative if a signal ended it."""
        self.process.send_signal(number)
        return self.process.wait(STOP_DEADLINE)

    def end(self) -> None:
        """Leave nothing behind. Harmless when it has ended."""
        if self.process.poll() is None:
            below = self.php_pids()
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_DEADLINE)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(STOP_DEADLINE)
                for pid in living(below):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def gateway(
    *options: str,
    scripts: Mapping[str, str] | None = None,
    script: str | None = "echo.php",
    port: str | None = "tcp:{port}:interface=127.0.0.1",
    command: list[str] | None = None,
    workers: int | None = 2,
    env: Mapping[str, str] | None = None,
    ready: Callable[[Gateway], bool] = Gateway.accepts,
    pass_fds: Sequence[int] = (),
) -> Iterator[Gateway]:
    """A wsgate that accepts connections.

    `options`, `port` and `command` may contain {scripts}, {folder} and {port}: the temporary
    folders and a free port; {scripts} and {port} also stand in `scripts`, which are name → text.
    `script` is the one of --script, an echo if it is not among them; `port` is for --port;
    `workers` are those of the private pool. None: no such option. `command` comes in place of
    `twistd -n --pidfile= wsgate`. With `script`, new connections from one address are not limited,
    as tests make many, unless `options` do.
    """
    place = Workplace()
    try:
        number = free_port()
        words = {"scripts": place.scripts, "folder": place.folder, "port": number}
        for name, text in ({"echo.php": ECHO} | dict(scripts or {})).items():
            filled = text.replace("{scripts}", str(place.scripts)).replace("{port}", str(number))
            place.write(name, filled)
        arguments = command or [twistd(), "-n", "--pidfile=", "wsgate"]
        if script is not None:
            arguments = [*arguments, "--script", f"{place.scripts}/{script}"]
        if port is not None:
            arguments = [*arguments, "--port", port]
        if workers is not None and not any(
            o.startswith(("--fastcgi", "--config")) for o in options
        ):
            arguments = [*arguments, f"--set=pools.default.max_in_flight={workers}"]
        if script is not None:
            arguments = [*arguments, "--set=limits.new_connections_per_address=0"]
        arguments = [argument.format(**words) for argument in (*arguments, *options)]
        running = Gateway(place, arguments, number, env, pass_fds)
        try:
            running.wait_until_accepting(ready)
            yield running
        finally:
            running.end()
    finally:
        place.remove()
