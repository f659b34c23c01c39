"""Processes that are measured: started, found with all their children, stopped whole."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")


class StartFailed(Exception):
    """A program ended, or did not answer, while it was being started."""


def raise_file_limit(wanted: int) -> int:
    """Raise the limit of open files for us and all we start; the result is what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted and os.geteuid() == 0:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
        except (OSError, ValueError):
            pass
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


class Processes:
    """Some programs that belong together, and everything they have started."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._started: list[subprocess.Popen[bytes]] = []
        self._programs: dict[int, str] = {}

    def start(
        self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Start `command`; its output is appended to the log."""
        with self._log.open("ab") as log:
            self._started.append(
                subprocess.Popen(
                    command,
                    cwd=cwd,
                    env={**os.environ, **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        self._programs[self._started[-1].pid] = command[0]

    def check(self) -> None:
        """Raises StartFailed if one of the programs has ended."""
        for process in self._started:
            if process.poll() is not None:
                status = process.returncode
                program = self._programs[process.pid]
                raise StartFailed(f"{program} ended with {status}: {self.tail()}")

    def tail(self) -> str:
        """The last lines of the log, for an error message."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        said = [line.strip() for line in lines if line.strip()]
        return " | ".join(said[-3:])[:400]

    def pids(self) -> list[int]:
        """All processes, children of children too."""
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (parent := _parent(int(entry))) is not None:
                children.setdefault(parent, []).append(int(entry))
        found = [process.pid for process in self._started]
        for pid in found:
            found.extend(children.get(pid, ()))
        return found

    def stop(self) -> None:
        """Ask all to end, and end those that do not within five seconds."""
        pids = self.pids()
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and any(_is_alive(pid) for pid in pids):
            for process in self._started:
                process.poll()
            time.sleep(0.02)
        for pid in pids:
            if _is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        for process in self._started:
            process.wait()
        self._started = []


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of all threads of `pids`.

    From schedstat, which counts nanoseconds; from stat (10 ms) where the kernel has none.
    """
    return sum(_cpu_seconds(pid) for pid in pids)


def memory(pids: Sequence[int], field: str = "VmRSS") -> int:
    """The sum of one line of /proc/PID/status over `pids`, in bytes."""
    total = 0
    for pid in pids:
        for line in _read(pid, "status").splitlines():
            if line.startswith(f"{field}:"):
                total += int(line.split()[1]) * 1024
    return total


def forget_peak(pids: Sequence[int]) -> None:
    """Set VmHWM back to what is in use now."""
    for pid in pids:
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except OSError:
            # A process of another user: its peak is then that of its whole life.
            continue


def _cpu_seconds(pid: int) -> float:
    nanoseconds = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            nanoseconds += int(_read(pid, f"task/{thread}/schedstat").split()[0])
    except (OSError, IndexError):
        fields = _read(pid, "stat").rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK if fields else 0.0
    return nanoseconds / 1e9


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def _parent(pid: int) -> int | None:
    fields = _read(pid, "stat").rpartition(") ")[2].split()
    return int(fields[1]) if fields else None


def _is_alive(pid: int) -> bool:
    fields = _read(pid, "stat").rpartition(") ")[2].split()
    return bool(fields) and fields[0] != "Z"
