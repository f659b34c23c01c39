"""A real MariaDB of the tests' own: made once, each test's server a copy that begins at once."""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.integration.gateway_process import eventually, free_port, freeze

PASSWORD = "p@ss:word/1"
"""Of the user app. In a URL it is ESCAPED."""

ESCAPED = "p%40ss%3Aword%2F1"

PROGRAM = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
"""Debian has it where only root looks."""

SMALL = (
    *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", "--skip-log-bin"),
    *("--performance-schema=OFF", "--innodb-fast-shutdown=2", "--skip-name-resolve"),
)

USERS = f"""
CREATE DATABASE app CHARACTER SET utf8mb4;
CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON *.* TO app@'%';
CREATE USER app@localhost IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON *.* TO app@localhost;
"""


def _user() -> list[str]:
    # It refuses to be root, and becomes another by itself.
    return ["--user=mysql"] if os.geteuid() == 0 else []


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="wsgate-mariadb-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "mysql", "mysql")
    return folder


@functools.cache
def _template() -> Path:
    """A data folder with the users of the tests, made once for all of them."""
    folder = _folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    options = ["--no-defaults", *_user(), f"--datadir={folder}/data"]
    subprocess.run(
        [
            *("mariadb-install-db", *options, "--auth-root-authentication-method=normal"),
            *("--skip-test-db", *SMALL),
        ],
        check=True,
        capture_output=True,
        cwd="/",
    )
    subprocess.run(
        [PROGRAM, *options, "--bootstrap", "--skip-grant-tables=0", *SMALL],
        input=USERS.encode(),
        check=True,
        capture_output=True,
        cwd="/",
    )
    return folder / "data"


class MariaDBServer:
    """One MariaDB that can be killed or frozen, and started again in its place."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.folder = _folder()
        self.url = f"mysql://app:{ESCAPED}@127.0.0.1:{self.port}/app"
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None
        subprocess.run(["cp", "-a", _template(), self.folder / "data"], check=True)

    def start(self) -> None:
        """Start it; returns when it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(PROGRAM, "--no-defaults", *_user(), f"--datadir={self.folder}/data"),
                    *(f"--port={self.port}", "--bind-address=127.0.0.1", *SMALL),
                    *(f"--socket={self.folder}/socket", f"--pid-file={self.folder}/pid"),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        eventually(self._is_ready, 30, "MariaDB is ready")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        return self._client("SELECT 1").returncode == 0

    def _client(self, sql: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["mariadb", "--no-defaults", f"--socket={self.folder}/socket", "-uapp", "-NB", "app"],
            input=sql,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "MYSQL_PWD": PASSWORD},
        )

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Let it say nothing more, with its connections open."""
        assert self.process is not None
        freeze(self.process.pid)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def run(self, sql: str) -> str:
        """What the client says to some SQL; one row a line, columns with tabs between them."""
        done = self._client(sql)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextlib.contextmanager
def mariadb_server(*options: str) -> Iterator[MariaDBServer]:
    """A MariaDB that runs, with a user `app`, who may do anything, and a database app."""
    server = MariaDBServer(*options)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)
