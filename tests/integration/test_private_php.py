"""The private PHP with real php-fpm, real php-cgi, real signals and real process tables."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import pytest

from wsgate.php import PHPNotFound, find_php, readable_by, user_name

ROOT = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0


def eventually(condition, seconds=5.0, every=0.02):
    """The first true value of `condition()`; fails when there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(every)


# --- processes ---------------------------------------------------------------


def process_table():
    """Each process that is no zombie: {pid: (parent, process group, session)}."""
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    table[int(entry.name)] = tuple(map(int, fields[1:4]))
    return table


def children(pid):
    return [child for child, (parent, _, _) in process_table().items() if parent == pid]


def group(pgid):
    return [pid for pid, (_, group, _) in process_table().items() if group == pgid]


# --- a raw FastCGI request ---------------------------------------------------


def record(kind, content=b"", request_id=1):
    return struct.pack(">BBHHBx", 1, kind, request_id, len(content), 0) + content


def pair(name, value):
    sizes = b"".join(struct.pack(">I", len(part) | 1 << 31) for part in (name, value))
    return sizes + name + value


def received(connection, size):
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        assert piece, f"end of stream after {data!r}"
        data += piece
    return data


def begin(path, script):
    """Send a request for `script`; the connection."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(path)
    params = pair(b"SCRIPT_FILENAME", os.fsencode(script)) + pair(b"REQUEST_METHOD", b"GET")
    connection.sendall(record(1, b"\0\1\0\0\0\0\0\0") + record(4, params) + record(4) + record(5))
    return connection


def finish(connection):
    """Read up to END_REQUEST; (STDOUT, STDERR)."""
    streams = {6: b"", 7: b""}
    with connection:
        while True:
            _, kind, _, size, padding = struct.unpack(">BBHHBx", received(connection, 8))
            content = received(connection, size + padding)[:size]
            if kind == 3:
                return streams[6], streams[7]
            streams[kind] += content


# --- the program under test --------------------------------------------------


# Debian's php.ini buffers output, so flush() alone would not show that the script runs.
BEGUN = "<?php echo 1; while (ob_get_level()) ob_end_flush(); flush(); "


def python_path(paths):
    return {"PYTHONPATH": os.pathsep.join(map(str, paths))} if paths else {}


class Running:
    """A running tests.php.run_private_php."""

    def __init__(self, told, python=sys.executable, paths=(), as_user=None, env=None, **keys):
        self.told = told
        identity = {}
        if as_user is not None:
            account = pwd.getpwnam(as_user)
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        with open(told, "wb") as output:
            self.process = subprocess.Popen(
                [python, "-m", "tests.php.run_private_php", json.dumps(keys)],
                cwd=ROOT,
                env={**os.environ, **(env or {}), **python_path(paths)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **identity,
            )

    def events(self, kind):
        lines = self.told.read_bytes().decode().splitlines(keepends=True)
        assert all(line.startswith("{") for line in lines), "".join(lines)
        told = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in told if event["event"] == kind]

    def log(self, level):
        return [event["text"] for event in self.events("log") if event["level"] == level]

    def wait_ready(self, times=1, seconds=5.0):
        eventually(lambda: len(self.events("ready")) >= times, seconds)
        return self

    @property
    def socket(self):
        return eventually(lambda: self.events("started"))[0]["socket"]

    @property
    def folder(self):
        return Path(self.socket).parent

    @property
    def guardian(self):
        return eventually(lambda: children(self.process.pid))[0]

    @property
    def master(self):
        return eventually(lambda: children(self.guardian))[0]

    def workers(self, count=2):
        master = self.master
        return eventually(lambda: len(found := children(master)) == count and found)

    def run(self, script):
        return finish(begin(self.socket, script))

    def stop(self):
        self.process.terminate()
        assert self.process.wait(10) == 0, self.told.read_text()


@pytest.fixture(params=["php-fpm", "php-cgi"])
def program(request):
    try:
        found = find_php() if request.param == "php-fpm" else find_php("php-cgi")
    except PHPNotFound as error:
        pytest.skip(str(error))
    if found.kind != request.param:
        pytest.skip(f"no {request.param} on this machine")
    return found.path


@pytest.fixture
def fpm():
    found = find_php()
    if found.kind != "php-fpm":
        pytest.skip("no php-fpm on this machine")
    return found.path


@pytest.fixture
def start(tmp_path):
    """Starts programs, and ends what is left of them after the test."""
    started = []

    def start_one(program, **keys):
        one = Running(tmp_path / f"told-{len(started)}", program=program, **keys)
        started.append(one)
        return one

    yield start_one
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
    for one in started:
        for event in one.events("started"):
            eventually(lambda folder=Path(event["socket"]).parent: not users_of(folder))
            shutil.rmtree(Path(event["socket"]).parent, ignore_errors=True)


def users_of(folder):
    """The guardian of `folder`, if it lives."""
    found = []
    for pid in process_table():
        with contextlib.suppress(OSError):
            if f"folder={folder}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


@pytest.fixture
def scripts():
    """A folder whose files any user can read: PHP may run as another one."""
    folder = Path(tempfile.mkdtemp(prefix="scripts-"))
    folder.chmod(0o755)

    def write(text, name="script.php"):
        path = folder / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    yield write
    shutil.rmtree(folder)


# --- start and stop ----------------------------------------------------------


def test_a_stop_leaves_no_process_and_no_folder(program, start, scripts):
    php = start(program).wait_ready()
    stdout, _ = php.run(scripts("<?php echo 6 * 7;"))
    assert stdout.endswith(b"\r\n\r\n42")
    guardian, master, folder = php.guardian, php.master, php.folder
    php.stop()
    assert php.events("stopped")
    assert not group(master)
    assert guardian not in process_table()
    assert not folder.exists()
    assert not php.events("gone")
    assert not php.log("error")


def test_nobody_else_reaches_the_socket(program, start):
    php = start(program).wait_ready()
    assert stat.S_IMODE(php.folder.stat().st_mode) == 0o700
    assert php.folder.stat().st_uid == os.geteuid()
    for file in php.folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        assert file.stat().st_uid == os.geteuid()


def test_a_script_that_runs_at_the_stop_comes_to_its_end(program, start, scripts):
    php = start(program).wait_ready()
    connection = begin(php.socket, scripts(BEGUN + "usleep(400000); echo 2;"))
    connection.recv(1, socket.MSG_PEEK)
    php.stop()
    assert finish(connection)[0].endswith(b"12")


def test_a_script_that_does_not_end_is_ended(program, start, scripts):
    php = start(program).wait_ready()
    master = php.master
    connection = begin(php.socket, scripts(BEGUN + "while (true) sleep(60);"))
    connection.recv(1, socket.MSG_PEEK)
    began = time.monotonic()
    php.stop()
    assert time.monotonic() - began < 3
    assert not group(master)


def test_a_control_c_at_the_terminal_leaves_php_alone(program, start, scripts):
    php = start(program).wait_ready()
    before = {php.guardian, php.master, *php.workers()}
    os.killpg(php.process.pid, signal.SIGINT)
    assert php.run(scripts("<?php echo 1;"))[0].endswith(b"1")
    assert {php.guardian, php.master, *php.workers()} == before


def test_two_pools_live_side_by_side(program, start):
    one, two = start(program).wait_ready(), start(program).wait_ready()
    assert one.folder != two.folder
    one.stop()
    assert two.folder.exists()
    assert two.process.poll() is None


# --- deaths ------------------------------------------------------------------


def test_a_killed_worker_is_replaced_and_nobody_is_told(program, start, scripts):
    php = start(program).wait_ready()
    master, before = php.master, php.workers()
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: before[0] not in children(master) and len(children(master)) == 2)
    assert php.run(scripts("<?php echo 1;"))[0].endswith(b"1")
    assert not php.events("gone")


def test_after_the_masters_death_php_is_back_within_two_seconds(program, start, scripts):
    php = start(program).wait_ready()
    master, before, path = php.master, php.workers(), php.socket
    os.kill(master, signal.SIGKILL)
    php.wait_ready(times=2, seconds=2.0)
    assert len(php.events("gone")) == 1
    assert not set(before) & set(process_table())
    assert php.socket == path
    assert php.run(scripts("<?php echo 1;"))[0].endswith(b"1")
    assert "killed by signal 9" in php.log("error")[0]


def test_after_the_guardians_death_php_is_back_and_the_old_one_gone(program, start, scripts):
    php = start(program).wait_ready()
    master = php.master
    os.kill(php.guardian, signal.SIGKILL)
    php.wait_ready(times=2, seconds=3.0)
    eventually(lambda: not group(master), 1.0)
    assert php.run(scripts("<?php echo 1;"))[0].endswith(b"1")
    php.stop()
    assert not php.folder.exists()


def test_a_busy_php_ends_with_its_guardian_too(program, start, scripts):
    php = start(program).wait_ready()
    master = php.master
    connection = begin(php.socket, scripts(BEGUN + "while (true) sleep(60);"))
    connection.recv(1, socket.MSG_PEEK)
    os.kill(php.guardian, signal.SIGKILL)
    eventually(lambda: not group(master), 2.0)
    php.wait_ready(times=2)


@pytest.mark.parametrize("busy", [False, True])
def test_nothing_outlives_a_killed_wsgate(program, start, scripts, busy):
    php = start(program).wait_ready()
    guardian, master, folder = php.guardian, php.master, php.folder
    if busy:
        endless = scripts(BEGUN + "while (true) sleep(60);")
        begin(php.socket, endless).recv(1, socket.MSG_PEEK)
    php.process.kill()
    php.process.wait()
    eventually(lambda: not group(master) and guardian not in process_table(), 3.0)
    assert not folder.exists()


def test_killing_wsgate_and_its_guardian_leaves_only_a_folder_which_the_next_start_removes(
    program, start
):
    php = start(program).wait_ready()
    guardian, master, folder = php.guardian, php.master, php.folder
    for pid in (php.process.pid, guardian):
        os.kill(pid, signal.SIGKILL)
    php.process.wait()
    eventually(lambda: not group(master), 3.0)
    assert folder.exists()
    start(program).wait_ready()
    assert not folder.exists()


def test_a_terminated_guardian_ends_php_and_wsgate_starts_another(program, start):
    php = start(program).wait_ready()
    master = php.master
    os.kill(php.guardian, signal.SIGTERM)
    php.wait_ready(times=2)
    assert not group(master)


def test_a_php_that_cannot_start_says_why_and_is_tried_again_later_and_later(program, start):
    php = start(
        program,
        ini={"opcache.preload": "/nonexistent/preload.php", "opcache.preload_user": user_name()},
    )
    eventually(lambda: len(php.log("error")) >= 3)
    causes = [text for text in php.log("error") if "next start" in text]
    assert "before it answered" in causes[0]
    assert "exit status" in causes[0]
    assert "/nonexistent/preload.php" in causes[0]
    assert not php.events("ready")
    assert not php.events("gone")
    php.stop()
    assert not php.folder.exists()


# --- a daemon ----------------------------------------------------------------

TAC = """
from pathlib import Path
from twisted.application.service import Application
from twisted.internet import reactor
from wsgate.php import PrivatePHP, find_php

application = Application("wsgate")
php = PrivatePHP(reactor, find_php({program!r}), name="default", workers=1, ini={{}},
                 on_ready=lambda: Path({ready!r}).write_text(php.socket_path),
                 on_gone=lambda: None)
php.setServiceParent(application)
"""


def test_it_works_below_a_twistd_that_became_a_daemon(program, tmp_path):
    tac, ready, pid_file = (tmp_path / name for name in ("t.tac", "ready", "pid"))
    tac.write_text(TAC.format(program=program, ready=str(ready)))
    twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
    options = [f"--pidfile={pid_file}", f"--logfile={tmp_path / 'log'}", "-y", tac]
    subprocess.run([*twistd, *options], cwd=tmp_path, check=True)
    daemon = int(eventually(lambda: pid_file.exists() and pid_file.read_text()))
    folder = Path(eventually(lambda: ready.exists() and ready.read_text())).parent
    (guardian,) = children(daemon)
    (master,) = children(guardian)
    os.kill(daemon, signal.SIGKILL)
    eventually(lambda: not group(master) and guardian not in process_table(), 3.0)
    assert not folder.exists()


# --- what PHP is given -------------------------------------------------------

SETTINGS = """<?php
foreach (%s as $name) $settings[$name] = ini_get($name);
echo json_encode(["settings" => $settings, "environment" => getenv(), "user" => posix_geteuid(),
  "groups" => posix_getgroups(), "umask" => umask(),
  "opcache" => function_exists("opcache_get_status") && opcache_get_status() !== false]);
"""


def facts(php, scripts, *names):
    listed = "[" + ",".join(f"'{name}'" for name in names) + "]"
    stdout, _ = php.run(scripts(SETTINGS % listed))
    return json.loads(stdout.partition(b"\r\n\r\n")[2])


def test_opcache_is_on_and_errors_go_to_the_log_alone(program, start, scripts):
    php = start(program).wait_ready()
    names = ["display_errors", "html_errors", "log_errors", "expose_php", "cgi.fix_pathinfo"]
    known = facts(php, scripts, *names)
    assert known["opcache"] is True
    assert known["settings"] == dict(zip(names, ["0", "0", "1", "0", "0"], strict=True))
    stdout, stderr = php.run(scripts("<?php echo $undefined_here; throw new Exception('secret');"))
    assert b"X-Powered-By" not in stdout
    assert b"secret" not in stdout
    assert b"undefined_here" not in stdout
    assert b"secret" in stderr
    assert b"undefined_here" in stderr


def test_under_php_fpm_no_script_can_show_errors_to_clients(fpm, start, scripts):
    php = start(fpm).wait_ready()
    text = "<?php ini_set('display_errors', '1'); echo ini_get('display_errors'), $undefined_here;"
    assert php.run(scripts(text))[0].endswith(b"\r\n\r\n0")


def test_the_users_settings_win_and_arrive_as_they_are_written(program, start, scripts):
    ini = {
        "display_errors": "1",
        "memory_limit": "77M",
        # Read only when PHP starts: a php_admin_value of the pool would come too late.
        "opcache.memory_consumption": "99",
        "error_reporting": "E_ALL & ~E_NOTICE",
        "user_agent": "a;b \"c\" 'd' $e ${PATH} \\n [x] = 5% é",
        "auto_prepend_file": "",
    }
    known = facts(start(program, ini=ini).wait_ready(), scripts, *ini)
    assert known["settings"] == {**ini, "error_reporting": str(32767 & ~8)}


def test_php_sees_the_environment_it_needs_and_no_secrets(program, start, scripts):
    secrets = {"DATABASE_PASSWORD": "hunter2", "NOTIFY_SOCKET": "/run/x", "LISTEN_FDS": "1"}
    php = start(program, env={**secrets, "LC_ALL": "C.UTF-8", "TZ": "UTC"}).wait_ready()
    seen = facts(php, scripts)["environment"]
    if os.geteuid() == 0:
        assert "/root" not in seen["PATH"]
    else:
        assert seen["PATH"] == os.environ["PATH"]
    assert seen["LC_ALL"] == "C.UTF-8"
    assert seen["TZ"] == "UTC"
    assert not seen.keys() & secrets.keys()
    for pid in [php.guardian, php.master, *php.workers()]:
        assert b"hunter2" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_php_gets_no_descriptor_of_wsgates(program, start, tmp_path):
    canary = tmp_path / "canary"
    canary.touch()
    php = start(program, descriptor=str(canary)).wait_ready()

    def open_in(pid):
        links = []
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append((int(descriptor.name), os.readlink(descriptor)))
        return dict(links)

    lifeline = open_in(php.guardian)[0]
    for pid in [php.master, *php.workers()]:
        links = open_in(pid)
        assert not {str(canary), str(php.folder), lifeline} & set(links.values()), links
    assert str(canary) not in open_in(php.guardian).values()


def test_php_gets_the_usual_umask_and_signals_whatever_wsgate_has(program, start, scripts):
    php = start(program).wait_ready()
    assert facts(php, scripts)["umask"] == 0o022
    # The runner ignores SIGINT, and so would all that it starts.
    ignored = (
        Path(f"/proc/{php.workers()[0]}/status").read_text().partition("SigIgn:")[2].split()[0]
    )
    assert not int(ignored, 16) & 1 << (signal.SIGINT - 1)


def test_opcache_is_loaded_where_phps_own_configuration_does_not(start, scripts, tmp_path, fpm):
    wrapper = tmp_path / "php-fpm"
    # An empty entry means PHP's own folder of settings; without it there is no opcache.
    wrapper.write_text(
        f'#!/bin/sh\nexport PHP_INI_SCAN_DIR="/nonexistent$PHP_INI_SCAN_DIR"\nexec {fpm} "$@"\n'
    )
    wrapper.chmod(0o755)
    assert find_php(str(wrapper)).opcache is False
    php = start(str(wrapper)).wait_ready()
    stdout, _ = php.run(scripts("<?php var_dump(opcache_get_status()['opcache_enabled']);"))
    assert stdout.endswith(b"bool(true)\n")


def test_a_script_with_another_extension_runs_where_it_is_allowed(fpm, start, scripts):
    script = scripts("<?php echo 'ran';", name="script.inc")
    assert b"ran" not in start(fpm).wait_ready().run(script)[0]
    assert b"ran" in start(fpm, extensions=[".php", ".inc"]).wait_ready().run(script)[0]
    assert b"ran" in start(fpm, extensions=[]).wait_ready().run(script)[0]


# --- the log -----------------------------------------------------------------


def test_what_a_script_writes_to_its_stderr_is_logged_as_one_escaped_line(program, start, scripts):
    php = start(program).wait_ready()
    php.run(scripts(r'<?php file_put_contents("php://stderr", "one\x1b[31m\rtwo\nthree\n");'))
    # php-fpm hands a worker's output on, php-cgi's goes to the same pipe.
    eventually(lambda: php.log("info")[-1:] == ["PHP default: three"])
    assert php.log("info")[-2] == r"PHP default: one\x1b[31m\rtwo"


# --- users -------------------------------------------------------------------


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_started_as_root_php_runs_as_an_unprivileged_user(program, start, scripts):
    account = pwd.getpwnam(user_name())
    assert account.pw_uid != 0
    php = start(program).wait_ready()
    known = facts(php, scripts)
    assert known["user"] == account.pw_uid
    assert set(known["groups"]) == set(os.getgrouplist(account.pw_name, account.pw_gid))
    assert known["environment"]["HOME"] == account.pw_dir
    assert known["environment"]["USER"] == account.pw_name
    for pid in php.workers():
        status = Path(f"/proc/{pid}/status").read_text()
        assert status.partition("Uid:")[2].split()[:4] == [str(account.pw_uid)] * 4
        assert status.partition("Gid:")[2].split()[:4] == [str(account.pw_gid)] * 4


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_started_as_root_php_runs_as_the_user_that_was_named(program, start, scripts):
    php = start(program, user="nobody").wait_ready()
    assert facts(php, scripts)["user"] == pwd.getpwnam("nobody").pw_uid
    os.kill(php.master, signal.SIGKILL)
    php.wait_ready(times=2)
    assert facts(php, scripts)["user"] == pwd.getpwnam("nobody").pw_uid


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_readable_by_asks_as_the_user_php_runs_as(scripts):
    script = scripts("<?php")
    assert readable_by(str(script))
    script.chmod(0o600)
    assert not readable_by(str(script))
    script.chmod(0o644)
    script.parent.chmod(0o700)
    assert not readable_by(str(script))
    assert not readable_by(str(script), "nobody")


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_without_root_everything_works_as_the_user_we_are(program, start, scripts):
    python, paths = "/usr/bin/python3", [sysconfig.get_path("purelib"), ROOT / "src"]
    trial = subprocess.run(
        [python, "-c", "import wsgate.php, tests.php.run_private_php"],
        user="nobody",
        group="nogroup",
        extra_groups=[],
        cwd=ROOT,
        check=False,
        capture_output=True,
        env=python_path(paths),
    )
    if trial.returncode:
        pytest.skip("no Python here that another user can run with Twisted")
    php = start(program, python=python, paths=paths, as_user="nobody", user="nobody").wait_ready()
    assert facts(php, scripts)["user"] == pwd.getpwnam("nobody").pw_uid
    guardian, master, folder = php.guardian, php.master, php.folder
    os.kill(master, signal.SIGKILL)
    php.wait_ready(times=2)
    master = php.master
    php.process.kill()
    eventually(lambda: not group(master) and not folder.exists(), 3.0)
    assert guardian not in process_table()
