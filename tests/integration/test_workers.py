"""`--workers N` with real processes, real PHP and real clients."""

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.crowds import LIFTED
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
from tests.integration.websocket_client import connect

PARENT = """<?php
// The master of the pool that answers: one for each worker of wsgate.
echo posix_getppid() . ' ' . file_get_contents('php://input');
"""
SLOW = """<?php
$said = file_get_contents('php://input');
touch('{scripts}/begun');
usleep(1000 * (int) $said);
echo "slept $said";
"""
TALLY = re.compile(
    r"(worker \d+: )?stopped; messages: "
    r"(\d+) received, (\d+) answered, (\d+) refused, (\d+) gone"
)


def worker_pids(running):
    """The workers' processes, by number; the newest where one is being replaced."""
    found = {}
    for pid, (parent, command) in sorted(process_table().items()):
        match = re.search(r"-m wsgate\.worker (\d+)", command)
        if parent == running.pid and match:
            found[int(match[1])] = pid
    return found


def ready(count):
    """Whether `count` workers have said that they accept connections."""
    return lambda running: running.log().count(") is ready") >= count


@contextlib.contextmanager
def two_workers(*options, **words):
    with gateway(
        "--workers=2", *LIFTED, *options, **{"workers": 4, "ready": ready(2)} | words
    ) as running:
        yield running


def ask(client, message):
    client.send(message)
    return client.recv(timeout=20)


def clients_of_both(running, stack):
    """Open connections until each worker has one: {php-fpm's master: client}."""
    found = {}
    for _ in range(200):
        client = stack.enter_context(running.connect())
        found[ask(client, "").split()[0]] = client
        if len(found) == 2:
            return found
    raise AssertionError("all connections went to one worker")


def sums(log):
    """The tallies logged at the end: of the workers, and of all together."""
    found = [(bool(m[1]), tuple(map(int, m.groups()[1:]))) for m in TALLY.finditer(log)]
    return [t for of_worker, t in found if of_worker], [t for of_one, t in found if not of_one]


def assert_adds_up(log):
    workers, (total,) = sums(log)
    assert tuple(map(sum, zip(*workers, strict=True))) == total
    received, answered, refused, gone = total
    assert received == answered + refused + gone
    return total


def test_both_workers_answer_each_with_a_private_pool_and_the_sum_is_logged():
    with two_workers(script="parent.php", scripts={"parent.php": PARENT}) as running:
        workers = worker_pids(running)
        with contextlib.ExitStack() as stack:
            found = clients_of_both(running, stack)
            for client in found.values():
                assert ask(client, "hello").endswith(" hello")
            # Its guardian stands between a worker and php-fpm.
            table = process_table()
            above = {table[table[int(master)][0]][0] for master in found}
            assert above == set(workers.values())
            masters = [int(master) for master in found]
        below = running.php_pids()
        running.stop()
        assert not living([*below, *masters])
        received, answered, _, _ = assert_adds_up(running.log())
        assert received == answered >= 4
        assert "Traceback" not in running.log()


def test_connections_are_divided_equally():
    with (
        two_workers(script="parent.php", scripts={"parent.php": PARENT}) as running,
        contextlib.ExitStack() as stack,
    ):
        clients = [stack.enter_context(running.connect()) for _ in range(40)]
        masters = Counter(ask(client, "").split()[0] for client in clients)
        assert len(masters) == 2
        # Exactly half, but for moments in which one of them was kept from the processor.
        assert min(masters.values()) >= 15


def test_nothing_secret_or_long_is_in_the_list_of_processes():
    with two_workers("--set=pools.default.ini.memory_limit=77M") as running:
        for number, pid in worker_pids(running).items():
            command = process_table()[pid][1].strip()
            assert re.fullmatch(rf"\S+/python[\d.]* -P -m wsgate\.worker {number}", command)
            with open(f"/proc/{pid}/environ", "rb") as environment:
                assert b"77M" not in environment.read()


def test_a_killed_worker_is_back_within_two_seconds_and_the_others_go_on():
    began = time.monotonic()
    with (
        two_workers(script="parent.php", scripts={"parent.php": PARENT}) as running,
        contextlib.ExitStack() as stack,
    ):
        # A machine that needed longer for the first start needs it again.
        patience = max(2.0, time.monotonic() - began)
        found = clients_of_both(running, stack)
        table = process_table()
        victim_master, survivor_master = found
        victim = table[table[int(victim_master)][0]][0]
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            found[victim_master].recv(timeout=5)
        assert ask(found[survivor_master], "still here") == f"{survivor_master} still here"
        lost = time.monotonic()
        eventually(lambda: set(worker_pids(running).values()) - set(table), 2, "it is started")
        eventually(lambda: ready(3)(running), lost + patience - time.monotonic(), "it is back")
        (number,) = (n for n, pid in worker_pids(running).items() if pid not in table)
        assert re.search(
            rf"worker {number} \(pid {victim}\) ended after [\d.]+ s: "
            r"killed by signal 9 \(Killed\); next start in 0\.1 s",
            running.log(),
        )
        # The PHP of a killed worker goes with it.
        eventually(lambda: not living([int(victim_master)]), 10, "its PHP is gone")
        assert ask(found[survivor_master], "x")
        running.stop()
        assert len(sums(running.log())[1]) == 1


class Crowd:
    """Threads that connect, ask and count, until they are told to stop."""

    def __init__(self, running, threads=3):
        self.refused = []
        self.wrong = []
        self.answered = 0
        self.closed = []
        self.shutting_down = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._running = running
        self._threads = [threading.Thread(target=self._connect) for _ in range(threads)]
        self._threads += [threading.Thread(target=self._stay) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def end(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _connect(self):
        """Connect again and again, one message each."""
        while not self._stop.is_set():
            self._session(1)

    def _stay(self):
        """Connect and ask for as long as it goes."""
        while not self._stop.is_set():
            self._session(10**9)

    def _session(self, messages):
        try:
            client = self._running.connect()
        except OSError as error:
            self.refused.append(error)
            return
        except Exception as error:
            # Accepted, and the worker ended during the handshake.
            self.wrong.append(error)
            return
        try:
            with client:
                while messages and not self._stop.is_set():
                    messages -= 1
                    self._take(ask(client, f"message {messages}"), f"message {messages}")
        except ConnectionClosed as closed:
            self.closed.append(closed.rcvd.code if closed.rcvd else None)

    def _take(self, got, wanted):
        with self._lock:
            if got == wanted:
                self.answered += 1
            elif '"status":503' in got:
                self.shutting_down += 1
            else:
                self.wrong.append(got)


def test_sighup_restarts_one_by_one_and_no_client_is_refused():
    with two_workers() as running:
        before = worker_pids(running)
        crowd = Crowd(running)
        eventually(lambda: crowd.answered > 100, 20, "messages are answered")
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "restarted 2 workers" in running.log(), 30, "the restart is done")
        count = crowd.answered
        eventually(lambda: crowd.answered > count + 100, 20, "messages are answered after it")
        crowd.end()
        assert not set(before.values()) & set(worker_pids(running).values())
        assert crowd.refused == []
        assert crowd.wrong == []
        assert set(crowd.closed) <= {1012}
        log = running.log()
        ends = [log.index(f"worker {n} (pid {before[n]}) has been replaced") for n in (1, 2)]
        assert ends == sorted(ends)
        running.stop()
        received, answered, refused, _ = assert_adds_up(running.log())
        assert answered >= crowd.answered
        assert refused >= crowd.shutting_down
        assert received >= crowd.answered + crowd.shutting_down


def test_sighup_lets_a_request_in_flight_finish():
    with two_workers(script="slow.php", scripts={"slow.php": SLOW}) as running:
        with running.connect() as client:
            client.send("1500")
            begun = running.place.scripts / "begun"
            eventually(begun.exists, 10, "PHP works")
            running.process.send_signal(signal.SIGHUP)
            assert client.recv(timeout=20) == "slept 1500"
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=30)
            assert closed.value.rcvd.code == 1012
        eventually(lambda: "restarted 2 workers" in running.log(), 30, "the restart is done")
        assert running.ask("1") == "slept 1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_drains_all_workers_and_says_the_sum(number):
    with two_workers(script="slow.php", scripts={"slow.php": SLOW}) as running:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(running.connect()) for _ in range(4)]
            for client in clients:
                client.send("1000")
            eventually((running.place.scripts / "begun").exists, 10, "PHP works")
            below = running.php_pids()
            # systemd and a terminal signal every process.
            for pid in worker_pids(running).values():
                os.kill(pid, number)
            running.process.send_signal(number)
            for client in clients:
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        assert client.recv(timeout=20)
                assert client.protocol.close_code == 1001
        status = running.process.wait(30)
        assert status == 0
        assert not living(below)
        assert_adds_up(running.log())
        assert "Traceback" not in running.log()
        assert "Server Shut Down" in running.log()


def test_workers_end_when_their_parent_is_killed():
    with two_workers() as running:
        with contextlib.ExitStack() as stack:
            for _ in range(6):
                ask(stack.enter_context(running.connect()), "x")
            below = running.php_pids()
            assert len(below) > 4
            running.process.kill()
            running.process.wait(5)
            eventually(lambda: not living(below), 5, "all are gone")
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", running.port)) != 0


def test_workers_end_soon_even_if_php_does_not_when_their_parent_is_killed():
    with (
        two_workers(script="slow.php", scripts={"slow.php": SLOW}) as running,
        running.connect() as client,
    ):
        client.send("60000")
        eventually((running.place.scripts / "begun").exists, 10, "PHP works")
        below = running.php_pids()
        running.process.kill()
        running.process.wait(5)
        eventually(lambda: not living(below), 8, "all are gone")


# -- ports


def test_tls_ports_show_one_certificate_in_all_workers():
    with two_workers(
        "--self-signed",
        port="tls:{port}:interface=127.0.0.1",
        script="parent.php",
        scripts={"parent.php": PARENT},
    ) as running:
        pem = ssl.get_server_certificate(("127.0.0.1", running.port))
        context = ssl.create_default_context(cadata=pem)
        masters = set()
        for _ in range(100):
            with connect(f"wss://localhost:{running.port}/", ssl=context) as client:
                masters.add(ask(client, "over TLS").split()[0])
            if len(masters) == 2:
                break
        assert len(masters) == 2
        assert "BEGIN" not in running.log()


def make_certificate(folder):
    """One file with a certificate for localhost and its key."""
    both = folder / "localhost.pem"
    key, certificate = folder / "key", folder / "certificate"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return both


@pytest.mark.parametrize(
    "port",
    [
        "ssl:{port}:interface=127.0.0.1:privateKey=localhost.pem",
        "tls:certificates:port={port}:interface=\\:\\:1",
    ],
)
def test_twisteds_own_tls_ports_are_shared(port, tmp_path):
    folder = tmp_path / "certificates"
    folder.mkdir()
    both = make_certificate(folder)
    port = port.replace("privateKey=", f"privateKey={folder}/").replace(
        "tls:certificates", f"tls:{folder}"
    )
    host = "::1" if port.startswith("tls") else "127.0.0.1"
    with two_workers(port=port) as running:
        context = ssl.create_default_context(cafile=str(both))
        for _ in range(4):
            with (
                socket.create_connection((host, running.port), 10) as plain,
                connect(f"wss://localhost:{running.port}/", sock=plain, ssl=context) as client,
            ):
                assert ask(client, "over TLS") == "over TLS"


def test_a_renewed_certificate_is_shown_after_sighup(tmp_path):
    both = make_certificate(tmp_path)
    with two_workers(
        f"--certificate={both}", f"--private-key={both}", port="tls:{port}:interface=127.0.0.1"
    ) as running:
        old = ssl.get_server_certificate(("127.0.0.1", running.port))
        make_certificate(tmp_path)
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "restarted 2 workers" in running.log(), 30, "the restart is done")
        assert ssl.get_server_certificate(("127.0.0.1", running.port)) != old
        both.write_text("nonsense")
        running.process.send_signal(signal.SIGHUP)
        eventually(
            lambda: running.log().count("restarted 2 workers") == 2, 30, "the restart is done"
        )
        assert "the certificate it had before stays" in running.log()
        assert ssl.get_server_certificate(("127.0.0.1", running.port)) != old


def test_a_unix_port_keeps_its_mode_through_restarts_and_is_removed_at_the_end():
    with two_workers(port="unix:{folder}/ws.sock:mode=600") as running:
        path = running.place.folder / "ws.sock"

        def answers():
            with RawClient(0, unix=str(path)) as client:
                client.send_message(b"x")
                assert client.receive_message() == b"x"

        answers()
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "restarted 2 workers" in running.log(), 30, "the restart is done")
        assert path.stat().st_mode & 0o777 == 0o600
        answers()
        running.stop()
        assert not path.exists()


def test_a_haproxy_port_tells_the_client_s_address():
    script = "<?php echo $_SERVER['REMOTE_ADDR'];"
    with two_workers(
        port="haproxy:tcp:{port}:interface=127.0.0.1", script="a.php", scripts={"a.php": script}
    ) as running:
        for _ in range(4):
            plain = socket.create_connection(("127.0.0.1", running.port), 10)
            plain.sendall(b"PROXY TCP4 192.0.2.7 127.0.0.1 5555 80\r\n")
            with connect(running.url, sock=plain) as client:
                assert ask(client, "x") == "192.0.2.7"


# What systemd does: LISTEN_PID is the process itself, and the first socket is number 3.
AS_SYSTEMD = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", {port}), backlog=100)
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="ws.socket")
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("prefix", ["", "haproxy:"])
def test_a_socket_of_systemd_is_shared(prefix):
    with two_workers(
        port=f"{prefix}systemd:domain=INET:index=0",
        command=[sys.executable, "-c", AS_SYSTEMD, twistd(), "-n", "--pidfile=", "wsgate"],
        script="a.php",
        scripts={"a.php": "<?php echo $_SERVER['REMOTE_ADDR'];"},
    ) as running:
        for _ in range(4):
            plain = socket.create_connection(("127.0.0.1", running.port), 10)
            if prefix:
                plain.sendall(b"PROXY TCP4 192.0.2.7 127.0.0.1 5555 80\r\n")
            with connect(running.url, sock=plain) as client:
                assert ask(client, "x") == ("192.0.2.7" if prefix else "127.0.0.1")


def test_several_ports_are_shared():
    other = free_port()
    with two_workers(f"--port=tcp:{other}:interface=127.0.0.1") as running:
        for port in (running.port, other):
            for _ in range(4):
                with connect(f"ws://127.0.0.1:{port}/") as client:
                    assert ask(client, str(port)) == str(port)


def test_a_port_that_is_taken_is_one_line_and_leaves_no_process():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        command = [twistd(), "-n", "--pidfile=", "wsgate", "--demo", "--workers=2"]
        ended = subprocess.run(
            [*command, f"--port={port}"], capture_output=True, text=True, timeout=20, check=False
        )
    line = f"wsgate: --port {port}: cannot listen there: Address already in use\n"
    assert (ended.returncode, ended.stderr) == (1, line)
    assert "worker" not in ended.stdout


# -- ways to start


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "wsgate"],
        [twistd(), "-n", "--reactor=poll", "--pidfile=", "wsgate"],
        [twistd(), "-n", "--reactor=asyncio", "--pidfile=", "wsgate"],
    ],
    ids=["python -m", "poll", "asyncio"],
)
def test_other_ways_to_start_have_workers_too(command):
    with two_workers(command=command) as running:
        assert running.ask("grün") == "grün"
        below = running.php_pids()
        assert len(worker_pids(running)) == 2
        running.stop()
        assert not living(below)
        assert_adds_up(running.log())


TAC = """
from twisted.application.service import Application
from wsgate.service import Options, makeService

options = Options()
options.parseOptions(["--demo", "--workers", "2", "--port", "tcp:{port}:interface=127.0.0.1"])
application = Application("wsgate")
makeService(options).setServiceParent(application)
"""


def test_a_tac_file_has_workers():
    with gateway(
        script=None,
        port=None,
        workers=None,
        scripts={"w.tac": TAC},
        command=[twistd(), "-n", "--pidfile=", "-y", "{scripts}/w.tac"],
        ready=ready(2),
    ) as running:
        for _ in range(4):
            assert running.ask("through a tac file", "/echo") == "through a tac file"
        below = running.php_pids()
        running.stop()
        assert not living(below)


def test_a_daemon_reloads_and_ends_by_its_pid_file(tmp_path):
    port = free_port()
    pidfile, logfile = tmp_path / "wsgate.pid", tmp_path / "wsgate.log"
    command = [twistd(), f"--pidfile={pidfile}", f"--logfile={logfile}", f"--rundir={tmp_path}"]
    command += ["wsgate", "--demo", "--workers=2", f"--port=tcp:{port}:interface=127.0.0.1"]
    subprocess.run(command, check=True, timeout=20, stdin=subprocess.DEVNULL)
    pid = int(pidfile.read_text())
    try:
        with RawClient(port, "/echo") as client:
            client.send_message(b"to a daemon")
            assert client.receive_message() == b"to a daemon"
        eventually(lambda: logfile.read_text().count(") is ready") == 2, 20, "both are ready")
        os.kill(pid, signal.SIGHUP)
        eventually(lambda: "restarted 2 workers" in logfile.read_text(), 30, "the restart is done")
        with RawClient(port, "/echo") as client:
            client.send_message(b"again")
            assert client.receive_message() == b"again"
    finally:
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not living([pid]), 30, "the daemon ends")
    assert not pidfile.exists()
    assert "Traceback" not in logfile.read_text()
    assert_adds_up(logfile.read_text())


def test_workers_share_a_php_fpm_that_is_not_theirs():
    with php_fpm(workers=2) as fpm:
        script = fpm.write_script("echo.php", "<?php echo file_get_contents('php://input');")
        with two_workers(
            f"--fastcgi={fpm.endpoint}",
            f"--script={script}",
            "--set=pools.default.max_in_flight=2",
            script=None,
            workers=None,
        ) as running:
            for number in range(8):
                assert running.ask(f"{number}") == f"{number}"
            running.stop()
            assert assert_adds_up(running.log())[:2] == (8, 8)


def others_may_run_python():
    """Whether we are root, and another user may run the Python of the tests."""
    with contextlib.suppress(OSError):
        return not subprocess.run([sys.executable, "-c", ""], user=65534, check=False).returncode
    return False


@pytest.mark.skipif(
    not others_may_run_python(), reason="needs root, and a Python that other users may run"
)
def test_workers_of_another_user_show_a_certificate_that_only_root_can_read(tmp_path):
    both = make_certificate(tmp_path)
    both.chmod(0o600)
    with two_workers(
        f"--certificate={both}",
        f"--private-key={both}",
        port="tls:{port}:interface=127.0.0.1",
        command=[twistd(), "-n", "--pidfile=", "--uid=65534", "--gid=65534", "wsgate"],
    ) as running:
        for pid in worker_pids(running).values():
            assert os.stat(f"/proc/{pid}").st_uid == 65534
        context = ssl.create_default_context(cafile=str(both))
        with connect(f"wss://localhost:{running.port}/", ssl=context) as client:
            assert ask(client, "over TLS") == "over TLS"
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "restarted 2 workers" in running.log(), 30, "the restart is done")
        assert "cannot read it any more" in running.log()
        with connect(f"wss://localhost:{running.port}/", ssl=context) as client:
            assert ask(client, "over TLS") == "over TLS"
