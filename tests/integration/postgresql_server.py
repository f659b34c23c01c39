"""A real PostgreSQL of the tests' own: made once, each test's server a copy that begins at once."""

import atexit
import functools
import os
import pwd
import shutil
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.integration.server_process import ServerProcess, private_folder, running

PASSWORD = "p@ss:word/1"
"""Of the user app. In a URL it is ESCAPED."""

ESCAPED = "p%40ss%3Aword%2F1"

FAST = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")


def program(name: str) -> str:
    """A program of PostgreSQL's; Debian has them in a folder for each version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else name


def _as_other() -> dict[str, Any]:
    """What makes a process another user's where this is root: it refuses to be root."""
    if os.geteuid() != 0:
        return {}
    found = pwd.getpwnam("postgres")
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


@functools.cache
def _template() -> Path:
    """A cluster with the users of the tests, made once for all of them."""
    folder = private_folder("postgresql", "postgres")
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


class PostgreSQLServer(ServerProcess):
    """A PostgreSQL with a database."""

    name = "postgresql"

    def __init__(self, *options: str) -> None:
        super().__init__("postgres")
        self.url = f"postgresql://app:{ESCAPED}@127.0.0.1:{self.port}/postgres"
        self.options = list(options)
        subprocess.run(["cp", "-a", _template(), self.folder / "data"], check=True)

    def arguments(self) -> list[str]:
        return [
            *(program("postgres"), "-D", f"{self.folder}/data", "-p", str(self.port)),
            *("-k", str(self.folder), "-c", "listen_addresses=127.0.0.1"),
            *(*FAST, *self.options),
        ]

    def user(self) -> dict[str, Any]:
        return _as_other()

    def is_ready(self) -> bool:
        asked = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def kill(self) -> None:
        """End it, and all of its processes, as a crash does."""
        super().kill()
        # It names a process that is gone, or by now another.
        (self.folder / "data/postmaster.pid").unlink(missing_ok=True)

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


def postgresql_server(*options: str) -> AbstractContextManager[PostgreSQLServer]:
    """A PostgreSQL that runs, with a user `app`, who may do anything, and a database postgres."""
    return running(PostgreSQLServer(*options))
