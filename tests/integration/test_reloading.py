"""SIGHUP with real processes: settings change, nothing is lost, and a bad file changes nothing."""

import contextlib
import json
import os
import signal
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.gateway_process import (
    eventually,
    gateway,
    living,
    obeys,
    process_table,
    twistd,
)
from tests.integration.php_fpm import php_fpm
from tests.integration.test_stopping import tally
from tests.integration.test_workers import assert_adds_up, ready, worker_pids

NAMED = """<?php
// The script's name, php-fpm's master, a setting, and the message.
echo basename(__FILE__) . ' ' . posix_getppid() . ' ' . ini_get('memory_limit') . ' '
    . file_get_contents('php://input');
"""
SLOW = """<?php
$said = file_get_contents('php://input');
file_put_contents(__DIR__ . '/begun', "$said\\n", FILE_APPEND | LOCK_EX);
usleep(1000 * (int) $said);
echo 'slept ' . ini_get('memory_limit');
"""
# Three lines, of which the last two come a little later.
STREAM = """<?php
header('Wsgate-Stream: lines');
while (ob_get_level()) ob_end_flush();
foreach (['a', 'b', 'c'] as $line) { echo "$line\\n"; flush(); usleep(400000); }
"""
SCRIPTS = {"one.php": NAMED, "two.php": NAMED, "slow.php": SLOW, "stream.php": STREAM}


class File:
    """A configuration file, written anew; `reload` waits until it is taken, or not."""

    def __init__(self, running):
        self.running = running
        self.path = running.place.folder / "wsgate.toml"

    def reload(self, text, says="new settings taken", seconds=20):
        self.path.write_text(text.replace("{scripts}", str(self.running.place.scripts)))
        before = self.running.log().count(says)
        self.running.process.send_signal(signal.SIGHUP)
        eventually(lambda: self.running.log().count(says) > before, seconds, says)


@contextlib.contextmanager
def configured(text, *options, **words):
    """A wsgate with a configuration file of this text, and the file."""

    def first(running):
        return running.accepts() if words.get("ready") is None else words["ready"](running)

    scripts = {**SCRIPTS, "wsgate.toml": text}
    with gateway(
        "--config=scripts/wsgate.toml",
        *options,
        script=None,
        scripts=scripts,
        workers=None,
        **{**words, "ready": first},
    ) as running:
        file = File(running)
        file.path = running.place.scripts / "wsgate.toml"
        yield running, file


ONE = """
[pools.default]
max_in_flight = 2
[pools.default.ini]
memory_limit = "{memory}"

[[route]]
path = "{path}"
script = "{scripts}/{script}"
"""


def one(memory="64M", path="/", script="one.php"):
    return ONE.replace("{memory}", memory).replace("{path}", path).replace("{script}", script)


def ask(client, message="x"):
    client.send(message)
    return client.recv(timeout=20)


def test_a_changed_pool_has_a_new_php_up_before_the_old_one_stops():
    with configured(one("64M")) as (running, file), running.connect() as client:
        name, master, memory, _ = ask(client).split()
        assert (name, memory) == ("one.php", "64M")
        file.reload(one("77M"))
        name, other, memory, _ = ask(client).split()
        assert (name, memory) == ("one.php", "77M")
        assert other != master
        eventually(lambda: not living([int(master)]), 10, "the old PHP is gone")
        assert "pool default, as it was, has finished" in running.log()
        assert running.stop() == 0
        assert tally(running.log()) == (2, 2, 0, 0)
        assert "Traceback" not in running.log()


def test_requests_in_flight_and_waiting_ones_finish_with_the_old_pool():
    with configured(one("64M", script="slow.php")) as (running, file), contextlib.ExitStack() as s:
        clients = [s.enter_context(running.connect()) for _ in range(4)]
        for client in clients:
            client.send("2000")
        begun = running.place.scripts / "begun"
        eventually(lambda: begun.exists() and begun.read_text().count("2000") == 2, 10, "PHP works")
        file.reload(one("77M", script="slow.php"))
        with running.connect() as late:
            late.send("1")
            assert late.recv(timeout=20) == "slept 77M"
        assert [client.recv(timeout=20) for client in clients] == ["slept 64M"] * 4
        assert {ask(client, "1") for client in clients} == {"slept 77M"}
        assert running.stop() == 0
        received, answered, _, _ = tally(running.log())
        assert received == answered == 9


def test_a_stop_during_a_reload_loses_nothing_either():
    with configured(one("64M", script="slow.php")) as (running, file), running.connect() as client:
        client.send("2000")
        eventually((running.place.scripts / "begun").exists, 10, "PHP works")
        file.reload(one("77M", script="slow.php"))
        below = running.php_pids()
        running.process.terminate()
        assert client.recv(timeout=20) == "slept 64M"
        assert running.process.wait(20) == 0
        assert not living(below)
        assert tally(running.log()) == (1, 1, 0, 0)


def test_an_open_connection_goes_on_with_what_its_path_is_now():
    with configured(one()) as (running, file), running.connect() as client:
        assert ask(client).startswith("one.php ")
        file.reload(one(script="two.php"))
        assert ask(client).startswith("two.php ")


def test_a_new_path_is_served_and_one_that_is_gone_is_closed():
    with configured(one(path="/one")) as (running, file), running.connect("/one") as client:
        assert ask(client).startswith("one.php ")
        with pytest.raises(InvalidStatus):
            running.connect("/two")
        file.reload(one(path="/two", script="two.php"))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd == (1001, "this path is no longer served") or (
            closed.value.rcvd.code == 1001
        )
        with pytest.raises(InvalidStatus):
            running.connect("/one")
        assert running.ask("x", "/two").startswith("two.php ")
        assert running.stop() == 0
        assert tally(running.log()) == (2, 2, 0, 0)


@pytest.mark.parametrize(
    ("limit", "enough", "too_few", "status"),
    [("stream_messages", 3, 2, 502), ("stream_bytes", 6, 5, 502), ("stream_timeout", 60, 0.1, 504)],
)
def test_limits_of_streams_change_for_those_that_begin_after(limit, enough, too_few, status):
    def text(value):
        return one(script="stream.php") + f"[limits]\n{limit} = {value}\n"

    def streamed(client):
        client.send("x")
        said = [client.recv(timeout=20)]
        while not said[-1].startswith("{"):
            said.append(client.recv(timeout=20))
        return len(said) - 1, json.loads(said[-1])

    with configured(text(enough)) as (running, file), running.connect() as client:
        assert streamed(client)[1].get("error") is None
        file.reload(text(too_few))
        messages, end = streamed(client)
        assert (messages < 3, end["error"]["status"]) == (True, status)
        file.reload(text(enough))
        assert streamed(client)[0] == 3


def test_limits_change_for_those_who_come_after():
    with configured(one()) as (running, file), running.connect() as before:
        ask(before)
        file.reload(one() + "[limits]\nmax_message_size = 10\n")
        with running.connect() as after:
            after.send("x" * 11)
            with pytest.raises(ConnectionClosed) as closed:
                after.recv(timeout=10)
            assert closed.value.rcvd.code == 1009
            assert ask(before, "short")
        file.reload(one() + "[limits]\nmax_connections = 1\n")
        with pytest.raises(InvalidStatus) as refused:
            running.connect()
        assert refused.value.response.status_code == 503
        file.reload(one())
        assert running.ask("y" * 11).endswith("y" * 11)
        assert ask(before, "still there").endswith("still there")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[limits]\nmax_message_sice = 1\n", "unknown setting; did you mean"),
        ("[[[", "wsgate.toml, line 1"),
        ("[[route]]\nscript = '/nowhere/x.php'\n", "no such file"),
        (one("64M\\u0007"), "control"),
    ],
)
def test_a_bad_file_changes_nothing_and_says_why_in_one_line(text, line):
    with configured(one()) as (running, file), running.connect() as client:
        before = ask(client)
        lines = len(running.log().splitlines())
        file.reload(text, says="the settings stay as they were")
        (said,) = (new for new in running.log().splitlines()[lines:] if "SIGHUP" in new)
        assert line in said
        assert ask(client) == before
        assert running.ask("x") == before


def test_a_php_that_does_not_come_up_changes_nothing():
    with configured(one()) as (running, file), running.connect() as client:
        before = ask(client)
        below = set(running.php_pids())
        bad = one() + '[pools.default]\nphp = "/bin/true"\n'
        bad = bad.replace("[pools.default]\nmax_in_flight = 2\n", "", 1)
        file.reload(bad, says="the settings stay as they were", seconds=30)
        assert ask(client) == before
        eventually(lambda: set(running.php_pids()) <= below, 10, "nothing of it is left")


def test_what_needs_a_restart_is_named_in_one_line():
    with configured(one()) as (running, file):
        running.ask_php()
        file.reload('[gateway]\nport = "tcp:1"\nworkers = 2\ndrain_timeout = 3\n' + one("77M"))
        assert "SIGHUP: gateway.workers: changes only with a restart" in running.log()
        assert running.ask("x").split()[2] == "77M"


def test_a_daemon_finds_its_file_although_it_has_left_the_folder(tmp_path):
    """--rundir changes the folder; the file was named relative to the one before."""
    with configured(
        one(),
        command=[twistd(), "-n", "--pidfile=", f"--rundir={tmp_path}", "wsgate"],
    ) as (running, file):
        assert os.readlink(f"/proc/{running.pid}/cwd") == str(tmp_path)
        assert running.ask("x").split()[2] == "64M"
        file.reload(one("77M"))
        assert running.ask("x").split()[2] == "77M"


def test_reloads_under_load_lose_no_message(record_property):
    """Ten reloads that change the pool, while clients ask all the time."""
    with configured(one("64M")) as (running, file):
        running.ask_php()
        stop, wrong, answered = threading.Event(), [], []

        def talk():
            try:
                with running.connect() as client:
                    while not stop.is_set():
                        answer = ask(client, "hello")
                        (answered if answer.endswith(" hello") else wrong).append(answer)
            except Exception as error:
                wrong.append(error)

        threads = [threading.Thread(target=talk) for _ in range(4)]
        for thread in threads:
            thread.start()
        start = time.monotonic()
        for number in range(10):
            file.reload(one(f"{70 + number}M"))
        took = (time.monotonic() - start) / 10
        stop.set()
        for thread in threads:
            thread.join(30)
        assert wrong == []
        assert len({answer.split()[1] for answer in answered}) > 5
        assert running.stop() == 0
        received, done, _, _ = tally(running.log())
        assert received == done == len(answered) + 1
        assert "Traceback" not in running.log()
        record_property(
            "figure",
            f"10 reloads that change the private pool: {len(answered)} messages, 0 lost, "
            f"{took:.1f} s each",
        )


def test_a_php_fpm_that_is_not_ours_is_exchanged_for_another():
    script = "<?php echo posix_getppid();"
    with (
        php_fpm(workers=2, scripts={"a.php": script}) as first,
        php_fpm(workers=2, scripts={"a.php": script}) as second,
    ):

        def text(fpm):
            return (
                f'[pools.default]\nfastcgi = "{fpm.endpoint}"\n'
                f'[[route]]\nscript = "{fpm.script_path("a.php")}"\n'
            )

        with configured(text(first)) as (running, file), running.connect() as client:
            before = ask(client)
            file.reload(text(second))
            assert ask(client) != before
            first.stop()
            assert ask(client) != before


@pytest.mark.parametrize("workers", [1, 2])
def test_a_log_that_was_rotated_is_opened_anew(tmp_path, workers):
    log, old = tmp_path / "wsgate.log", tmp_path / "wsgate.log.1"

    def says(text):
        return lambda _=None: log.exists() and text in log.read_text()

    with gateway(
        f"--workers={workers}",
        workers=4,
        command=[twistd(), "-n", "--pidfile=", f"--logfile={log}", "wsgate"],
        ready=says("answers, " if workers == 1 else "worker 2 (pid"),
    ) as running:
        running.ask_php()
        log.rename(old)
        running.process.send_signal(signal.SIGHUP)
        eventually(says("SIGHUP: the settings are as before"), 40, "the new file is written to")
        assert "SIGHUP" not in old.read_text()
        assert running.stop() == 0
        assert "stopped; messages" in log.read_text()
        assert "Traceback" not in log.read_text() + old.read_text()


# -- with workers


def workers_of(text):
    return "[gateway]\nworkers = 2\n" + text.replace("max_in_flight = 2", "max_in_flight = 4")


def test_workers_get_the_new_settings():
    with configured(workers_of(one("64M")), ready=ready(2)) as (running, file):
        before = worker_pids(running)
        assert running.ask("x").split()[2] == "64M"
        file.reload(workers_of(one("77M")), seconds=40)
        assert not set(before.values()) & set(worker_pids(running).values())
        assert running.ask("x").split()[2] == "77M"
        assert running.stop() == 0
        assert_adds_up(running.log())


def test_a_bad_file_restarts_no_worker():
    with configured(workers_of(one("64M")), ready=ready(2)) as (running, file):
        before = worker_pids(running)
        for bad in ("[limits]\nzzz = 1\n", "[[route]]\nscript = '/nowhere/x.php'\n"):
            file.reload(workers_of(bad), says="the settings stay as they were")
        assert worker_pids(running) == before
        # One that dies is started again with what was good.
        os.kill(before[1], signal.SIGKILL)
        eventually(lambda: ready(3)(running), 20, "it is back")
        assert running.ask("x").split()[2] == "64M"


def test_a_terminal_that_is_closed_ends_wsgate():
    """SIGHUP of a terminal's end is no wish for a reload."""
    import pty

    pid, master = pty.fork()
    if pid == 0:
        os.execv(
            os.sys.executable,
            [os.sys.executable, "-m", "wsgate", "--demo", "--port=tcp:0:interface=127.0.0.1"],
        )
    said = b""
    while b"listens on" not in said:
        said += os.read(master, 65536)
    eventually(lambda: obeys(pid), 10, "it takes signals as wsgate does")
    os.close(master)
    eventually(lambda: pid not in process_table(), 10, "it ends")
    os.waitpid(pid, 0)
