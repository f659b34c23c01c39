"""A real server of a test's own: one that can be killed or frozen, and started again."""

from __future__ import annotations

import abc
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.integration.gateway_process import descendants, eventually, free_port, freeze


class ServerProcess(abc.ABC):
    """A server on a port of its own, not started yet. `folder` is removed at the end."""

    name: str
    """What errors call it."""

    def __init__(self, owner: str | None = None) -> None:
        """`owner` is the user whose `folder` is, where this is root: many refuse to be root."""
        self.port = free_port()
        self.folder = private_folder(self.name, owner)
        self.process: subprocess.Popen[bytes] | None = None

    @abc.abstractmethod
    def arguments(self) -> list[str]:
        """The command that starts it in the foreground."""

    def user(self) -> dict[str, Any]:
        """Options of Popen that make it another user's."""
        return {}

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        return listens(self.port)

    def start(self) -> None:
        """Start it; returns when it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **self.user(),
            )
        eventually(self._is_up, 30, f"{self.name} takes connections")

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")
        return self.is_ready()

    def kill(self) -> None:
        """End it as a crash does. Harmless when it does not run."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Let it say nothing more, with its connections open."""
        for pid in self._pids():
            with contextlib.suppress(OSError):
                freeze(pid)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _pids(self) -> list[int]:
        assert self.process is not None
        return [self.process.pid, *descendants(self.process.pid)]


S = TypeVar("S", bound=ServerProcess)


@contextlib.contextmanager
def running(server: S) -> Iterator[S]:
    """Start it; at the end nothing of it is left."""
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


def private_folder(name: str, owner: str | None = None) -> Path:
    """A new folder, of the user `owner` where this is root."""
    folder = Path(tempfile.mkdtemp(prefix=f"wsgate-{name}-"))
    if owner is not None and os.geteuid() == 0:
        shutil.chown(folder, owner, owner)
    return folder


def listens(port: int) -> bool:
    """Whether a port of 127.0.0.1 takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
