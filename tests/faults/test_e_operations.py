"""E5 to E10: what happens to machines: descriptors, disks, clocks, names, crowds.

E1 to E3 are in tests/integration/test_stopping.py and test_systemd.py, E4 is beside this file.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.invariants import MIB
from tests.faults.scripted_fastcgi import STDERR, Hold, ScriptedFastCGI, answer, record
from tests.faults.stage import NOISE, closing_tally, until
from tests.faults.test_d_handshakes import client_context, good_head, status_of
from tests.integration.gateway_process import rss, twistd
from tests.integration.raw_client import RawClient

# -- E5

PRLIMIT = shutil.which("prlimit")


@pytest.mark.skipif(PRLIMIT is None, reason="needs the program prlimit (util-linux)")
@pytest.mark.case("E5")
def test_more_clients_than_descriptors_cost_only_those_beyond(stages, outcome):
    s = stages.scripted(
        fresh=True,
        command=[PRLIMIT, "--nofile=200:200", twistd(), "-n", "--pidfile=", "wsgate"],
        limits={"max_connections": 500},
    )
    inside, outside = [], 0
    with ExitStack() as stack:
        for _ in range(500):
            try:
                inside.append(stack.enter_context(s.client()))
            except (AssertionError, ConnectionError, TimeoutError):
                outside += 1
        # Those that are in are served: there are descriptors left for PHP.
        for client in inside[:: len(inside) // 10]:
            client.send_message(b"served?")
            assert client.receive_message() == b"served?"
    assert outside > 300
    until(lambda: status_of(s.port, good_head()) == 101, 3)
    outcome(f"200 descriptors, 500 clients: {len(inside)} served, {outside} closed; then as before")


# -- E6


# The process itself has the other end of its log, and never reads it.
LOGGING = """
import fcntl, os, sys
if sys.argv[1] == "full":
    writing = os.open("/dev/full", os.O_WRONLY)
else:
    reading, writing = os.pipe()
    # A few lines fill it.
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_inheritable(reading, sys.argv[1] == "stuck")
os.dup2(writing, 1)
os.dup2(writing, 2)
os.execv(sys.argv[2], sys.argv[2:])
"""


def logging_to(place):
    """wsgate with a log that is `full`, `closed` or `stuck`."""
    return [sys.executable, "-c", LOGGING, place, twistd(), "-n", "--pidfile=", "wsgate"]


@pytest.mark.case("E6")
def test_a_full_disk_stops_no_service(stages, outcome):
    s = stages.scripted(fresh=True, command=logging_to("full"))
    s.silent = True
    for number in range(50):
        name = s.peer.play(b"bad %d" % number, answer(b"", b"no header"))
        assert s.error(name).status == 502
        assert s.ask(b"good") == b"good"
    lost = until(lambda: s.metrics().total("wsgate_log_lost_total"), 2, "lost lines are counted")
    outcome(f"log on a full disk: 50 faults, all answered; {lost:.0f} lost lines counted")


@pytest.mark.case("E6")
def test_a_log_that_nobody_reads_any_more_stops_no_service(stages, outcome):
    s = stages.scripted(fresh=True, command=logging_to("closed"))
    s.silent = True
    for number in range(50):
        name = s.peer.play(b"bad %d" % number, answer(b"", b"no header"))
        assert s.error(name).status == 502
        assert s.ask(b"good") == b"good"
    outcome("log into a closed pipe: 50 faults, all answered")


@pytest.mark.case("E6")
def test_a_log_whose_reader_is_stuck_stops_no_service(stages, outcome):
    s = stages.scripted(fresh=True, command=logging_to("stuck"))
    s.silent = True
    said = record(STDERR, b"x" * 1000)
    for number in range(200):
        name = s.peer.play(b"warns %d" % number, said, answer(b"good"))
        assert s.ask(name) == b"good"
    lost = until(lambda: s.metrics().total("wsgate_log_lost_total"), 2, "lost lines are counted")
    outcome(f"log into a pipe that nobody reads: 200 messages answered, {lost:.0f} lines lost")


# -- E7

# What a process sees when somebody sets the clock: only the time of day moves.
STEPPING = """
import os, time
_time, _step = time.time, os.environ["CLOCK_STEP"]
def stepped():
    return _time() + os.stat(_step).st_size * 3600 - (7200 if os.path.exists(_step + "-") else 0)
time.time = stepped
"""


@pytest.mark.case("E7")
def test_a_clock_that_steps_ends_no_timeout_and_stops_none(stages, outcome, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(STEPPING)
    step = tmp_path / "step"
    step.touch()
    s = stages.scripted(
        fresh=True,
        env={"PYTHONPATH": str(tmp_path), "CLOCK_STEP": str(step)},
        pool={"response_timeout": "1500ms"},
        limits={"ping_interval": "500ms", "pong_timeout": "10s"},
    )
    gate = threading.Event()
    s.peer.play(b"waits", Hold(gate), answer(b"waited"))
    s.peer.play(b"never", Hold(threading.Event()))
    with s.client() as client, s.client() as idle:
        client.send_message(b"waits")
        until(lambda: s.peer.ran(b"waits"))
        step.write_text("+")
        assert idle.receive_frame().opcode == 9
        gate.set()
        assert client.receive_message() == b"waited"
        began = time.monotonic()
        client.send_message(b"never")
        until(lambda: s.peer.ran(b"never"))
        # Two hours back: one before the first step.
        (tmp_path / "step-").touch()
        error = s.next_error(client, began, 1.5)
        assert error.status == 504
    outcome(f"+1 h: nothing timed out; -2 h: a timeout of 1.5 s after {error.seconds:.2f} s")


# -- E8


@pytest.mark.case("E8")
def test_a_name_that_does_not_resolve_is_an_error_that_says_so(stages, outcome):
    s = stages.scripted(fresh=True, backends=("tcp:no-such-host.invalid:9000",))
    errors = [s.error(b"anyone?", 5.0) for _ in range(3)]
    assert {error.status for error in errors} <= {502, 503}
    (line,) = s.log_of(errors[0].message_id)
    assert "no-such-host.invalid" in line
    outcome(f"no such name: error 502 after {errors[0].seconds:.2f} s, the name is in the log")


@pytest.mark.case("E8")
def test_a_good_backend_serves_beside_one_whose_name_does_not_resolve(stages, outcome):
    with contextlib.closing(_Peer()) as peer:
        s = stages.scripted(
            fresh=True, backends=("tcp:no-such-host.invalid:9000", peer.peer.endpoint)
        )
        for number in range(5):
            assert s.ask(b"number %d" % number) == b"number %d" % number
    outcome("beside a backend that does: all answered")


class _Peer:
    def __init__(self):
        self.peer = ScriptedFastCGI()

    def close(self):
        self.peer.stop()


@pytest.mark.case("E8")
def test_a_literal_ipv6_address_is_a_backend(stages, outcome):
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        serving = threading.Thread(target=_serve_once, args=(listener,))
        serving.start()
        port = listener.getsockname()[1]
        s = stages.scripted(fresh=True, backends=(f"tcp:\\:\\:1:{port}",))
        assert s.ask(b"over IPv6") == b"answered"
        serving.join()
    outcome("[::1]: answered")


def _serve_once(listener):
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(answer(b"answered"))
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(65536):
                pass


# -- E9


def reconnect(s, number, context, threads=16):
    """Connect that many clients at once; the seconds each took. The slow way in is TLS."""
    times, clients = [], []
    lock = threading.Lock()

    def some(count):
        for _ in range(count):
            began = time.monotonic()
            while True:
                try:
                    client = RawClient(s.also["tls"], tls=context)
                    break
                except OSError:
                    # As clients do: again, a little later.
                    time.sleep(0.05)
            with lock:
                times.append(time.monotonic() - began)
                clients.append(client)

    crowd = [threading.Thread(target=some, args=(number // threads,)) for _ in range(threads)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    return sorted(times), clients


def storm(stages, outcome, number):
    s = stages.scripted(fresh=True, also=("tls",), options=("--self-signed",))
    watch = stages.watch(s)
    watch.memory = 32 * MIB + number * 60 * 1024
    watch.kept += number * 40 * 1024
    began = time.monotonic()
    times, clients = reconnect(s, number, client_context())
    seconds = time.monotonic() - began
    for client in clients[:: max(1, number // 50)]:
        client.send_message(b"back")
        assert client.receive_message() == b"back"
    each = (rss(s.wsgate.pid) - s.resident) / number / 1024
    for client in clients:
        client.socket.close()
    assert len(times) == number // 16 * 16
    p99 = times[int(len(times) * 0.99) - 1]
    assert p99 < 5
    assert seconds < 60
    outcome(
        f"{len(times)} TLS clients at once: all back after {seconds:.1f} s, p99 {p99:.2f} s, "
        f"{each:.0f} KiB each"
    )


@pytest.mark.case("E9")
def test_a_crowd_that_reconnects_at_once_gets_in(stages, outcome):
    storm(stages, outcome, 208)


@pytest.mark.long
@pytest.mark.case("E9")
def test_five_thousand_that_reconnect_at_once_get_in(stages, outcome):
    storm(stages, outcome, 5008)


# -- E10


@pytest.mark.case("E10")
def test_a_flood_of_the_control_interface_is_not_felt_by_clients(stages, outcome):
    s = stages.scripted(fresh=True)
    over = threading.Event()
    asked = [0] * 4

    def flood(number):
        while not over.is_set():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as one:
                one.settimeout(5)
                one.connect(s.wsgate.control)
                one.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
                while not over.is_set() and one.recv(65536):
                    asked[number] += 1

    crowd = [threading.Thread(target=flood, args=(number,)) for number in range(4)]
    for thread in crowd:
        thread.start()
    times = []
    with s.client() as client:
        for number in range(100):
            began = time.monotonic()
            client.send_message(b"%d" % number)
            assert client.receive_message() == b"%d" % number
            times.append(time.monotonic() - began)
            time.sleep(0.01)
    over.set()
    for thread in crowd:
        thread.join()
    p99 = sorted(times)[98]
    assert p99 < 0.25 + NOISE
    outcome(f"4 clients flood it: others' messages p99 {p99 * 1e3:.0f} ms")


@pytest.mark.case("E10")
def test_no_client_reaches_the_control_interface(stages, outcome):
    s = stages.scripted()
    for path in (b"/metrics", b"/healthz", b"/readyz"):
        request = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert status_of(s.port, request) in (404, 426)
    outcome("on the port of the clients: 426, nothing of it")


def test_the_tally_of_a_stage_is_that_of_its_last_line():
    class Log:
        def log(self):
            return "stopped; messages: 3 received, 1 answered, 1 refused, 1 gone\n"

    assert closing_tally(Log()) == {"received": 3, "answered": 1, "refused": 1, "gone": 1}
