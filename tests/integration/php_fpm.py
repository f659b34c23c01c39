"""A real php-fpm for integration tests, with static workers, in a folder of its own."""

import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.ports import free_port

# Debian names the program php-fpm8.2 and keeps it in sbin, which users do not have on their PATH.
SEARCH = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin"]
START_DEADLINE = 20.0
STOP_DEADLINE = 5.0
# Settings that php-fpm wants in [global] instead of in the pool's section.
GLOBAL = {"log_level", "process_control_timeout", "process.max"}


def find_php_fpm() -> str:
    """The path of php-fpm, the newest if there are several. AssertionError if there is none."""
    found = shutil.which("php-fpm", path=os.pathsep.join(SEARCH))
    if found:
        return found
    programs = []
    for folder in map(Path, filter(None, SEARCH)):
        # A PATH may name folders that are not there, or not for us to read.
        with contextlib.suppress(OSError):
            programs += [path for path in folder.glob("php-fpm[0-9]*") if os.access(path, os.X_OK)]
    if not programs:
        raise AssertionError(
            "these tests need a real php-fpm and found none on PATH or in /usr/sbin: "
            "install it (Debian: apt-get install php-fpm)"
        )
    return str(max(programs, key=_version))


def _version(path: Path) -> tuple[int, ...]:
    digits = path.name.removeprefix("php-fpm").split(".")
    return tuple(int(part) for part in digits if part.isdigit())


class PHPFPM:
    """A running php-fpm. `socket` or `port` is where it listens; the other one is None."""

    def __init__(self, folder: Path, workers: int, listen: str) -> None:
        self.folder = folder
        self.workers = workers
        self.scripts = folder / "scripts"
        self.socket = str(folder / "fpm.sock") if listen == "unix" else None
        self.port = free_port() if listen == "tcp" else None
        self.status_socket = ""
        self._log = folder / "fpm.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the master process."""
        assert self._process is not None, "php-fpm was not started"
        return self._process.pid

    @property
    def endpoint(self) -> str:
        """As a Twisted client endpoint string."""
        return f"unix:{self.socket}" if self.socket else f"tcp:127.0.0.1:{self.port}"

    def script_path(self, name: str) -> str:
        """Where a script is, or would be."""
        return str(self.scripts / name)

    def worker_pids(self) -> list[int]:
        """The workers that live now."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def log(self) -> str:
        """What php-fpm has logged so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def write_script(self, name: str, text: str) -> str:
        """Write a script that the workers can read; its path."""
        path = self.scripts / name
        path.write_text(text)
        path.chmod(0o644)
        return str(path)

    def start(self) -> None:
        """Start php-fpm and wait until it accepts connections."""
        command = [find_php_fpm(), "--nodaemonize", "--fpm-config", str(self.folder / "fpm.conf")]
        command += ["-c", str(self.folder / "php.ini")]
        if os.geteuid() == 0:
            command.append("--allow-to-run-as-root")
        with open(self.folder / "output", "ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._wait_until(self._accepts, "it does not accept connections")

    def reload(self) -> None:
        """SIGUSR2, and wait until the new workers have taken over."""
        before = set(self.worker_pids())
        os.kill(self.pid, signal.SIGUSR2)

        def replaced() -> bool:
            pids = set(self.worker_pids())
            return len(pids) == self.workers and not pids & before

        self._wait_until(replaced, "the workers were not replaced")

    def stop(self) -> None:
        """Kill the master and all workers. Harmless when it is not running."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_DEADLINE)
        # Workers outlive a master that was killed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_DEADLINE)
        self._process = None

    def _accepts(self) -> bool:
        family = socket.AF_UNIX if self.socket else socket.AF_INET
        with socket.socket(family) as probe, contextlib.suppress(OSError):
            probe.connect(self.socket or ("127.0.0.1", self.port))
            return True
        return False

    def _wait_until(self, condition, complaint: str) -> None:
        process = self._process
        assert process is not None
        deadline = time.monotonic() + START_DEADLINE
        while not condition():
            if process.poll() is not None or time.monotonic() > deadline:
                output = (self.folder / "output").read_text(errors="replace")
                self.stop()
                raise AssertionError(f"php-fpm: {complaint}\n{output}\n{self.log()}")
            # There is nothing to wait on but the clock: php-fpm does not say when it is ready.
            time.sleep(0.02)


@contextlib.contextmanager
def php_fpm(
    workers: int = 2,
    listen: str = "unix",
    scripts: Mapping[str, str] | None = None,
    ini: Mapping[str, str] | None = None,
    fpm: Mapping[str, str] | None = None,
) -> Iterator[PHPFPM]:
    """A running php-fpm with `workers` static workers, listening on "unix" or "tcp" (127.0.0.1).

    `scripts` are name → text; `ini` settings are added to php.ini, `fpm` ones to
    the pool's section, or to [global] where they belong there.
    The folder is readable for the workers, which run as www-data or nobody if we are root.
    """
    assert listen in ("unix", "tcp"), listen
    folder = Path(tempfile.mkdtemp(prefix="wsgate-fpm-"))
    folder.chmod(0o755)
    try:
        running = PHPFPM(folder, workers, listen)
        # World-writable, so that scripts can leave traces of having run.
        running.scripts.mkdir()
        running.scripts.chmod(0o777)
        for name, text in (scripts or {}).items():
            running.write_script(name, text)
        _write_configuration(running, ini or {}, fpm or {})
        running.start()
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_configuration(running: PHPFPM, ini: Mapping[str, str], fpm: Mapping[str, str]) -> None:
    php_ini = {
        "display_errors": "0",
        "log_errors": "1",
        "error_log": "",
        "html_errors": "0",
        "opcache.enable": "1",
        "post_max_size": "64M",
        "memory_limit": "512M",
    }
    pool = {
        "listen": running.socket or f"127.0.0.1:{running.port}",
        "pm": "static",
        "pm.max_children": str(running.workers),
        "catch_workers_output": "yes",
        **_user_settings(running),
    }
    settings = {"error_log": str(running._log), "daemonize": "no"}
    for key, value in fpm.items():
        (settings if key in GLOBAL else pool)[key] = value
    lines = ["[global]", *_lines(settings), "[www]", *_lines(pool)]
    (running.folder / "fpm.conf").write_text("\n".join(lines) + "\n")
    (running.folder / "php.ini").write_text("\n".join(_lines(php_ini | dict(ini))) + "\n")


def _lines(settings: Mapping[str, str]) -> list[str]:
    return [f"{key} = {value}" for key, value in settings.items()]


def _user_settings(running: PHPFPM) -> dict[str, str]:
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = "www-data" if "www-data" in names else "nobody"
    group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    settings = {"user": user, "group": group}
    if running.socket:
        settings |= {"listen.mode": "0666"}
    return settings
