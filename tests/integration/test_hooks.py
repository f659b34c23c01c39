"""Hooks with real processes: kills, stops, reloads, workers, and what is wrong at a start."""

import os
import signal
import subprocess
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.gateway_process import eventually, gateway, twistd
from tests.integration.test_control import controlled
from tests.integration.test_stopping import tally
from tests.integration.test_workers import ready, worker_pids

HOOKS = """
import time
from twisted.internet.threads import deferToThread
from wsgate.hooks import Answer, Close, Hook, Refuse


class Door(Hook):
    def __init__(self, services, greeting="hello"):
        self.greeting = greeting

    def start(self):
        print(f"started {self.greeting}", flush=True)

    def stop(self):
        print(f"stopped {self.greeting}", flush=True)

    async def on_connect(self, connection):
        name = connection.query("name")
        if name is None:
            return Refuse(401, "no name", (("X-Evil", f"a\\r\\nX-Injected: {name}"),))
        connection.set_param("REMOTE_USER", name)
        connection.subscribe("all")

    async def on_message(self, connection, message):
        if message.text == "greet":
            return Answer(self.greeting.encode())
        if message.text == "slow":
            print("slowly", flush=True)
            await deferToThread(time.sleep, 1.5)
            return Answer(b"slept")
        if message.text == "never":
            await deferToThread(time.sleep, 3)
        if message.text == "hang":
            await deferToThread(self.hang)
        if message.text == "write":
            await deferToThread(self.write)
        if message.text == "broken":
            raise KeyError("s3cret")
        if message.text == "close":
            return Close(4001, "as you like")

    def hang(self):
        print("hangs", flush=True)
        time.sleep(300)

    def write(self):
        print("writes", flush=True)
        time.sleep(4)
        print("has written", flush=True)
"""

PHP = """<?php
$line = implode(' ', [$_SERVER['WSGATE_EVENT'], $_SERVER['REMOTE_USER'] ?? '-',
    $_SERVER['HTTP_PROXY'] ?? '-', file_get_contents('php://input')]);
file_put_contents(__DIR__ . '/log', "$line\\n", FILE_APPEND | LOCK_EX);
if ($_SERVER['WSGATE_EVENT'] === 'message') { echo $line; }
"""

FILE = """
[hooks.door]
use = "door:Door"

[[route]]
script = "ws.php"
hooks = ["door"]
events = ["connect", "message", "disconnect"]
"""

SCRIPTS = {"ws.php": PHP, "door.py": HOOKS, "wsgate.toml": FILE}
OPTIONS = (
    "--config=scripts/wsgate.toml",
    "--set=gateway.state={folder}/state",
    "--set=limits.new_connections_per_address=0",
)


def hooked(*options, **more):
    scripts = SCRIPTS | more.pop("scripts", {})
    return gateway(*OPTIONS, *options, script=None, scripts=scripts, **more)


def php_log(running):
    path = running.place.scripts / "log"
    return path.read_text().splitlines() if path.exists() else []


def test_what_a_hook_says_of_a_client_is_in_every_event_also_after_a_kill():
    with hooked() as running:
        with running.connect("/?name=ann", additional_headers={"Proxy": "evil:1"}) as client:
            client.send("hi")
            assert client.recv(timeout=30) == "message ann - hi"
            os.kill(running.pid, signal.SIGKILL)
            running.process.wait(10)
        again = [twistd(), "-n", "--pidfile=", "wsgate", f"--port=tcp:{running.port}", *OPTIONS]
        again = [word.format(folder=running.place.folder) for word in again]
        with subprocess.Popen(
            again, cwd=running.place.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                eventually(lambda: "disconnect ann - " in php_log(running), 60, "a disconnect")
            finally:
                process.terminate()
        assert php_log(running) == ["connect ann - ", "message ann - hi", "disconnect ann - "]


def test_a_client_without_a_name_is_refused_and_injects_nothing():
    with hooked() as running:
        with pytest.raises(InvalidStatus) as caught, running.connect():
            pass
        response = caught.value.response
        assert (response.status_code, response.body) == (401, b"No name\n")
        assert "X-Injected" not in response.headers
        assert not php_log(running)


def test_a_hook_that_fails_is_nobody_else_s_and_no_secret_is_in_the_log():
    with (
        hooked() as running,
        running.connect("/?name=a") as one,
        running.connect("/?name=b") as two,
    ):
        one.send("broken")
        assert '"status":503,"reason":"not available, try again later"' in one.recv(timeout=30)
        one.send("never")
        two.send("greet")
        assert two.recv(timeout=30) == "hello"
        assert '"status":503' in one.recv(timeout=30)
        one.send("close")
        with pytest.raises(ConnectionClosed) as caught:
            one.recv(timeout=30)
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "as you like")
        log = running.log()
        assert "hook door failed at message" in log
        assert "KeyError in line" in log
        assert "s3cret" not in log
        assert "no word within 2 s" in log


def test_a_stop_waits_for_a_hook():
    with hooked() as running, running.connect("/?name=ann") as client:
        client.send("slow")
        eventually(lambda: "slowly" in running.log(), 10, "the hook has begun")
        running.process.send_signal(signal.SIGTERM)
        assert client.recv(timeout=30) == "slept"
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=30)
        assert running.process.wait(30) == 0
        assert tally(running.log()) == (1, 1, 0, 0)
        assert "stopped hello" in running.log()


@pytest.mark.parametrize(
    ("drain", "stop", "least"),
    [("2s", "30s", 1.9), ("1min", "3s", 2.9)],
    ids=["drain_timeout", "stop_timeout"],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_hook_whose_thread_hangs_does_not_hold_up_a_stop_for_longer_than_php_could(
    drain, stop, least, workers
):
    options = [f"--set=gateway.drain_timeout={drain}", f"--set=gateway.stop_timeout={stop}"]
    more = {}
    if workers > 1:
        options.append(f"--workers={workers}")
        more = {"ready": ready(workers), "workers": None}
    with hooked(*options, **more) as running, running.connect("/?name=ann") as client:
        client.send("hang")
        eventually(lambda: "hangs" in running.log(), 20)
        start = time.monotonic()
        running.process.terminate()
        assert running.process.wait(25) == 0
        assert least < time.monotonic() - start < least + 4
        assert "stopped; messages:" in running.log()
        if workers == 1:
            assert "threads that hang are left behind: 1" in running.log()


def test_a_second_signal_does_not_wait_for_threads():
    with hooked() as running, running.connect("/?name=ann") as client:
        client.send("hang")
        eventually(lambda: "hangs" in running.log(), 20)
        running.process.terminate()
        time.sleep(1)
        running.process.terminate()
        assert running.process.wait(5) == 0
        assert "threads that hang are left behind: 1" in running.log()


def test_a_stop_waits_for_a_thread_nobody_waits_for_any_more():
    with hooked() as running, running.connect("/?name=ann") as client:
        client.send("write")
        eventually(lambda: "writes" in running.log(), 20)
        running.process.terminate()
        assert running.process.wait(25) == 0
        assert "has written" in running.log()
        assert "left behind" not in running.log()


def test_a_reload_brings_new_hooks_to_new_clients():
    with hooked() as running, running.connect("/?name=old") as old:
        other = FILE.replace('Door"', 'Door"\ngreeting = "ahoy"')
        running.place.write("wsgate.toml", other)
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "new settings taken" in running.log(), 20)
        with running.connect("/?name=new") as new:
            for client, greeting in ((old, "hello"), (new, "ahoy")):
                client.send("greet")
                assert client.recv(timeout=30) == greeting
            assert "started ahoy" in running.log()
            assert "stopped hello" not in running.log()
            old.close()
            eventually(lambda: "stopped hello" in running.log(), 20)
        running.place.write("wsgate.toml", other.replace("door:Door", "door:Dor"))
        running.process.send_signal(signal.SIGHUP)
        line = 'hooks.door.use = "door:Dor": door has no Dor; did you mean Door?'
        eventually(lambda: line in running.log(), 20)
        assert running.ask("greet", "/?name=new") == "ahoy"


def test_each_worker_has_its_own_hooks_and_the_figures_are_of_all():
    more = {"scripts": SCRIPTS, "script": None, "workers": None, "ready": ready(2)}
    with controlled(*OPTIONS, "--workers=2", **more) as (running, control):
        eventually(lambda: running.log().count("started hello") == 2, 20)
        for _ in range(20):
            assert running.ask("greet", "/?name=ann") == "hello"
        assert len(worker_pids(running)) == 2

        def answered():
            key = ("wsgate_hook_outcomes_total", "door", "answered")
            return control.figures().get(key) == 20

        eventually(answered, 20, "the figures of both")


WRONG = [
    ('use = "gone:Door"', "no module gone; put gone.py, or its package, beside the configuration"),
    ('use = "door:Nobody"', "door has no Nobody"),
    ('use = "door:Door"\ngreetng = "x"', "TypeError: Door.__init__() got an unexpected keyword"),
    ('use = "door:time"', "which has none of on_connect, on_message, on_disconnect"),
    ('use = "broken:X"', "invalid syntax in line 1 of"),
    ('use = "sessoin"', "no hook or plugin sessoin; did you mean session?"),
]


@pytest.mark.parametrize(("hook", "says"), WRONG, ids=lambda word: word[:24])
@pytest.mark.parametrize("check", ["--check", "--port=tcp:0"])
def test_what_is_wrong_with_a_hook_is_one_line(hook, says, check, tmp_path):
    (tmp_path / "ws.php").write_text(PHP)
    (tmp_path / "door.py").write_text(HOOKS)
    (tmp_path / "broken.py").write_text("def def")
    # PHP's user may not read here; nobody asks it either.
    text = '[pools.default]\nfastcgi = "unix:/nobody"\n'
    text += f'[hooks.door]\n{hook}\n[[route]]\nscript = "ws.php"\nhooks = ["door"]'
    (tmp_path / "wsgate.toml").write_text(text)
    command = [twistd(), "-n", "--pidfile=", "wsgate", "-c", f"{tmp_path}/wsgate.toml", check]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"wsgate: {tmp_path}/wsgate.toml: hooks.door.use = ")
    assert says in line


ASKS = """
from wsgate.hooks import Answer, Hook


class Asks(Hook):
    asks = True

    def __init__(self, services):
        self.seen = []

    async def on_message(self, connection, message):
        if message.text == "seen":
            return Answer(repr(self.seen).encode())
        try:
            answer = await message.ask()
        except Exception as error:
            self.seen.append(type(error).__name__)
            raise
        self.seen.append(None if answer.payload is None else bytes(answer.payload))
        return answer
"""

ASKED = """<?php
$said = file_get_contents('php://input');
if ($said === 'stream') {
    header('Wsgate-Stream: lines');
    foreach (['one', 'two'] as $line) { echo "$line\\n"; flush(); usleep(50000); }
} elseif ($said === 'fail') {
    http_response_code(500);
} elseif ($said === 'die') {
    posix_kill(getmypid(), 9);
} else {
    echo "php: $said";
}
"""


def test_a_hook_sees_what_php_says_be_it_a_stream_a_failure_or_nothing():
    scripts = {
        "ws.php": ASKED.replace("\\\\n", "\\n"),
        "asks.py": ASKS,
        "wsgate.toml": '[[route]]\nscript = "ws.php"\nhooks = ["asks:Asks"]\n',
    }
    with hooked(scripts=scripts) as running, running.connect() as client:
        for text in ("hi", "stream", "fail", "die", "seen"):
            client.send(text)
        got = [client.recv(timeout=30) for _ in range(7)]
        assert got[:3] == ["php: hi", "one", "two"]
        assert '"stream":"end"' in got[3]
        assert '"status":500,"reason":"the script failed"' in got[4]
        assert '"status":502,"reason":"the backend closed the connection"' in got[5]
        assert got[6] == "[b'php: hi', None, 'ScriptFailed', 'ResponseNeverReceived']"
        client.close()
        assert running.stop() == 0
        assert tally(running.log()) == (5, 3, 2, 0)


def test_of_many_clients_that_come_and_go_every_message_is_counted():
    with hooked() as running:

        def visit(number):
            with running.connect(f"/?name=n{number}") as client:
                for text in ("greet", "hi", "broken", "slow"):
                    client.send(text)
                if number % 2:
                    assert client.recv(timeout=30) == "hello"
                    assert client.recv(timeout=30) == f"message n{number} - hi"

        threads = [threading.Thread(target=visit, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert running.stop() == 0
        received, *_ = tally(running.log())
        assert received >= 40
