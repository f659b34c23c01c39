"""The end of wsgate: nothing lost, clients told, status 0, and never later than the hard limit."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.crowds import LIFTED, Watched, watch
from tests.integration.gateway_process import eventually, free_port, gateway, living, twistd
from tests.integration.raw_client import RawClient
from tests.integration.test_failures import error_status, foreign, private, work
from tests.integration.test_workers import assert_adds_up, ready, sums
from wsgate.signals import SAME

ROOT = Path(__file__).parents[2]

SLOW = """<?php
$said = file_get_contents('php://input');
file_put_contents(__DIR__ . '/begun', "$said\\n", FILE_APPEND | LOCK_EX);
usleep(1000 * (int) $said);
echo "slept $said";
"""


def tally(log):
    """received, answered, refused, gone: as logged at the end."""
    ((received, answered, refused, gone),) = sums(log)[1]
    assert received == answered + refused + gone
    return received, answered, refused, gone


def await_second_signal(running):
    """Return when it has obeyed a signal, and takes another one for a second, not for the same."""
    eventually(lambda: ": stopping" in running.log(), 10, "it obeys")
    time.sleep(SAME + 0.05)


# -- E1


@pytest.mark.case("E1")
@pytest.mark.slow
def test_e1_a_stop_with_1000_clients_and_50_calls_in_flight_loses_no_reply(record_property):
    with (
        gateway(*LIFTED, script="slow.php", scripts={"slow.php": SLOW}, workers=50) as running,
        contextlib.ExitStack() as stack,
    ):
        running.ask_php()
        crowd = [Watched(stack.enter_context(RawClient(running.port))) for _ in range(1000)]
        busy = crowd[:50]
        for watched in busy:
            watched.client.send_message(b"2000")
        begun = running.place.scripts / "begun"
        eventually(lambda: begun.read_text().count("2000") == 50, 20, "50 calls in flight")
        running.process.terminate()
        start = time.monotonic()
        watch(crowd, 40)
        assert running.process.wait(30) == 0
        took = time.monotonic() - start
        lost = sum(watched.messages != [b"slept 2000"] for watched in busy)
        assert lost == 0
        assert {watched.code for watched in crowd} == {1001}
        times = sorted(watched.closed_at - start for watched in crowd)
        # 2 ms for each of 1000: not all at once, and not for longer than it takes.
        assert times[899] - times[100] >= 1.0
        assert times[-1] < 10
        tally(running.log())
        assert "Traceback" not in running.log() + running.errors()
        record_property(
            "figure",
            f"{lost} of 50 replies lost; 1000 clients closed with 1001 over "
            f"{times[-1] - times[0]:.1f} s; exit 0 after {took:.1f} s",
        )


def test_ten_clients_are_gone_at_once():
    with gateway() as running, contextlib.ExitStack() as stack:
        running.ask_php()
        crowd = [Watched(stack.enter_context(RawClient(running.port))) for _ in range(10)]
        running.process.terminate()
        start = time.monotonic()
        watch(crowd, 10)
        assert running.process.wait(10) == 0
        assert time.monotonic() - start < 3
        assert {watched.code for watched in crowd} == {1001}


def test_messages_that_come_while_clients_are_closed_one_by_one_are_answered():
    with gateway(*LIFTED) as running, contextlib.ExitStack() as stack:
        running.ask_php()
        crowd = [Watched(stack.enter_context(RawClient(running.port))) for _ in range(600)]
        running.process.terminate()
        eventually(lambda: not running.accepts(), 5, "the port is closed")
        for watched in crowd:
            watched.client.send_message(b"late")
        watch(crowd, 20)
        assert running.process.wait(20) == 0
        answered = sum(watched.messages == [b"late"] for watched in crowd)
        assert answered > 100
        assert tally(running.log())[1] == answered + 1
        assert {watched.code for watched in crowd} == {1001}


def test_a_handshake_that_has_begun_is_accepted_and_told_to_come_back():
    with gateway() as running, socket.create_connection(("127.0.0.1", running.port)) as half:
        running.ask_php()
        half.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n")
        running.process.terminate()
        eventually(lambda: not running.accepts(), 5, "the port is closed")
        half.sendall(
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        answer = half.recv(65536)
        half.settimeout(5)
        while b"\x03\xe9the server is shutting down" not in answer:
            data = half.recv(65536)
            assert data, answer
            answer += data
        assert answer.startswith(b"HTTP/1.1 101 ")
        half.close()
        assert running.process.wait(10) == 0


# -- E2


@pytest.mark.case("E2")
def test_e2_a_hung_php_and_a_hung_client_end_with_the_stop(record_property):
    """The call is counted as an error, and its client is told; whoever reads nothing is dropped."""
    with (
        foreign(
            "--set=gateway.drain_timeout=2s",
            "--set=limits.close_timeout=1s",
            "--set=pools.default.response_timeout=10min",
        ) as s,
        s.client() as client,
        RawClient(s.wsgate.port) as hung,
    ):
        hung.send_message(work("also-hung", 100).encode())
        client.send(work("hung", 100))
        s.ran.pid_of("hung")
        s.ran.pid_of("also-hung")
        s.wsgate.process.terminate()
        start = time.monotonic()
        assert error_status(client.recv(timeout=10)) == 504
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=5)
        assert closed.value.rcvd.code == 1001
        assert s.wsgate.process.wait(10) == 0
        took = time.monotonic() - start
        received, answered, refused, gone = tally(s.wsgate.log())
        assert (received - answered, refused, gone) == (2, 2, 0)
        assert "no answer by the time wsgate had to stop" in s.wsgate.log()
        assert "Traceback" not in s.wsgate.log()
        record_property(
            "figure",
            f"drain_timeout 2 s, close_timeout 1 s: exit 0 after {took:.1f} s, "
            "both calls counted as errors",
        )


def test_the_hard_limit_ends_what_drain_timeout_would_still_wait_for():
    with (
        private(
            "--set=gateway.drain_timeout=10min",
            "--set=gateway.stop_timeout=2s",
            "--set=pools.default.response_timeout=10min",
        ) as s,
        s.client() as client,
    ):
        client.send(work("hung", 300))
        s.ran.pid_of("hung")
        below = s.wsgate.php_pids()
        s.wsgate.process.terminate()
        start = time.monotonic()
        assert s.wsgate.process.wait(20) == 0
        assert 1.9 < time.monotonic() - start < 6
        assert not living(below)
        assert "not stopped within 2 s (gateway.stop_timeout)" in s.wsgate.log()
        received, answered, _, gone = tally(s.wsgate.log())
        assert (received, answered, gone) == (2, 1, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(number):
    with private("--set=pools.default.response_timeout=10min") as s, s.client() as client:
        client.send(work("hung", 300))
        s.ran.pid_of("hung")
        below = s.wsgate.php_pids()
        s.wsgate.process.send_signal(number)
        # GNU timeout sends it twice, to the process and to its group: that is one.
        s.wsgate.process.send_signal(number)
        await_second_signal(s.wsgate)
        assert s.wsgate.process.poll() is None
        s.wsgate.process.send_signal(number)
        start = time.monotonic()
        assert s.wsgate.process.wait(10) == 0
        assert time.monotonic() - start < 4
        assert not living(below)
        assert f"{number.name} again: ending at once" in s.wsgate.log()
        tally(s.wsgate.log())


def test_a_second_signal_ends_all_workers_at_once():
    with (
        gateway(
            "--workers=2",
            script="slow.php",
            scripts={"slow.php": SLOW},
            workers=4,
            ready=ready(2),
        ) as running,
        running.connect() as client,
    ):
        client.send("100000")
        eventually((running.place.scripts / "begun").exists, 10, "PHP works")
        below = running.php_pids()
        running.process.terminate()
        await_second_signal(running)
        running.process.terminate()
        start = time.monotonic()
        assert running.process.wait(15) == 0
        assert time.monotonic() - start < 6
        assert not living(below)
        assert assert_adds_up(running.log())[3] == 1


def test_a_process_that_hangs_in_its_stop_is_ended_by_the_kernel():
    """SIGALRM needs no Python that still runs: here the reactor is stuck in a call."""
    program = (
        "import time; from twisted.internet import reactor; from wsgate import signals;"
        "signals.OVERDUE = 0.5;"
        "s = signals.Signals(reactor, hurry=print, reload=print, limit=lambda: 0.5); s.install();"
        "reactor.addSystemEventTrigger('before', 'shutdown', time.sleep, 60);"
        "reactor.callWhenRunning(print, 'up', flush=True); reactor.run()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        process.terminate()
        assert process.wait(10) == -signal.SIGALRM


# -- the exit status, whichever way it was started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "wsgate"],
        [twistd(), "-n", "--pidfile=", "wsgate"],
        [twistd(), "-n", "--reactor=poll", "--pidfile=", "wsgate"],
        [twistd(), "-n", "--reactor=asyncio", "--pidfile=", "wsgate"],
    ],
    ids=["python -m", "twistd", "poll", "asyncio"],
)
def test_a_clean_stop_is_status_0(command, number):
    with gateway(command=command) as running:
        running.ask_php()
        assert running.stop(number) == 0
        assert "Traceback" not in running.log() + running.errors()


def test_a_daemon_ends_with_status_0(tmp_path):
    """Whoever adopts the orphan sees it: here we do, as systemd would."""
    port, pidfile = free_port(), tmp_path / "pid"
    command = [twistd(), f"--pidfile={pidfile}", f"--logfile={tmp_path}/log", "wsgate", "--demo"]
    command.append(f"--port=tcp:{port}:interface=127.0.0.1")
    program = (
        "import ctypes, os, signal, subprocess, sys;"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0);"
        "sys.path.insert(0, sys.argv[1]);"
        "from tests.integration.gateway_process import eventually, obeys;"
        "subprocess.run(sys.argv[3:], check=True);"
        "pid = int(open(sys.argv[2]).read());"
        "eventually(lambda: obeys(pid), 30, 'it takes signals as wsgate does');"
        "os.kill(pid, signal.SIGTERM);"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(ROOT), str(pidfile), *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert ended.stdout.split() == ["0"], ended.stderr
    assert not pidfile.exists()
