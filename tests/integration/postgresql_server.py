"""A real PostgreSQL of the tests' own: made once, each test's server a copy that begins at once."""

import atexit
import contextlib
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.integration.gateway_process import descendants, eventually, free_port, freeze

PASSWORD = "p@ss:word/1"
"""Of the user app. In a URL it is ESCAPED."""

ESCAPED = "p%40ss%3Aword%2F1"

FAST = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")


def program(name: str) -> str:
    """A program of PostgreSQL's; Debian has them in a folder for each version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else name


def _as_other() -> dict[str, object]:
    """What makes a process another user's where this is root: it refuses to be root."""
    if os.geteuid() != 0:
        return {}
    found = pwd.getpwnam("postgres")
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


@functools.cache
def _template() -> Path:
    """A cluster with the users of the tests, made once for all of them."""
    folder = _folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "password").write_text(PASSWORD)
    shutil.chown(folder / "password", folder.owner())
    subprocess.run(
        [
            *(program("initdb"), "-D", folder / "data", "-U", "app"),
            *("--pwfile", folder / "password", "-A", "scram-sha-256", "-E", "UTF8"),
            *("--no-locale", "--no-sync", "--no-instructions"),
        ],
        check=True,
        capture_output=True,
        cwd="/",
        **_as_other(),
    )
    return folder / "data"


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="wsgate-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    return folder


class PostgreSQLServer:
    """One PostgreSQL that can be killed or frozen, and started again in its place."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.folder = _folder()
        self.url = f"postgresql://app:{ESCAPED}@127.0.0.1:{self.port}/postgres"
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None
        subprocess.run(["cp", "-a", _template(), self.folder / "data"], check=True)

    def start(self) -> None:
        """Start it; returns when it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(program("postgres"), "-D", self.folder / "data", "-p", str(self.port)),
                    *("-k", self.folder, "-c", "listen_addresses=127.0.0.1"),
                    *(*FAST, *self._options),
                ],
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **_as_other(),
            )
        eventually(self._is_ready, 30, "PostgreSQL is ready")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        asked = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def kill(self) -> None:
        """End it, and all of its processes, as a crash does."""
        if self.process is not None:
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
            # It names a process that is gone, or by now another.
            (self.folder / "data/postmaster.pid").unlink(missing_ok=True)

    def pids(self) -> list[int]:
        """Its processes; each leads a session of its own."""
        assert self.process is not None
        return [self.process.pid, *descendants(self.process.pid)]

    def freeze(self) -> None:
        """Let it say nothing more, with its connections open."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                freeze(pid)

    def thaw(self) -> None:
        """Let it go on."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def run(self, sql: str) -> str:
        """What psql says to some SQL; one row a line, columns with | between them."""
        options = ["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "app"]
        done = subprocess.run(
            [*options, "-p", str(self.port), "-c", sql, "postgres"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PGPASSWORD": PASSWORD},
        )
        return done.stdout.strip()


@contextlib.contextmanager
def postgresql_server(*options: str) -> Iterator[PostgreSQLServer]:
    """A PostgreSQL that runs, with a user `app`, who may do anything, and a database postgres."""
    server = PostgreSQLServer(*options)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)
