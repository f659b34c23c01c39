"""Kills at random: PHP's workers, its master, wsgate itself, and Redis."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

from tests.integration.gateway_process import Gateway, eventually, free_port

WORKER, MASTER, WSGATE, REDIS = "PHP worker", "PHP master", "wsgate", "Redis"


class Redis:
    """A redis-server of our own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As `--bus` wants it."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it."""
        program = shutil.which("redis-server")
        assert program, "no redis-server: scripts/setup --tests"
        self.process = subprocess.Popen(
            [program, "--port", str(self.port), "--save", "", "--bind", "127.0.0.1"],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """SIGKILL. Harmless when it is not running."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


class Mischief:
    """Does one thing at a time to a gateway that is always the same one, started again."""

    def __init__(self, gateway: Gateway, redis: Redis | None, seed: int) -> None:
        self.gateway = gateway
        self._redis = redis
        self._random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self._acts = {WORKER: self._worker, MASTER: self._master, WSGATE: self._wsgate}
        if redis is not None:
            self._acts[REDIS] = self._kill_redis

    def strike(self) -> None:
        """Do one of them."""
        name = self._random.choice([*self._acts, WORKER])
        with contextlib.suppress(ProcessLookupError, AssertionError):
            self._acts[name]()
            self.counts[name] += 1

    def _worker(self) -> None:
        workers = self.gateway.fpm_workers()
        assert workers
        os.kill(self._random.choice(workers), signal.SIGKILL)

    def _master(self) -> None:
        os.kill(self.gateway.fpm_master(), signal.SIGKILL)

    def _wsgate(self) -> None:
        before = self.gateway
        os.kill(before.pid, signal.SIGKILL)
        before.process.wait(10)
        self.start_again()

    def start_again(self) -> None:
        """The same service once more, with the same folders."""
        before = self.gateway
        assert isinstance(before.process.args, list)
        eventually(lambda: not before.accepts(), 10, "the port is free")
        self.gateway = Gateway(before.place, list(map(str, before.process.args)), before.port)
        self.gateway.wait_until_accepting(Gateway.accepts)

    def _kill_redis(self) -> None:
        assert self._redis is not None
        self._redis.kill()
        time.sleep(self._random.uniform(0, 1))
        self._redis.start()
