"""The whole service as users start it: commands, files, ports, paths, refusals, ends."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.gateway_process import (
    eventually,
    free_port,
    gateway,
    living,
    process_table,
    twistd,
)
from tests.integration.php_fpm import php_fpm
from tests.integration.raw_client import RawClient

ROOT = Path(__file__).parents[2]
NAME = """<?php
header('Content-Type: application/json');
echo json_encode(['name' => '{name}', 'server' => $_SERVER]);
"""


def script(name):
    return NAME.replace("{name}", name)


# -- what needs no PHP


def said(*arguments):
    ended = subprocess.run(
        arguments, capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL
    )
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr
    return ended.stdout


COMMANDS = {
    "twistd": [twistd(), "wsgate"],
    "python -m": [sys.executable, "-m", "wsgate"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_every_option_of_the_contract(command):
    text = said(*COMMANDS[command], "--help")
    for option in (
        *("-p, --port ENDPOINT", "-s, --script FILE", "-f, --fastcgi ENDPOINT", "--path PATH"),
        *("--certificate FILE", "--private-key FILE", "--certificates DIR", "--self-signed"),
        *("-c, --config FILE", "--set KEY=VALUE", "--demo", "--version", "--help"),
        *("--control ENDPOINT", "--control-token-file FILE", "--client-ca FILE"),
        *("--events LIST", "--workers N", "--bus URL"),
    ):
        assert option in text, option
    assert "default tcp:8080:interface=127.0.0.1" in text
    assert "max_message_size=1MiB" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_version_names_what_runs(command):
    text = said(*COMMANDS[command], "--version")
    assert re.match(
        r"wsgate \d+\.\d+\S* \(Twisted \S+, Autobahn \S+, Python \S+, (compiled|pure Python)\)\n$",
        text,
    )


def test_twistd_lists_wsgate_beside_its_own_plugins():
    text = said(twistd(), "--help")
    assert re.search(r"^ +wsgate +\S", text, re.MULTILINE)
    assert re.search(r"^ +web +\S", text, re.MULTILINE)


# -- ways to start


def test_python_dash_m_runs_the_gateway_in_the_foreground():
    with gateway(command=[sys.executable, "-m", "wsgate"]) as running:
        assert running.ask("grün") == "grün"
        php = running.php_pids()
        running.stop()
        assert not living(php)


def test_the_tac_file_serves_a_message():
    text = (ROOT / "wsgate.tac").read_text()
    assert "tcp:8080:interface=127.0.0.1" in text
    with gateway(
        script=None,
        port=None,
        workers=None,
        scripts={"wsgate.tac": text.replace("tcp:8080:", "tcp:{port}:")},
        command=[twistd(), "-n", "--pidfile=", "-y", "{scripts}/wsgate.tac"],
    ) as running:
        assert running.ask("through a tac file", "/echo") == "through a tac file"
        php = running.php_pids()
        running.stop()
        assert not living(php)


def test_a_daemon_serves_and_ends_by_its_pid_file(tmp_path):
    port = free_port()
    pidfile, log = tmp_path / "wsgate.pid", tmp_path / "wsgate.log"
    command = [twistd(), f"--pidfile={pidfile}", f"--logfile={log}", f"--rundir={tmp_path}"]
    command += ["wsgate", "--demo", f"--port=tcp:{port}:interface=127.0.0.1"]
    said(*command)
    pid = int(pidfile.read_text())
    try:
        # twistd said it started, so it listens.
        with RawClient(port, "/echo") as client:
            client.send_message(b"to a daemon")
            assert client.receive_message() == b"to a daemon"
        php = [child for child, (parent, _) in process_table().items() if parent == pid]
        assert php
    finally:
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not living([pid]), 15, "the daemon ends")
    assert not living(php)
    assert not pidfile.exists()
    assert "Traceback" not in log.read_text()


def test_the_demo_answers_on_its_own_port():
    with gateway("--demo", script=None) as running:
        page = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
        page.request("GET", "/")
        answer = page.getresponse()
        assert answer.status == 200
        assert answer.getheader("Content-Type") == "text/html; charset=utf-8"
        assert b"<html" in answer.read()
        assert running.ask("demo", "/echo") == "demo"
        classic = json.loads(running.ask("message=Test+message+4444", "/classic"))
        assert "Test message 4444" in json.dumps(classic)


CONFIG = """
[gateway]
port = ["tcp:{port}:interface=127.0.0.1"]
[limits]
max_connections = 3
[pools.one]
max_in_flight = 1
[pools.two]
max_in_flight = 2
[[route]]
path = "/one"
script = "{scripts}/one.php"
pool = "one"
origins = ["https://example.com", "http://localhost:3000"]
[[route]]
path = "/two"
script = "{scripts}/two.php"
pool = "two"
subprotocols = ["chat.v1", "chat.v2"]
[[route]]
path = "/gone"
script = "{scripts}/one.php"
pool = "two"
on_error = "close"
"""


@pytest.fixture(scope="module")
def two_routes():
    """A file with two private pools, and routes into each; three connections at most."""
    scripts = {"one.php": script("one"), "two.php": script("two"), "wsgate.toml": CONFIG}
    options = ("--config={scripts}/wsgate.toml", "--set=limits.new_connections_per_address=0")
    with gateway(*options, script=None, port=None, scripts=scripts) as g:
        g.ask("", "/one")
        g.ask("", "/two")
        yield g


def answered(running, path, **options):
    # Connections count until they are wholly over.
    eventually(lambda: not open_connections(running), 5, "earlier connections are over")
    return json.loads(running.ask("x", path, **options))


def open_connections(running):
    """How many TCP connections the gateway's port has."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    local = f"0100007F:{running.port:04X}"
    return [line for line in lines if line.split()[1] == local and line.split()[3] in ("01", "08")]


def test_each_route_has_its_script_and_each_pool_its_workers(two_routes):
    assert answered(two_routes, "/one")["name"] == "one"
    assert answered(two_routes, "/two?x=1")["name"] == "two"
    assert len(two_routes.fpm_workers()) == 3


def test_the_path_of_a_route_is_the_decoded_path_of_the_url(two_routes):
    assert answered(two_routes, "/%6fne")["server"]["REQUEST_URI"] == "/%6fne"


@pytest.mark.parametrize("path", ["/", "/three", "/one/", "/ONE", "/one/two", "//one"])
def test_another_path_is_404(two_routes, path):
    with pytest.raises(InvalidStatus) as refused:
        two_routes.connect(path)
    assert refused.value.response.status_code == 404


@pytest.mark.parametrize("path", ["/one", "/two"])
def test_a_plain_request_is_told_to_upgrade(two_routes, path):
    plain = http.client.HTTPConnection("127.0.0.1", two_routes.port, timeout=10)
    plain.request("GET", path)
    answer = plain.getresponse()
    assert answer.status == 426
    assert answer.getheader("Upgrade") == "websocket"
    assert b"WebSocket" in answer.read()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE"])
def test_another_method_is_405(two_routes, method):
    with socket.create_connection(("127.0.0.1", two_routes.port), 10) as plain:
        plain.sendall(f"{method} /one HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = plain.recv(1000)
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: GET, HEAD" in head


@pytest.mark.parametrize(
    ("path", "origin", "accepted"),
    [
        ("/one", "https://example.com", True),
        ("/one", "http://localhost:3000", True),
        ("/one", "HTTPS://EXAMPLE.COM", True),
        ("/one", "http://example.com", False),
        ("/one", "https://example.com.evil", False),
        ("/one", "https://evil/https://example.com", False),
        ("/one", "null", False),
        # By default the host that was asked for.
        ("/two", "http://127.0.0.1:{port}", True),
        ("/two", "https://127.0.0.1:{port}", True),
        ("/two", "http://127.0.0.1", False),
        ("/two", "http://127.0.0.1:1", False),
        ("/two", "http://evil:{port}", False),
        ("/two", "http://127.0.0.1:{port}@evil", False),
        ("/two", "null", False),
        ("/two", "", False),
    ],
)
def test_only_pages_of_allowed_sites_may_connect(two_routes, path, origin, accepted):
    headers = {"Origin": origin.replace("{port}", str(two_routes.port))}
    if accepted:
        assert answered(two_routes, path, additional_headers=headers)
    else:
        with pytest.raises(InvalidStatus) as refused:
            answered(two_routes, path, additional_headers=headers)
        assert refused.value.response.status_code == 403


def test_the_first_known_subprotocol_is_taken(two_routes):
    eventually(lambda: not open_connections(two_routes), 5)
    with two_routes.connect("/two", subprotocols=["other", "chat.v2", "chat.v1"]) as client:
        assert client.subprotocol == "chat.v2"
        client.send("x")
        assert json.loads(client.recv(timeout=10))["server"]["WSGATE_SUBPROTOCOL"] == "chat.v2"
    with two_routes.connect("/two", subprotocols=["other"]) as client:
        assert client.subprotocol is None
        client.send("x")
        assert "WSGATE_SUBPROTOCOL" not in json.loads(client.recv(timeout=10))["server"]


def test_the_last_connection_is_taken_and_one_more_is_503(two_routes):
    eventually(lambda: not open_connections(two_routes), 5)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(two_routes.connect("/two")) for _ in range(3)]
        with pytest.raises(InvalidStatus) as refused:
            two_routes.connect("/two")
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"]
        clients[0].send("still served")
        assert clients[0].recv(timeout=10)
        clients[2].close()
        eventually(lambda: len(open_connections(two_routes)) == 2, 5)
        with two_routes.connect("/two") as again:
            again.send("x")
            assert again.recv(timeout=10)


def test_half_open_connections_do_not_keep_others_out(two_routes):
    eventually(lambda: not open_connections(two_routes), 5)
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(socket.create_connection(("127.0.0.1", two_routes.port), 10))
        # Documented as connections from one address; whichever way they count, nothing breaks.
        with contextlib.suppress(InvalidStatus):
            two_routes.ask("x", "/two")
    assert answered(two_routes, "/two")


def test_a_unix_port_serves_and_leaves_no_socket_behind():
    with gateway(
        port="unix:{folder}/ws.sock:mode=600",
        scripts={"name.php": script("unix")},
        script="name.php",
        ready=lambda running: (running.place.folder / "ws.sock").exists(),
    ) as running:
        path = running.place.folder / "ws.sock"
        assert path.stat().st_mode & 0o777 == 0o600
        with RawClient(0, unix=str(path)) as client:
            client.send_message(b"x")
            got = json.loads(client.receive_message())
        assert got["name"] == "unix"
        assert got["server"]["REMOTE_ADDR"] == "unix:"
        running.stop()
        assert not path.exists()


def test_a_unix_port_of_a_killed_wsgate_is_taken_over():
    def up(running):
        return (running.place.folder / "ws.sock").exists()

    with gateway(port="unix:{folder}/ws.sock", ready=up) as running:
        path = running.place.folder / "ws.sock"
        running.process.kill()
        running.process.wait(5)
        with (
            gateway(port=f"unix:{path}", ready=lambda _: accepts(path)),
            RawClient(0, unix=str(path)) as client,
        ):
            client.send_message(b"x")
            assert client.receive_message() == b"x"


def accepts(path):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def test_several_ports_and_an_external_fpm():
    with php_fpm(scripts={"name.php": script("fpm")}) as fpm:
        second = free_port()
        with gateway(
            f"--fastcgi={fpm.endpoint}",
            f"--script={fpm.script_path('name.php')}",
            f"--port=tcp:{second}:interface=127.0.0.1",
            "--path=/chat",
            script=None,
        ) as running:
            assert json.loads(running.ask("x", "/chat"))["name"] == "fpm"
            with RawClient(second, "/chat") as client:
                client.send_message(b"x")
                got = json.loads(client.receive_message())
                assert got["server"]["SERVER_PORT"] == str(second)
            assert not running.php_pids(), "no PHP of our own"


def test_a_message_before_php_is_there_waits_for_it():
    with gateway() as running:
        # The port accepts before PHP answers, so this one waits in the queue.
        assert running.ask("early") == "early"


# -- limits and close codes that clients see


LIMITS = (
    "--set=limits.max_message_size=1000",
    "--set=limits.max_fragments=10",
    "--set=limits.ping_interval=200ms",
    "--set=limits.pong_timeout=300ms",
    "--set=limits.handshake_timeout=500ms",
    "--set=limits.close_timeout=500ms",
)


@pytest.fixture(scope="module")
def limited():
    """A wsgate with small limits and short times."""
    with gateway(*LIMITS) as running:
        running.ask_php()
        yield running


def closed_by(running, data, code):
    """Send `data`; the connection must be closed with `code`, and then ended."""
    with RawClient(running.port) as client:
        client.socket.sendall(data(client))
        frame = client.receive_frame()
        while frame.opcode in (1, 2, 9):
            frame = client.receive_frame()
        assert frame.opcode == 8
        assert int.from_bytes(frame.payload[:2], "big") == code
        # The server need not wait for it where the client had sent its own close before.
        with contextlib.suppress(ConnectionError):
            client.socket.sendall(client.frame(8, frame.payload[:2]))
        assert client.is_ended()


CLOSES = {
    "message too long": (lambda c: c.frame(2, bytes(1001)), 1009),
    "fragments too long together": (
        lambda c: c.frame(2, bytes(600), fin=False) + c.frame(0, bytes(401)),
        1009,
    ),
    "a length of 2**62": (lambda c: b"\x82\xff" + (2**62).to_bytes(8, "big") + b"mask", 1009),
    "too many fragments": (
        lambda c: c.frame(2, b"", fin=False) + c.frame(0, b"", fin=False) * 10,
        1008,
    ),
    "not UTF-8": (lambda c: c.frame(1, b"\xff"), 1007),
    "a frame without a mask": (lambda c: b"\x81\x01x", 1002),
    "a reserved bit": (lambda c: b"\xc1" + c.frame(1, b"x")[1:], 1002),
    "a reserved opcode": (lambda c: c.frame(3, b"x"), 1002),
    "a continuation of nothing": (lambda c: c.frame(0, b"x"), 1002),
    "a new message in a message": (
        lambda c: c.frame(1, b"x", fin=False) + c.frame(1, b"y"),
        1002,
    ),
    "a ping in fragments": (lambda c: c.frame(9, b"x", fin=False), 1002),
    "a ping too long": (lambda c: c.frame(9, bytes(126)), 1002),
    "the client's own code": (lambda c: c.frame(8, b"\x0f\xa0bye"), 4000),
    "the client's 1000": (lambda c: c.frame(8, b"\x03\xe8"), 1000),
    "a close code that may not be sent": (lambda c: c.frame(8, b"\x03\xed"), 1002),
}


@pytest.mark.parametrize("case", CLOSES)
def test_a_violation_is_closed_with_its_code(limited, case):
    data, code = CLOSES[case]
    closed_by(limited, data, code)


def test_what_is_at_the_limit_is_answered(limited):
    with RawClient(limited.port) as client:
        client.send_message(bytes(1000), False)
        assert client.receive_message() == bytes(1000)
        client.send_message(bytes(range(10)), False, fragment_size=1)
        assert client.receive_message() == bytes(range(10))


def test_a_message_before_the_violation_is_answered(limited):
    with RawClient(limited.port) as client:
        client.socket.sendall(client.frame(1, b"good") + client.frame(1, b"\xff"))
        assert client.receive_message() == b"good"
        frame = client.receive_frame()
        assert (frame.opcode, frame.payload[:2]) == (8, b"\x03\xef")


def test_a_client_that_answers_no_ping_is_dropped(limited):
    with RawClient(limited.port) as client:
        assert client.receive_frame().opcode == 9
        assert client.is_ended()
    eventually(lambda: "no pong within" in limited.log(), 2)


def test_a_client_that_answers_pings_stays(limited):
    with RawClient(limited.port) as client:
        for _ in range(5):
            ping = client.receive_frame()
            assert ping.opcode == 9
            client.socket.sendall(client.frame(10, ping.payload))
        client.send_message(b"alive")
        assert client.receive_message() == b"alive"


def test_a_client_that_never_finishes_its_request_is_told_408(limited):
    with socket.create_connection(("127.0.0.1", limited.port), 10) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_answer_a_close_is_dropped(limited):
    with RawClient(limited.port) as client:
        client.socket.sendall(client.frame(3, b"x"))
        while client.receive_frame().opcode != 8:
            pass
        assert client.is_ended()


def test_the_gateway_goes_on_after_all_that(limited):
    assert limited.ask("goes on") == "goes on"
    assert "Traceback" not in limited.log() + limited.errors()
    assert "Unhandled" not in limited.log()


def test_a_client_that_reads_nothing_does_not_fill_the_memory():
    options = ["--set=limits.send_timeout=1s", "--set=limits.max_answer_size=16MiB"]
    big = "<?php echo str_repeat('x', 4 << 20);"
    with gateway(*options, script="big.php", scripts={"big.php": big}) as running:
        assert len(running.ask("x")) == 4 << 20
        before = running.memory()
        clients = [RawClient(running.port) for _ in range(4)]
        for client in clients:
            client.socket.sendall(client.frame(1, b"x") * 1000)
        eventually(lambda: running.log().count("took no data") == 4, 20, "they are dropped")
        assert running.memory() - before < 4 * 3 * (4 << 20)
        for client in clients:
            client.socket.close()
        assert len(running.ask("x")) == 4 << 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_php_of_a_root_wsgate_is_no_root():
    whoami = "<?php echo posix_geteuid(), ' ', posix_getegid();"
    with gateway(script="who.php", scripts={"who.php": whoami}) as running:
        uid, gid = running.ask("x").split()
        assert (uid, gid) != ("0", "0")
        assert uid != "0"
        assert gid != "0"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs util-linux")
def test_a_wsgate_without_privileges_serves():
    identity = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    probe = "import os, sys; sys.exit(not os.access(sys.executable, os.X_OK))"
    if subprocess.run([*identity, sys.executable, "-c", probe], check=False).returncode:
        pytest.skip("this Python is in a folder that others may not read")
    command = [*identity, sys.executable, twistd(), "-n", "--pidfile=", "wsgate"]
    with gateway(command=command) as running:
        assert running.ask("as nobody") == "as nobody"


def test_a_stop_closes_idle_connections_with_1001():
    with gateway() as running, running.connect() as client:
        client.send("x")
        assert client.recv(timeout=20) == "x"
        running.process.terminate()
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd.code == 1001
        running.process.wait(10)
        assert not running.accepts()
