"""A real MariaDB of the tests' own: made once, each test's server a copy that begins at once."""

import atexit
import functools
import os
import shutil
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

from tests.integration.server_process import ServerProcess, private_folder, running

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
GRANT ALL ON *.* TO app@'%' WITH GRANT OPTION;
CREATE USER app@localhost IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON *.* TO app@localhost WITH GRANT OPTION;
"""


def _user() -> list[str]:
    # It refuses to be root, and becomes another by itself.
    return ["--user=mysql"] if os.geteuid() == 0 else []


@functools.cache
def _template() -> Path:
    """A data folder with the users of the tests, made once for all of them."""
    folder = private_folder("mariadb", "mysql")
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


class MariaDBServer(ServerProcess):
    """A MariaDB with a database."""

    name = "mariadb"

    def __init__(self, *options: str) -> None:
        super().__init__("mysql")
        self.url = f"mysql://app:{ESCAPED}@127.0.0.1:{self.port}/app"
        self.options = list(options)
        subprocess.run(["cp", "-a", _template(), self.folder / "data"], check=True)

    def arguments(self) -> list[str]:
        return [
            *(PROGRAM, "--no-defaults", *_user(), f"--datadir={self.folder}/data"),
            *(f"--port={self.port}", "--bind-address=127.0.0.1", *SMALL),
            *(f"--socket={self.folder}/socket", f"--pid-file={self.folder}/pid"),
            *self.options,
        ]

    def is_ready(self) -> bool:
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

    def run(self, sql: str) -> str:
        """What the client says to some SQL; one row a line, columns with tabs between them."""
        done = self._client(sql)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def mariadb_server(*options: str) -> AbstractContextManager[MariaDBServer]:
    """A MariaDB that runs, with a user `app`, who may do anything, and a database app."""
    return running(MariaDBServer(*options))
