"""A12 to A21: what a real php-fpm makes of what clients send."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.load import load
from tests.faults.stage import until
from tests.integration.raw_client import RawClient

HASH = """<?php
header('Content-Type: application/octet-stream');
$input = file_get_contents('php://input');
echo hash('sha256', $input), ' ', $_SERVER['CONTENT_LENGTH'], ' ', $input;
"""

SEEN = """<?php
header('Content-Type: application/json');
echo json_encode([
    'server' => array_map('utf8_encode', array_filter($_SERVER, 'is_string')),
    'env' => getenv('HTTP_PROXY'),
    'memory_limit' => ini_get('memory_limit'),
    'prepend' => ini_get('auto_prepend_file'),
    'script' => __FILE__,
    'input' => file_get_contents('php://input'),
]);
"""

# Counts its runs and reads nothing of its input.
DEAF = """<?php
file_put_contents(__DIR__ . '/deaf', $_SERVER['WSGATE_MESSAGE_ID'] . "\\n", FILE_APPEND | LOCK_EX);
echo 'memory_limit ', ini_get('memory_limit'), ', secret ', ini_get('user_agent');
"""

FATAL = """<?php
echo 'before ';
ini_set('display_errors', file_get_contents('php://input'));
nothing_of_this_name();
"""

# Leaves a trace of having run: worker, message id, name; then works, and may speak first.
WORK = """<?php
$ask = json_decode(file_get_contents('php://input'), true);
$trace = getmypid() . ' ' . $_SERVER['WSGATE_MESSAGE_ID'] . ' ' . $ask['name'] . "\\n";
file_put_contents(__DIR__ . '/ran', $trace, FILE_APPEND | LOCK_EX);
if ($ask['speaks'] ?? false) { echo str_repeat('half ', 20000); flush(); }
if ($ask['finishes'] ?? false) { echo $ask['name']; fastcgi_finish_request(); }
$end = microtime(true) + ($ask['seconds'] ?? 0);
while (($left = $end - microtime(true)) > 0) usleep((int) ($left * 1e6));
file_put_contents(__DIR__ . '/done', $ask['name'] . "\\n", FILE_APPEND | LOCK_EX);
echo $ask['name'];
"""

SCRIPTS = {
    "hash.php": HASH,
    "seen.php": SEEN,
    "deaf.php": DEAF,
    "fatal.php": FATAL,
    "work.php": WORK,
}
LONGEST_HEAD = 60 * 1024
PHP = {
    "scripts": SCRIPTS,
    "limits": {"max_header_bytes": "60KiB", "max_header_lines": 1000},
    "pool": {"response_timeout": "10s"},
}


def work(name, **more):
    return json.dumps({"name": name, **more}).encode()


class Traces:
    """What work.php has left behind."""

    def __init__(self, stage):
        self._folder = Path(stage.fpm.scripts)

    def _lines(self, name):
        path = self._folder / name
        return path.read_text().splitlines() if path.exists() else []

    def pid_of(self, name, seconds=10):
        """The worker that runs the message of this name; waits until one does."""
        pids = until(
            lambda: [
                int(line.split()[0]) for line in self._lines("ran") if line.split()[2] == name
            ],
            seconds,
            f"{name} runs",
        )
        return pids[0]

    def is_done(self, name):
        return name in self._lines("done")

    def assert_none_twice(self):
        ids = Counter(line.split()[1] for line in self._lines("ran"))
        assert not [i for i, times in ids.items() if times > 1]


SIZES = [0, 1, 65527, 65528, 65529, 131071, 2**20]


@pytest.mark.case("A12")
def test_bodies_of_every_critical_size_reach_php_and_come_back(stages, outcome):
    s = stages.php(**PHP)
    block = bytes(range(256)) + os.urandom(255)
    with s.client("/hash.php") as client:
        for size in SIZES:
            body = (block * (size // len(block) + 1))[:size]
            client.send_message(body, False)
            digest, length, back = client.receive_message().split(b" ", 2)
            assert digest.decode() == hashlib.sha256(body).hexdigest()
            assert int(length) == size
            assert back == body
    outcome(f"{len(SIZES)} sizes, all byte values: SHA-256 equal in PHP and back")


@pytest.mark.case("A13")
def test_long_variables_arrive_whole_up_to_the_limit_and_are_431_beyond(stages, outcome):
    s = stages.php(**PHP)
    for size in (1, 127, 128, 129, 16383, 32768, 60000):
        value = b"v" * size
        with s.client("/seen.php", extra=(b"X-Long: " + value,)) as client:
            client.send_message(b"")
            seen = json.loads(client.receive_message())["server"]
        assert seen["HTTP_X_LONG"] == value.decode()
    # As many bytes in many variables.
    lines = tuple(b"X-%d: %s" % (number, b"w" * 100) for number in range(500))
    with s.client("/seen.php", extra=lines) as client:
        client.send_message(b"")
        seen = json.loads(client.receive_message())["server"]
    assert all(seen[f"HTTP_X_{number}"] == "w" * 100 for number in range(500))
    runs = len(s.wsgate.log())
    for size in (LONGEST_HEAD, 65400, 65600):
        # PHP resets a record of more than 65535 bytes; no such request is ever made.
        RawClient(
            s.port, "/seen.php", extra=(b"X-Long: " + b"v" * size,), status=431
        ).socket.close()
    assert " 431 to " in s.wsgate.log()[runs:]
    outcome("1 byte to 60,000 bytes in one variable, 58 KiB in 500: whole; more: 431")


def smuggled(size):
    """A message of `size` bytes that is full of FastCGI requests which set memory_limit."""
    pairs = b""
    for name, value in (
        (b"SCRIPT_FILENAME", b"{script}"),
        (b"REQUEST_METHOD", b"GET"),
        (b"PHP_ADMIN_VALUE", b"memory_limit=7M\nuser_agent=smuggled"),
    ):
        pairs += bytes((len(name), len(value))) + name + value
    one = (
        b"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00"
        + b"\x01\x04\x00\x01"
        + len(pairs).to_bytes(2, "big")
        + b"\x00\x00"
        + pairs
        + b"\x01\x04\x00\x01\x00\x00\x00\x00\x01\x05\x00\x01\x00\x00\x00\x00"
    )
    # The last ones end where the message ends.
    return (one * (size // len(one) + 1))[-size:]


@pytest.mark.case("A14")
@pytest.mark.parametrize("keep", [False, True], ids=["closed", "kept"])
def test_no_message_becomes_a_request_of_its_own(stages, outcome, keep):
    s = stages.php(
        **{**PHP, "pool": {"keep_connections": keep, "response_timeout": "10s"}}, workers=2
    )
    sizes = [len(smuggled(1000)), 65520, 65528, 65536, 98296, 98304, 98312, 99000, 131072]
    with s.client("/deaf.php") as client:
        for size in sizes:
            client.send_message(smuggled(size), False)
            assert client.receive_message() == b"memory_limit 512M, secret "
    ran = (Path(s.fpm.scripts) / "deaf").read_text().splitlines()
    (Path(s.fpm.scripts) / "deaf").unlink()
    assert len(ran) == len(set(ran)) == len(sizes)
    outcome(
        f"{len(sizes)} sizes, connections {'kept' if keep else 'closed'}: 1 run each, ini as it was"
    )


HEADERS = (
    b"Proxy: http://evil.example/",
    b"PHP_VALUE: memory_limit=7M",
    b"Php-Value: memory_limit=7M",
    b"PHP-Admin-Value: auto_prepend_file=/etc/passwd",
    b"X_Forwarded_For: 6.6.6.6",
    b"Script-Filename: /etc/passwd",
    b"SCRIPT_FILENAME: /etc/passwd",
    b"Request_Body_File: /etc/passwd",
    b"Request-Body-File: /etc/passwd",
    b"Document-Root: /etc",
    b"Remote-Addr: 6.6.6.6",
    b"Https: on",
    b"Redirect-Url: /evil",
    b"Wsgate-Message-Id: 1",
    b"Content-Length: 0",
)


@pytest.mark.case("A15")
def test_headers_become_http_variables_and_nothing_else(stages, outcome):
    s = stages.php(**PHP)
    with s.client("/seen.php", extra=HEADERS) as client:
        client.send_message(b"the input")
        dirty = json.loads(client.receive_message())
    with s.client("/seen.php") as client:
        client.send_message(b"the input")
        clean = json.loads(client.receive_message())
    new = {name for name in dirty["server"] if name not in clean["server"]}
    assert all(name.startswith("HTTP_") for name in new), new
    assert not new & {"HTTP_PROXY", "HTTP_X_FORWARDED_FOR"}
    varying = {"REMOTE_PORT", "WSGATE_CONNECTION_ID", "WSGATE_MESSAGE_ID", "REQUEST_TIME"}
    for name, value in clean["server"].items():
        assert name in varying or dirty["server"][name] == value, name
    for key in ("env", "memory_limit", "prepend", "script", "input"):
        assert dirty[key] == clean[key]
    assert not dirty["env"]
    with RawClient(s.port, "/seen.php", extra=(b"Content-Length: 5",), status=400):
        pass
    outcome(f"{len(HEADERS)} headers: only HTTP_* of their own, no HTTP_PROXY, ini as it was")


TARGETS = (
    b"/../../etc/passwd",
    b"/seen.php/../../../etc/passwd",
    b"/chat.php/%2e%2e/%2e%2e/etc/passwd",
    b"/x.jpg/.php",
    b"/x.php%20",
    b"/evil.%EF%BD%90%EF%BD%88%EF%BD%90",
    b"/%ff%fe.php",
    b"//etc/passwd",
    b"/?SCRIPT_FILENAME=/etc/passwd",
)
REFUSED = (
    *(b"/x.php%00.jpg", b"/x%0a.php", b"/x%7f", b"/x#.php", b"http://evil/x.php", b"*"),
    "/evil.ｐｈｐ".encode(),
)


@pytest.mark.case("A16")
def test_no_url_chooses_the_script(stages, outcome):
    s = stages.php(**PHP)
    for target in TARGETS:
        # Whatever no other route serves is served by `/`, an echo.
        assert s.ask(b"who answers?", target) == b"who answers?"
    for target in REFUSED:
        RawClient(s.port, target, status=400).socket.close()
    with s.client(b"/seen.php?/../../etc/passwd") as client:
        client.send_message(b"")
        seen = json.loads(client.receive_message())
    assert seen["server"]["SCRIPT_FILENAME"] == s.fpm.script_path("seen.php") == seen["script"]
    outcome(f"{len(TARGETS)} URLs: the script of the route; {len(REFUSED)} malformed ones: 400")


@pytest.mark.case("A17")
@pytest.mark.parametrize(("shown", "expected"), [("0", 500), ("1", 500)])
def test_a_fatal_error_is_an_error_and_its_text_stays_here(stages, outcome, shown, expected):
    s = stages.php(**PHP)
    error = s.error(shown.encode(), path="/fatal.php")
    assert (error.status, error.reason) == (expected, "the script failed")
    (line,) = s.log_of(error.message_id)
    assert "nothing_of_this_name" in line
    outcome(f"display_errors={shown}: error 500, its text in one line of the log")


@pytest.mark.case("A18")
def test_a_script_that_sleeps_too_long_is_an_error_at_the_deadline_and_ends_by_itself(
    stages, outcome
):
    s = stages.php(scripts=SCRIPTS, pool={"response_timeout": "500ms"})
    error = s.error(work("sleeps", seconds=1.0), 0.5, "/work.php")
    assert (error.status, error.reason) == (504, "the backend took too long")
    traces = Traces(s)
    until(lambda: traces.is_done("sleeps"), 2, "the script ends")
    until(s.workers_idle, 2)
    traces.assert_none_twice()
    outcome(f"php-fpm, 0.5 s: error 504 after {error.seconds:.2f} s, worker free when it was done")


@pytest.mark.case("A20")
def test_work_after_the_answer_holds_up_nobody(stages, outcome):
    s = stages.php(**PHP)
    with s.client("/work.php") as client:
        began = time.monotonic()
        client.send_message(work("finished", finishes=True, seconds=1.0))
        assert client.receive_message() == b"finished"
        first = time.monotonic() - began
        for number in range(5):
            client.send_message(work(f"next{number}"))
            assert client.receive_message() == b"next%d" % number
        rest = time.monotonic() - began
    traces = Traces(s)
    assert not traces.is_done("finished")
    assert rest < 1.0
    until(lambda: traces.is_done("finished"), 3)
    traces.assert_none_twice()
    outcome(
        f"answer after {first * 1e3:.0f} ms of a script of 1 s; 5 more within {rest * 1e3:.0f} ms"
    )


def kill_workers(s, rounds):
    """SIGKILL a worker at work, `rounds` times, while others ask; seconds until each error."""
    traces = Traces(s)
    seconds = []
    with s.client("/work.php") as victim, s.client("/work.php") as other:
        for number in range(rounds):
            name = f"victim{number}"
            victim.send_message(work(name, seconds=30, speaks=bool(number % 2)))
            pid = traces.pid_of(name)
            other.send_message(work(f"other{number}", seconds=0.02))
            os.kill(pid, signal.SIGKILL)
            error = s.next_error(victim, time.monotonic())
            assert (error.status, error.reason) == (502, "the backend closed the connection")
            seconds.append(error.seconds)
            assert other.receive_message() == b"other%d" % number
    traces.assert_none_twice()
    return seconds


@pytest.mark.case("A21")
def test_killed_workers_cost_one_error_each(stages, outcome):
    s = stages.php(**PHP)
    seconds = kill_workers(s, 6)
    outcome(f"6 kills: 6 errors within {max(seconds) * 1e3:.0f} ms, nothing else lost, none twice")


@pytest.mark.long
@pytest.mark.case("A21")
def test_fifty_killed_workers_under_load_cost_one_error_each(stages, outcome):
    s = stages.php(**PHP, workers=8)
    # A breaker would open if every second request failed.
    with load(s, clients=6, pace=0.01) as asking:
        seconds = kill_workers(s, 50)
        account = asking.stop()
    assert not account.wrong
    assert account.answered + account.refused == account.sent
    # A killed worker may just have taken one of the others' requests.
    assert account.refused <= 50
    outcome(
        f"50 kills under {account.sent} messages: 50 errors within {max(seconds) * 1e3:.0f} ms, "
        f"{account.refused} of the others"
    )
