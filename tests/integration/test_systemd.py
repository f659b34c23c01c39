"""systemd's ways, with sockets of the test's own: activation, notifications, the watchdog."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.integration.crowds import LIFTED
from tests.integration.gateway_process import ECHO, eventually, freeze, gateway, twistd
from tests.integration.php_fpm import php_fpm
from tests.integration.raw_client import RawClient
from tests.integration.test_workers import AS_SYSTEMD, worker_pids

ROOT = Path(__file__).parents[2]


class Notified:
    """A NOTIFY_SOCKET; `states` are the first lines of what came, in order."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        self.messages = []

    def states(self):
        """What was told so far."""
        while True:
            try:
                self.messages.append((time.monotonic(), self.socket.recv(4096).decode()))
            except BlockingIOError:
                return [message.split("\n")[0] for _, message in self.messages]

    def times(self, state):
        """When it was told."""
        self.states()
        return [at for at, message in self.messages if message.startswith(state)]


@pytest.fixture
def systemd(tmp_path):
    return Notified(tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_ready_reloading_watchdog_and_stopping_are_told(systemd, workers):
    env = {"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "1000000"}
    with gateway(f"--workers={workers}", workers=4, env=env) as running:
        eventually(lambda: "READY=1" in systemd.states(), 20, "READY=1")
        if workers == 1:
            # PHP answers by then.
            assert "answers, 4 workers" in running.log()
        running.ask_php()
        for pid in worker_pids(running).values():
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"NOTIFY_SOCKET" not in environment
            assert b"WATCHDOG" not in environment
        eventually(lambda: len(systemd.times("WATCHDOG=1")) >= 5, 10, "signs of life")
        eventually(
            lambda: systemd.states() and "1 messages, 0 refused" in systemd.messages[-1][1],
            10,
            "a line for people",
        )
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: systemd.states().count("READY=1") == 2, 40, "ready again")
        states = [state for state in systemd.states() if state != "WATCHDOG=1"]
        assert states == ["READY=1", "RELOADING=1", "READY=1"]
        assert running.stop() == 0
        assert [s for s in systemd.states() if s != "WATCHDOG=1"][-1] == "STOPPING=1"


def test_a_reactor_that_hangs_gives_no_sign_of_life(systemd):
    env = {"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "400000"}
    with gateway(env=env) as running:
        eventually(lambda: len(systemd.times("WATCHDOG=1")) >= 3, 10, "signs of life")
        freeze(running.pid)
        before = len(systemd.times("WATCHDOG=1"))
        time.sleep(1)
        assert len(systemd.times("WATCHDOG=1")) == before
        running.process.send_signal(signal.SIGCONT)
        eventually(lambda: len(systemd.times("WATCHDOG=1")) > before, 10, "and lives again")


# -- E3


ONE_SOCKET = AS_SYSTEMD.replace(
    'socket.create_server(("127.0.0.1", {port}), backlog=100)', "socket.socket(fileno={fd})"
)


class Storm:
    """Connects a hundred times a second, and asks once each time."""

    def __init__(self, port, per_second=100):
        self.port = port
        self.pause = 1 / per_second
        self.tried = 0
        self.refused = []
        self.unanswered = []
        self.answered = 0
        self._stop = threading.Event()
        self._threads = []
        self._thread = threading.Thread(target=self._go)
        self._thread.start()

    def await_more(self, number):
        """Return when all that came so far, and so many more, know what has become of them."""
        goal = self.tried + number

        def are_done():
            return self.answered + len(self.unanswered) + len(self.refused) >= goal

        eventually(are_done, 30, f"{number} more")

    def end(self):
        self._stop.set()
        self._thread.join()
        for thread in self._threads:
            thread.join(40)

    def _go(self):
        due = time.monotonic()
        while not self._stop.is_set():
            self.tried += 1
            thread = threading.Thread(target=self._one)
            thread.start()
            self._threads.append(thread)
            due += self.pause
            time.sleep(max(0, due - time.monotonic()))

    def _one(self):
        try:
            client = RawClient(self.port)
        except (OSError, AssertionError) as error:
            self.refused.append(error)
            return
        try:
            with client:
                client.send_message(b"x")
                assert client.receive_message() == b"x"
                self.answered += 1
        except (OSError, AssertionError) as error:
            # Told to connect again (1001) before the message was read.
            self.unanswered.append(error)


@pytest.mark.case("E3")
def test_e3_a_restart_with_socket_activation_refuses_nobody(record_property):
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1024) as held,
        php_fpm(workers=4, scripts={"echo.php": ECHO}) as fpm,
    ):
        port = held.getsockname()[1]

        def start():
            # The test holds the socket as systemd does, and passes it to each process in turn.
            program = ONE_SOCKET.replace("{fd}", str(held.fileno()))
            return gateway(
                *LIFTED,
                # Whoever waited during the restart comes at once.
                "--set=pools.default.queue=5000",
                "--set=pools.default.queue_deadline=30s",
                f"--fastcgi={fpm.endpoint}",
                f"--script={fpm.script_path('echo.php')}",
                script=None,
                port="systemd:domain=INET:index=0",
                command=[
                    *(sys.executable, "-c", program),
                    *(twistd(), "-n", "--pidfile=", "wsgate"),
                ],
                ready=lambda running: "listens on" in running.log(),
                pass_fds=[held.fileno()],
            )

        storm = None
        restarts = 3
        try:
            for number in range(restarts + 1):
                with start() as running:
                    with RawClient(port) as client:
                        client.send_message(b"up")
                        assert client.receive_message() == b"up"
                    storm = storm or Storm(port)
                    storm.await_more(150)
                    if number < restarts:
                        assert running.stop() == 0
                        assert "Traceback" not in running.log()
                    else:
                        storm.end()
        finally:
            if storm is not None:
                storm.end()
        assert storm.refused == []
        assert storm.answered > storm.tried * 0.8
        record_property(
            "figure",
            f"{restarts} restarts under {storm.tried} new connections at 100/s: "
            f"{len(storm.refused)} refused; {len(storm.unanswered)} were told 1001 before their "
            "message was read",
        )


# -- the files in contrib/


def test_the_units_are_good():
    systemd_analyze = "/usr/bin/systemd-analyze"
    if not os.path.exists(systemd_analyze):
        pytest.skip("needs systemd-analyze")
    units = [ROOT / "contrib/wsgate.service", ROOT / "contrib/wsgate.socket"]
    checked = subprocess.run(
        [systemd_analyze, "verify", *map(str, units)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # The program is not where the documents install it; everything else must be good.
    said = [
        line
        for line in checked.stderr.splitlines()
        if "wsgate" in line and "/opt/wsgate/bin/twistd" not in line
    ]
    assert said == []
