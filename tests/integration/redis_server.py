"""A real redis-server of a test's own."""

import subprocess
from contextlib import AbstractContextManager

from tests.integration.server_process import ServerProcess, listens, running


class RedisServer(ServerProcess):
    """A redis-server; what it is told is on disk before it answers if it is `persistent`.

    `options` are its own.
    """

    name = "redis"

    def __init__(self, *options: str, persistent: bool = False) -> None:
        super().__init__()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._options = [
            *("--save", ""),
            *(("--appendonly", "yes", "--appendfsync", "always") if persistent else ()),
            *options,
        ]

    def arguments(self) -> list[str]:
        return [
            *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--dir", str(self.folder), *self._options),
        ]

    def is_ready(self) -> bool:
        if "--tls-port" in self._options:
            return listens(int(self._options[self._options.index("--tls-port") + 1]))
        return super().is_ready()

    def command(self, *words: str) -> str:
        """What redis-cli says."""
        options = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(options, capture_output=True, text=True, check=True).stdout.strip()


def redis_server(*options: str, persistent: bool = False) -> AbstractContextManager[RedisServer]:
    """A redis-server that runs."""
    return running(RedisServer(*options, persistent=persistent))
