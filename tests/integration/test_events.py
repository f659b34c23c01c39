"""connect, message and disconnect through the whole service, a real PHP, kills and restarts."""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.gateway_process import Gateway, eventually, gateway, process_table
from tests.integration.php_fpm import php_fpm

ALL = "--events=connect,message,disconnect"
STATE = "--set=gateway.state={folder}/state"

# Each event is a line of JSON in a file beside the script.
LIFE = """<?php
$event = $_SERVER['WSGATE_EVENT'];
$note = function () use ($event) {
    $kept = ['event' => $event, 'method' => $_SERVER['REQUEST_METHOD'],
        'body' => file_get_contents('php://input')];
    foreach ($_SERVER as $name => $value) {
        if (str_starts_with($name, 'WSGATE_') || str_starts_with($name, 'HTTP_')
            || $name === 'CONTENT_LENGTH') $kept[$name] = $value;
    }
    file_put_contents(__DIR__ . '/events', json_encode($kept) . "\\n", FILE_APPEND | LOCK_EX);
};
parse_str($_SERVER['QUERY_STRING'], $ask);
if ($event === 'message') {
    usleep(1000 * (int) ($ask['think'] ?? 0));
    $note();
    echo 'got ', file_get_contents('php://input');
    exit;
}
if ($event === 'disconnect') {
    if (file_exists(__DIR__ . '/down')) { http_response_code(500); exit; }
    $note();
    exit;
}
$note();
usleep(1000 * (int) ($ask['wait'] ?? 0));
foreach ((array) ($ask['header'] ?? []) as $line) header($line, false);
http_response_code((int) ($ask['status'] ?? 200));
if (isset($ask['throw'])) throw new Exception('secret-cause');
echo $ask['say'] ?? '';
"""
SCRIPTS = {"life.php": LIFE}


def events_of(running: Gateway, kind: str | None = None) -> list[dict]:
    """What PHP has noted so far."""
    file = running.place.scripts / "events"
    lines = file.read_text().splitlines() if file.exists() else []
    found = [json.loads(line) for line in lines]
    # Ends of an earlier test's connections may still come in.
    ids = {one["WSGATE_CONNECTION_ID"] for one in found if one["event"] == "connect"}
    if ids:
        found = [one for one in found if one["WSGATE_CONNECTION_ID"] in ids]
    return [one for one in found if kind in (None, one["event"])]


def wait_for(running: Gateway, kind: str, number: int = 1, seconds: float = 10.0) -> list[dict]:
    """The events of a kind, once there are so many."""
    return eventually(
        lambda: len(found := events_of(running, kind)) >= number and found,
        seconds,
        f"{number} of {kind}",
    )


@pytest.fixture(scope="module")
def served():
    with gateway(ALL, STATE, scripts=SCRIPTS, script="life.php") as running:
        yield running


@pytest.fixture
def running(served):
    with contextlib.suppress(FileNotFoundError):
        (served.place.scripts / "events").unlink()
    return served


def refusal(running: Gateway, path: str, **options):
    with pytest.raises(InvalidStatus) as caught, running.connect(path, **options):
        pass
    return caught.value.response


def test_php_hears_of_a_connection_from_its_beginning_to_its_end(running):
    with running.connect("/?a=b", additional_headers={"Cookie": "s=1"}) as client:
        client.send("hello")
        assert client.recv(timeout=10) == "got hello"
        client.close(4001, "böse")
    wait_for(running, "disconnect")
    connect, message, disconnect = events_of(running)
    assert [one["event"] for one in (connect, message, disconnect)] == (
        ["connect", "message", "disconnect"]
    )
    assert [one["method"] for one in (connect, message, disconnect)] == ["GET", "POST", "POST"]
    assert connect["body"] == disconnect["body"] == ""
    assert (disconnect["WSGATE_CLOSE_CODE"], disconnect["WSGATE_CLOSE_REASON"]) == ("4001", "böse")
    assert (disconnect["WSGATE_ACCEPTED"], disconnect["WSGATE_ATTEMPT"]) == ("yes", "1")
    for one in (connect, message, disconnect):
        assert one["HTTP_COOKIE"] == "s=1"
        assert one["WSGATE_CONNECTION_ID"] == connect["WSGATE_CONNECTION_ID"]
        assert one["WSGATE_SEQUENCE"] == connect["WSGATE_SEQUENCE"]


def test_a_later_connection_has_a_higher_sequence(running):
    for _ in range(3):
        with running.connect():
            pass
    numbers = [int(one["WSGATE_SEQUENCE"]) for one in wait_for(running, "connect", 3)]
    assert numbers == sorted(set(numbers))


def test_the_first_message_is_what_php_says_on_connect(running):
    with running.connect("/?say=welcome") as client:
        assert client.recv(timeout=10) == "welcome"


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_cookies_and_a_subprotocol_reach_the_client(running, compression):
    path = (
        "/?header[]=Set-Cookie:+a%3D1%3B+HttpOnly&header[]=Set-Cookie:+b%3D2"
        "&header[]=Sec-WebSocket-Protocol:+v2"
    )
    with running.connect(path, subprotocols=["v1", "v2"], compression=compression) as client:
        assert client.response.headers.get_all("Set-Cookie") == ["a=1; HttpOnly", "b=2"]
        assert client.subprotocol == "v2"
        client.send("x")
        client.recv(timeout=10)
    assert wait_for(running, "message")[-1]["WSGATE_SUBPROTOCOL"] == "v2"


def test_a_subprotocol_that_the_client_did_not_offer_is_left_out(running):
    path = "/?header[]=Sec-WebSocket-Protocol:+v3"
    with running.connect(path, subprotocols=["v1"]) as client:
        assert client.subprotocol is None
    assert "not one of those that the client offered" in running.log()


def test_a_refusal_is_phps_own_status_headers_and_body(running):
    seen = refusal(running, "/?status=403&say=members+only&header[]=X-Why:+because")
    assert (seen.status_code, seen.body) == (403, b"members only")
    assert seen.headers["X-Why"] == "because"
    assert "X-Powered-By" not in seen.headers
    wait_for(running, "connect")
    assert events_of(running, "disconnect") == []


def test_a_redirect_refuses_too(running):
    with raw_handshake(running, "/?status=302&header[]=Location:+/login") as client:
        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 302 Found\r\n")
    assert b"\r\nLocation: /login\r\n" in answer


def test_a_script_that_dies_is_500_and_its_text_stays_here(running):
    seen = refusal(running, "/?throw=1")
    assert seen.status_code == 500
    assert b"secret" not in seen.body


def test_a_client_that_is_lost_without_a_close_is_1006(running):
    with running.connect() as client:
        wait_for(running, "connect")
        client.socket.shutdown(socket.SHUT_RDWR)
    assert wait_for(running, "disconnect")[0]["WSGATE_CLOSE_CODE"] == "1006"


def test_a_client_that_leaves_while_php_thinks_is_accepted_and_gone(running):
    with raw_handshake(running, "/?wait=700"):
        wait_for(running, "connect")
    (gone,) = wait_for(running, "disconnect")
    assert gone["WSGATE_CLOSE_CODE"] == "1006"
    assert gone["WSGATE_ACCEPTED"] == "yes"


def test_the_disconnect_comes_after_the_last_message(running):
    with running.connect("/?think=500") as client:
        client.send("slow")
        eventually(lambda: running.fpm_workers(), 5, "PHP is there")
        client.socket.shutdown(socket.SHUT_RDWR)
    wait_for(running, "disconnect")
    assert [one["event"] for one in events_of(running)] == ["connect", "message", "disconnect"]


def test_a_disconnect_that_php_fails_is_tried_again(running):
    down = running.place.scripts / "down"
    down.touch()
    with running.connect():
        pass
    eventually(lambda: "is tried again" in running.log(), 10, "a failed disconnect")
    down.unlink()
    (late,) = wait_for(running, "disconnect")
    assert int(late["WSGATE_ATTEMPT"]) >= 2


def test_the_journal_is_for_this_user_alone_and_empty_when_all_have_left(running):
    folder = running.place.folder / "state"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_message_to_a_path_that_takes_none_closes():
    with gateway("--events=connect", scripts=SCRIPTS, script="life.php") as running:
        with running.connect() as client:
            client.send("x")
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=10)
        assert closed.value.rcvd.code == 1008
        assert not (running.place.folder / "state").exists()


def test_without_connect_php_hears_of_the_end_all_the_same():
    options = ("--events=message,disconnect", STATE)
    with gateway(*options, scripts=SCRIPTS, script="life.php") as running:
        assert running.ask("x") == "got x"
        wait_for(running, "disconnect")
        assert events_of(running, "connect") == []


def test_without_php_a_connect_is_refused_and_nobody_has_left():
    nowhere = "--fastcgi=unix:{folder}/nowhere.sock"
    with gateway(ALL, STATE, nowhere, scripts=SCRIPTS, script="life.php") as running:
        assert refusal(running, "/").status_code == 502
        assert running.stop() == 0
        assert list((running.place.folder / "state").iterdir()) == []


def test_too_many_connects_are_503_with_a_time_to_come_again():
    limits = ("--set=pools.default.queue=1", "--set=pools.default.max_in_flight=1")
    with gateway(ALL, STATE, *limits, scripts=SCRIPTS, script="life.php", workers=None) as running:
        running.ask_php()
        with raw_handshake(running, "/?wait=4000"):
            eventually(lambda: len(events_of(running, "connect")) == 2, 10, "one is at PHP")
            with raw_handshake(running, "/?wait=4000"):
                # The port takes them in turn, so the queue is full by then.
                seen = refusal(running, "/")
        assert seen.status_code == 503
        assert 5 <= int(seen.headers["Retry-After"]) <= 15


@contextlib.contextmanager
def raw_handshake(running: Gateway, path: str):
    """A handshake whose answer nobody waits for."""
    with socket.create_connection(("127.0.0.1", running.port), 10) as client:
        client.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        yield client


@contextlib.contextmanager
def started_again(running: Gateway):
    """The same service once more, with the same folders."""
    again = Gateway(running.place, list(running.process.args), running.port)
    try:
        again.wait_until_accepting(Gateway.accepts)
        yield again
    finally:
        again.end()


@contextlib.contextmanager
def connected(running: Gateway, number: int):
    """Clients that stay until the end of the block."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(running.connect()) for _ in range(number)]


def state_files(running: Gateway) -> list[str]:
    return sorted(path.name for path in (running.place.folder / "state").iterdir())


def test_who_was_connected_when_wsgate_was_killed_has_left():
    with gateway(ALL, STATE, scripts=SCRIPTS, script="life.php") as running:
        with connected(running, 3):
            wait_for(running, "connect", 3)
            os.kill(running.pid, signal.SIGKILL)
            running.process.wait(10)
        with started_again(running) as again:
            gone = wait_for(running, "disconnect", 3)
            assert {one["WSGATE_CONNECTION_ID"] for one in gone} == {
                one["WSGATE_CONNECTION_ID"] for one in events_of(running, "connect")
            }
            assert {one["WSGATE_CLOSE_CODE"] for one in gone} == {"1006"}
            assert "connections of a process that was ended" in again.log()
            assert again.stop() == 0
        assert state_files(running) == []


def test_while_php_is_down_disconnects_wait_also_through_a_restart():
    with php_fpm() as fpm:
        script = fpm.write_script("life.php", LIFE)
        options = (ALL, STATE, f"--fastcgi={fpm.endpoint}", f"--script={script}")
        with gateway(*options, script=None) as running:
            running.place.scripts = fpm.scripts
            with running.connect():
                wait_for(running, "connect")
                fpm.stop()
            eventually(lambda: "is tried again" in running.log(), 10, "a failed disconnect")
            assert running.stop() == 0
            assert events_of(running, "disconnect") == []
            fpm.start()
            with started_again(running):
                (gone,) = wait_for(running, "disconnect")
        assert (gone["WSGATE_CLOSE_CODE"], gone["WSGATE_ATTEMPT"]) == ("1000", "1")


def test_a_php_that_comes_back_hears_of_those_who_left_meanwhile():
    with php_fpm() as fpm:
        script = fpm.write_script("life.php", LIFE)
        options = (ALL, STATE, f"--fastcgi={fpm.endpoint}", f"--script={script}")
        with gateway(*options, script=None) as running:
            running.place.scripts = fpm.scripts
            with connected(running, 5):
                wait_for(running, "connect", 5)
                fpm.stop()
            eventually(lambda: "is tried again" in running.log(), 10, "a failed disconnect")
            fpm.start()
            gone = wait_for(running, "disconnect", 5, 20)
        assert len({one["WSGATE_CONNECTION_ID"] for one in gone}) == 5


def test_a_stop_delivers_the_disconnects_of_those_it_closes():
    with gateway(ALL, STATE, scripts=SCRIPTS, script="life.php") as running:
        with connected(running, 10):
            wait_for(running, "connect", 10)
            assert running.stop() == 0
        assert len(events_of(running, "disconnect")) == 10
        assert state_files(running) == []


def test_a_reload_that_takes_a_route_away_delivers_its_disconnects():
    config = '[[route]]\nscript = "{script}"\nevents = ["connect", "disconnect"]\npath = "{path}"\n'
    with gateway(
        *("--config={scripts}/wsgate.toml", STATE, "--set=limits.new_connections_per_address=0"),
        scripts={**SCRIPTS, "wsgate.toml": config.format(script="{scripts}/life.php", path="/a")},
        script=None,
    ) as running:
        with running.connect("/a"):
            wait_for(running, "connect")
            text = config.format(script=running.script("life.php"), path="/b")
            running.place.write("wsgate.toml", text)
            os.kill(running.pid, signal.SIGHUP)
            (gone,) = wait_for(running, "disconnect")
        assert gone["WSGATE_CLOSE_CODE"] == "1001"


def test_with_several_workers_a_killed_ones_clients_have_left():
    options = (ALL, STATE, "--workers=2")
    with gateway(*options, scripts=SCRIPTS, script="life.php", workers=4) as running:
        # Or all clients are those of the first one.
        eventually(lambda: len(re.findall(r"worker . \(pid", running.log())) == 2, 60, "workers")
        with connected(running, 6):
            wait_for(running, "connect", 6)
            (worker, *_) = worker_pids(running)
            os.kill(worker, signal.SIGKILL)
            eventually(lambda: events_of(running, "disconnect"), 60, "those of the killed one")
            assert len(events_of(running, "disconnect")) < 6
        wait_for(running, "disconnect", 6, 60)
        assert running.stop() == 0
        assert state_files(running) == []


def worker_pids(running: Gateway) -> list[int]:
    table = process_table()
    return [
        pid
        for pid, (parent, command) in table.items()
        if parent == running.pid and "wsgate.worker" in command
    ]


@pytest.mark.slow
def test_of_thousands_of_events_under_random_kills_no_end_is_lost(tmp_path):
    report = tmp_path / "events.json"
    asked = ["4000", "--kill-every", "1", "--clients", "16", f"--report={report}"]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.events", *asked],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    figures = json.loads(report.read_text())
    assert figures["lost"] == figures["unmarked"] == figures["exit_status"] == 0
    assert figures["journal_files_left"] == []
    assert figures["events"] >= 4000
    assert figures["killed"]


def test_a_reload_may_ask_for_the_first_disconnect():
    config = '[[route]]\nscript = "{script}"\nevents = [{events}]\n'
    with gateway(
        *("--config={scripts}/wsgate.toml", STATE, "--set=limits.new_connections_per_address=0"),
        scripts={
            **SCRIPTS,
            "wsgate.toml": config.format(script="{scripts}/life.php", events='"message"'),
        },
        script=None,
    ) as running:
        assert running.ask("x") == "got x"
        assert not (running.place.folder / "state").exists()
        both = '"message", "disconnect"'
        text = config.format(script=running.script("life.php"), events=both)
        running.place.write("wsgate.toml", text)
        os.kill(running.pid, signal.SIGHUP)
        eventually(lambda: "new settings taken" in running.log(), 10, "the reload")
        assert running.ask("y") == "got y"
        assert len(wait_for(running, "disconnect")) == 1


def test_a_reload_whose_journal_cannot_be_kept_changes_nothing():
    config = '[[route]]\nscript = "{script}"\nevents = [{events}]\n'
    with gateway(
        *("--config={scripts}/wsgate.toml", "--set=gateway.state=/proc/nowhere"),
        scripts={
            **SCRIPTS,
            "wsgate.toml": config.format(script="{scripts}/life.php", events='"message"'),
        },
        script=None,
    ) as running:
        running.ask_php()
        both = '"message", "disconnect"'
        text = config.format(script=running.script("life.php"), events=both)
        running.place.write("wsgate.toml", text)
        os.kill(running.pid, signal.SIGHUP)
        eventually(lambda: "the settings stay as they were" in running.log(), 10, "the reload")
        assert "SIGHUP: gateway.state = /proc/nowhere: " in running.log()
        assert running.ask("x") == "got x"


def test_a_folder_that_cannot_be_written_stops_the_start():
    nowhere = "--set=gateway.state=/proc/nowhere"
    with gateway(ALL, nowhere, scripts=SCRIPTS, script="life.php", ready=has_ended) as running:
        said = running.errors() + running.log()
    assert "gateway.state = /proc/nowhere: " in said
    assert "like --set gateway.state=/var/lib/wsgate" in said
    assert "Traceback" not in said


def test_with_several_workers_the_parent_says_so(tmp_path):
    tmp_path.chmod(0o777)
    options = (ALL, f"--set=gateway.state={tmp_path}", "--workers=2")
    with gateway(*options, scripts=SCRIPTS, script="life.php", ready=has_ended) as running:
        said = running.errors() + running.log()
    assert f"gateway.state = {tmp_path}: other users may change what is in it; " in said
    assert "Traceback" not in said


def has_ended(running: Gateway) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.process.wait(20)
    return True
