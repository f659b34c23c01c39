"""A real redis-server of a test's own."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.integration.gateway_process import eventually, free_port


class RedisServer:
    """One redis-server that can be killed, and started again in its place.

    `persistent`: what it is told is on disk before it answers. `options` are its own.
    """

    def __init__(self, folder: Path, *options: str, persistent: bool = False) -> None:
        self.port = free_port()
        self.folder = folder
        self.url = f"redis://127.0.0.1:{self.port}"
        self._options = [
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", ""),
            *(("--appendonly", "yes", "--appendfsync", "always") if persistent else ()),
            *options,
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it listens."""
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", *self._options], stdout=log, stderr=log, start_new_session=True
            )
        eventually(self._listens, 20, "redis-server listens")

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "redis.log").read_text()
        port = self.port if "--tls-port" not in self._options else int(self._tls_port())
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def _tls_port(self) -> str:
        return self._options[self._options.index("--tls-port") + 1]

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def command(self, *words: str) -> str:
        """What redis-cli says."""
        options = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(options, capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def redis_server(*options: str, persistent: bool = False) -> Iterator[RedisServer]:
    """A redis-server that runs."""
    folder = Path(tempfile.mkdtemp(prefix="wsgate-redis-"))
    server = RedisServer(folder, *options, persistent=persistent)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
