"""What clients see when PHP, PHP-FPM or wsgate itself is killed, hangs, or has too much to do."""

import contextlib
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.gateway_process import (
    descendants,
    eventually,
    gateway,
    living,
    process_table,
)
from tests.integration.php_fpm import php_fpm
from tests.integration.raw_client import RawClient

# Seconds: how late an error may be after its deadline, and how soon the service is back.
LATE = 1.0
BACK = 2.0

# Leaves a trace of having run, works for as long as the message says, and answers.
WORK = """<?php
$ask = json_decode(file_get_contents('php://input'), true);
$trace = getmypid() . ' ' . $_SERVER['WSGATE_MESSAGE_ID'] . ' ' . $ask['name'] . "\\n";
file_put_contents(__DIR__ . '/ran', $trace, FILE_APPEND | LOCK_EX);
$end = microtime(true) + ($ask['seconds'] ?? 0);
while (($left = $end - microtime(true)) > 0) usleep((int) ($left * 1e6));
echo $ask['name'];
"""


def work(name, seconds=0.0):
    return json.dumps({"name": name, "seconds": seconds})


class Ran:
    """What the script has left behind: one line for each run."""

    def __init__(self, scripts):
        self.path = Path(scripts) / "ran"

    def lines(self):
        return self.path.read_text().splitlines() if self.path.exists() else []

    def names(self):
        return [line.split()[2] for line in self.lines()]

    def pid_of(self, name):
        """The worker that runs the message of this name; waits until it does."""
        pids = eventually(
            lambda: [int(line.split()[0]) for line in self.lines() if line.split()[2] == name],
            10,
            f"{name} runs",
        )
        return pids[0]

    def assert_none_twice(self):
        ids = Counter(line.split()[1] for line in self.lines())
        assert not [i for i, times in ids.items() if times > 1], "a message ran twice"


class Stage:
    """A wsgate, and what its script has left; `fpm` where it is not wsgate's own."""

    def __init__(self, running, scripts, fpm=None):
        self.wsgate = running
        self.ran = Ran(scripts)
        self.fpm = fpm

    def client(self, **options):
        return self.wsgate.connect(**options)

    def warm_up(self):
        """Return once PHP answers."""
        with self.client() as client:
            client.send(work("warm-up"))
            assert client.recv(timeout=20) == "warm-up"


@contextlib.contextmanager
def private(*options):
    with gateway(*options, script="work.php", scripts={"work.php": WORK}) as running:
        stage = Stage(running, running.place.scripts)
        stage.warm_up()
        yield stage
        stage.ran.assert_none_twice()


@contextlib.contextmanager
def foreign(*options, workers=2, listen="unix"):
    with php_fpm(workers=workers, listen=listen, scripts={"work.php": WORK}) as fpm:
        arguments = [f"--fastcgi={fpm.endpoint}", f"--script={fpm.script_path('work.php')}"]
        if not any("max_in_flight" in option for option in options):
            arguments.append(f"--set=pools.default.max_in_flight={workers}")
        arguments.append("--set=limits.new_connections_per_address=0")
        with gateway(*arguments, *options, script=None) as running:
            stage = Stage(running, fpm.scripts, fpm)
            stage.warm_up()
            yield stage
            stage.ran.assert_none_twice()


def error_status(answer):
    return json.loads(answer)["error"]["status"]


def timed_answer(client, seconds=30):
    """The next message, and how long it took to come."""
    begin = time.monotonic()
    answer = client.recv(timeout=seconds)
    return answer, time.monotonic() - begin


def assert_back_within(client, seconds, since):
    """One message after the other until one is answered; errors in between count."""
    number = 0
    while True:
        number += 1
        client.send(work(f"again{number}"))
        answer = client.recv(timeout=20)
        if answer == f"again{number}":
            break
        assert time.monotonic() < since + seconds, f"still {answer}"
    assert time.monotonic() < since + seconds


STAGES = [private, foreign, lambda: foreign(listen="tcp")]


@pytest.mark.parametrize("stage", STAGES, ids=["private", "foreign-unix", "foreign-tcp"])
def test_a_worker_killed_in_mid_request_costs_that_message_only(stage):
    with stage() as s, s.client() as client, s.client() as other:
        client.send(work("victim", 30))
        pid = s.ran.pid_of("victim")
        other.send(work("other", 1))
        s.ran.pid_of("other")
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        answer, seconds = timed_answer(client)
        assert error_status(answer) == 502
        assert seconds < LATE
        assert_back_within(client, BACK, killed)
        assert other.recv(timeout=5) == "other"


def test_the_private_master_killed_costs_what_it_worked_on():
    with private() as s, s.client() as one, s.client() as two, s.client() as three:
        one.send(work("one", 30))
        two.send(work("two", 30))
        s.ran.pid_of("one")
        s.ran.pid_of("two")
        three.send(work("waits"))
        os.kill(s.wsgate.fpm_master(), signal.SIGKILL)
        killed = time.monotonic()
        for client in (one, two):
            answer, seconds = timed_answer(client)
            assert error_status(answer) == 502
            assert seconds < LATE
        # It may have been sent to a worker that was dying; it is told so, and not sent again.
        answer = three.recv(timeout=10)
        assert answer == "waits" or error_status(answer) == 502
        assert time.monotonic() < killed + BACK
        for client in (one, two, three):
            assert_back_within(client, BACK, killed)


def test_the_private_guardian_killed_is_replaced_with_all_it_guarded():
    with private() as s, s.client() as client:
        client.send(work("victim", 30))
        s.ran.pid_of("victim")
        before = s.wsgate.php_pids()
        (guardian,) = [pid for pid in before if process_table()[pid][0] == s.wsgate.pid]
        os.kill(guardian, signal.SIGKILL)
        killed = time.monotonic()
        answer, seconds = timed_answer(client)
        assert error_status(answer) == 502
        assert seconds < LATE
        assert_back_within(client, BACK, killed)
        eventually(lambda: not living(before), 3, "the old processes are gone")


def test_every_private_worker_killed_while_idle_is_not_noticed():
    with private() as s, s.client() as client:
        for round_ in range(3):
            workers = s.wsgate.fpm_workers()
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            eventually(lambda gone=workers: not living(gone), 3, "workers are gone")
            client.send(work(f"next{round_}"))
            answer, seconds = timed_answer(client)
            assert answer == f"next{round_}"
            assert seconds < BACK


def test_the_foreign_master_killed_and_started_again():
    with foreign() as s, s.client() as client, s.client() as other:
        client.send(work("first", 1))
        s.ran.pid_of("first")
        os.kill(s.fpm.pid, signal.SIGKILL)
        # Its workers live on and still answer.
        assert client.recv(timeout=5) == "first"
        client.send(work("second", 30))
        s.ran.pid_of("second")
        s.fpm.stop()
        stopped = time.monotonic()
        answer, seconds = timed_answer(client)
        assert error_status(answer) == 502
        assert seconds < LATE
        other.send(work("nobody-there"))
        answer, seconds = timed_answer(other)
        assert error_status(answer) == 502
        assert seconds < LATE
        assert time.monotonic() < stopped + 5
        s.fpm.start()
        started = time.monotonic()
        for one in (client, other):
            assert_back_within(one, BACK, started)
        assert "nobody-there" not in s.ran.names()


@pytest.mark.parametrize("listen", ["unix", "tcp"])
def test_fpm_stopped_and_started_again_under_load(listen):
    with foreign(listen=listen) as s, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(s.client()) for _ in range(6)]
        for number, client in enumerate(clients):
            client.send(work(f"load{number}", 5))
        eventually(lambda: len(s.ran.names()) == 3, 5, "both workers are busy")
        s.fpm.stop()
        stopped = time.monotonic()
        for client in clients:
            # Those in flight at once; the others are tried for a third of a second.
            assert error_status(client.recv(timeout=10)) == 502
        assert time.monotonic() < stopped + 3 * LATE
        s.fpm.start()
        started = time.monotonic()
        for client in clients:
            assert_back_within(client, BACK, started)


def test_fpm_reloaded_in_mid_service_loses_only_what_it_worked_on():
    with foreign() as s, s.client() as client:
        s.fpm.reload()
        reloaded = time.monotonic()
        assert_back_within(client, BACK, reloaded)


@pytest.mark.parametrize("stage", [private, foreign])
def test_a_script_that_takes_too_long_is_error_504_at_its_deadline(stage):
    with stage("--set=pools.default.response_timeout=500ms") as s, s.client() as client:
        client.send(work("slow", 2))
        answer, seconds = timed_answer(client)
        assert error_status(answer) == 504
        assert 0.5 <= seconds < 0.5 + LATE
        # The other worker is free; after that, this one is too.
        for number in range(4):
            client.send(work(f"next{number}"))
            assert client.recv(timeout=5) == f"next{number}"


def test_all_workers_too_slow_then_free_again():
    options = ["--set=pools.default.response_timeout=500ms"]
    with private(*options) as s, s.client() as one, s.client() as two:
        for client in (one, two):
            client.send(work("slow", 1.5))
        begin = time.monotonic()
        for client in (one, two):
            assert error_status(client.recv(timeout=5)) == 504
        # Both workers still sleep for a second; then the service is back.
        assert_back_within(one, 1.5 + BACK, begin)
        assert_back_within(two, 1.5 + BACK, begin)


def test_a_worker_that_hangs_is_error_504():
    with private("--set=pools.default.response_timeout=500ms") as s, s.client() as client:
        client.send(work("hangs", 0.2))
        pid = s.ran.pid_of("hangs")
        os.kill(pid, signal.SIGSTOP)
        try:
            answer, seconds = timed_answer(client)
            assert error_status(answer) == 504
            assert seconds < 0.5 + LATE
            client.send(work("next"))
            assert client.recv(timeout=5) == "next"
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("stage", [private, foreign])
def test_a_request_beyond_the_queue_is_refused_at_once(stage):
    options = ["--set=pools.default.max_in_flight=1", "--set=pools.default.queue=1"]
    with stage(*options) as s, s.client() as one, s.client() as two, s.client() as three:
        one.send(work("one", 1))
        s.ran.pid_of("one")
        two.send(work("two"))
        # Its pong proves that the message before the ping has been read.
        two.ping().wait(5)
        three.send(work("three"))
        answer, seconds = timed_answer(three)
        assert error_status(answer) == 503
        assert seconds < 0.5
        assert one.recv(timeout=5) == "one"
        assert two.recv(timeout=5) == "two"
        assert "three" not in s.ran.names()
        three.send(work("three-again"))
        assert three.recv(timeout=5) == "three-again"


def test_a_request_that_waits_too_long_is_refused_at_its_deadline_and_never_runs():
    options = ["--set=pools.default.max_in_flight=1", "--set=pools.default.queue_deadline=500ms"]
    with private(*options) as s, s.client() as one, s.client() as two:
        one.send(work("one", 2))
        s.ran.pid_of("one")
        two.send(work("two"))
        answer, seconds = timed_answer(two)
        assert error_status(answer) == 503
        assert 0.4 < seconds < 0.5 + LATE
        assert one.recv(timeout=5) == "one"
        two.send(work("later"))
        assert two.recv(timeout=5) == "later"
        assert "two" not in s.ran.names()


def test_a_second_backend_serves_while_the_first_is_away():
    with foreign() as s, php_fpm(workers=2, listen="tcp") as second:
        options = [f"--fastcgi={s.fpm.endpoint}", f"--fastcgi={second.endpoint}"]
        options += [f"--script={s.fpm.script_path('work.php')}"]
        with gateway(*options, script=None) as running, running.connect() as client:
            s.fpm.stop()
            for number in range(6):
                client.send(work(f"n{number}"))
                assert client.recv(timeout=5) == f"n{number}"
            s.fpm.start()


# -- wsgate itself


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_mid_request_delivers_the_answer_and_closes_with_1001(number):
    with private() as s, s.client() as busy, s.client() as idle:
        busy.send(work("last-words", 1))
        s.ran.pid_of("last-words")
        php = s.wsgate.php_pids()
        assert php
        s.wsgate.process.send_signal(number)
        begin = time.monotonic()
        assert busy.recv(timeout=10) == "last-words"
        for client in (busy, idle):
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=10)
            assert closed.value.rcvd.code == 1001
        assert s.wsgate.process.wait(15) == 0
        assert time.monotonic() < begin + 8
        assert not living(php)
        assert "Traceback" not in s.wsgate.log() + s.wsgate.errors()
        assert "2 answered" in s.wsgate.log()


def test_a_stop_answers_what_waits_behind_the_request_in_flight():
    with private("--set=pools.default.max_in_flight=1") as s, s.client() as client:
        client.send(work("first", 1))
        s.ran.pid_of("first")
        client.send(work("second"))
        client.ping().wait(5)
        s.wsgate.process.send_signal(signal.SIGTERM)
        assert client.recv(timeout=10) == "first"
        assert client.recv(timeout=10) == "second"
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd.code == 1001


def test_a_stop_before_php_answers_leaves_nothing_behind():
    with gateway() as running:
        php = running.php_pids()
        running.stop()
        # A guardian that has not started PHP yet ends by itself, when it sees that wsgate is gone.
        eventually(lambda: not living([*php, *descendants(running.pid)]), 3, "no process left")
        assert "Traceback" not in running.log() + running.errors()


def test_no_php_outlives_a_wsgate_that_was_killed():
    with private() as s, s.client() as client:
        client.send(work("busy", 30))
        s.ran.pid_of("busy")
        php = s.wsgate.php_pids()
        assert len(php) >= 4, "guardian, master, two workers"
        s.wsgate.process.kill()
        s.wsgate.process.wait(5)
        eventually(lambda: not living(php), 3, "no PHP is left")


def test_a_start_after_a_kill_finds_nothing_in_its_way():
    with private() as s:
        s.wsgate.process.kill()
        s.wsgate.process.wait(5)
        with private() as again, again.client() as client:
            client.send(work("again"))
            assert client.recv(timeout=10) == "again"


def test_a_client_that_answers_no_close_does_not_hold_up_the_stop():
    with private("--set=limits.close_timeout=1s") as s, RawClient(s.wsgate.port) as silent:
        silent.send_message(work("once").encode())
        assert silent.receive_message() == b"once"
        s.wsgate.process.terminate()
        s.wsgate.process.wait(6)
        assert silent.is_ended()


@pytest.mark.slow
def test_a_request_that_outlasts_the_stop_is_given_up_and_its_php_ended():
    with private("--set=pools.default.response_timeout=5min") as s, s.client() as client:
        client.send(work("endless", 300))
        s.ran.pid_of("endless")
        php = s.wsgate.php_pids()
        s.wsgate.process.terminate()
        assert error_status(client.recv(timeout=40)) == 504
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=5)
        assert closed.value.rcvd.code == 1001
        s.wsgate.process.wait(15)
        assert not living(php)


def test_a_stop_while_php_is_away_refuses_what_waits_for_it():
    with private() as s, s.client() as client:
        os.kill(s.wsgate.fpm_master(), signal.SIGKILL)
        client.send(work("waits"))
        s.wsgate.process.terminate()
        answer = client.recv(timeout=10)
        assert answer == "waits" or error_status(answer) in (502, 503)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd.code == 1001
        assert s.wsgate.process.wait(10) == 0
        assert "Traceback" not in s.wsgate.log() + s.wsgate.errors()
