"""A wrong input ends the start: status 1, one line that says what to do, nothing left running."""

import contextlib
import glob
import os
import shutil
import socket
import subprocess

import pytest

from tests.integration.gateway_process import (
    Workplace,
    eventually,
    free_port,
    process_table,
    twistd,
)
from tests.integration.test_tls_service import Authority
from tests.integration.test_workers import others_may_run_python

PATIENCE = 20


@pytest.fixture(scope="module")
def place():
    """A folder with ws.php, certificates, and what the cases below name."""
    place = Workplace()
    place.write("ws.php", "<?php echo 'here';")
    place.write("rubbish.pem", "rubbish")
    (place.scripts / "empty").mkdir()
    authority = Authority(place.scripts)
    authority.issue("localhost")
    authority.issue("other")
    place.write("locked.key", "")
    (place.scripts / "locked.key").chmod(0)
    place.write("bad.toml", "[limits]\nmax_conections = 3\n")
    place.write("broken.toml", "[limits\n")
    yield place
    place.remove()


@pytest.fixture(scope="module")
def taken():
    """A port that something listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def run(place, arguments, prefix=()):
    """Run to the end; (status, stdout, stderr). AssertionError if anything of it still runs."""
    ended = subprocess.run(
        [*prefix, twistd(), *arguments],
        cwd=place.scripts,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    # A daemon tells its parent that it failed, and then ends.
    eventually(lambda: not _left(place), 3, "nothing of it runs")
    return ended.returncode, ended.stdout, ended.stderr


def _left(place):
    return [command for _, command in process_table().values() if str(place.folder) in command]


def assert_one_line(result, *parts):
    status, out, err = result
    assert "Traceback" not in out + err
    assert "Unhandled" not in out + err
    assert status == 1, (out, err)
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("wsgate: ")
    for part in parts:
        assert part in lines[0]


def foreground(place, *options, prefix=()):
    return run(place, ["-n", "--pidfile=", "wsgate", *options], prefix)


PLAIN = ["--port", "tcp:0:interface=127.0.0.1"]
WS = ["--script", "{s}/ws.php"]
TLS = ["--port", "tls:0", *WS]

CASES = {
    "unknown option": (["--nonsense"], ["--nonsense", "unknown option"]),
    "misspelt option": (["--scirpt", "ws.php"], ["--scirpt", "--script"]),
    "no value": ([*PLAIN, "--script"], ["--script", "needs a value"]),
    "script without --script": (["ws.php"], ["ws.php", "--script ws.php"]),
    "no script": (PLAIN, ["--script FILE", "--demo"]),
    "missing script": (
        [*PLAIN, "--script", "missing.php"],
        ["--script missing.php", "no such file"],
    ),
    "script is a folder": ([*PLAIN, "--script", "{s}"], ["--script {s}", "folder"]),
    "port is a number": ([*WS, "--port", "8080"], ["--port 8080", "tcp:8080"]),
    "port too large": ([*WS, "--port", "tcp:99999"], ["--port tcp:99999", "65535"]),
    "port is no number": ([*WS, "--port", "tcp:abc"], ["--port tcp:abc", "'abc'"]),
    "unknown endpoint": ([*WS, "--port", "nope:1"], ["--port nope:1", "'nope'", "tcp:8080"]),
    "foreign address": (
        [*WS, "--port", "tcp:0:interface=192.0.2.1"],
        ["--port tcp:0:interface=192.0.2.1", "Cannot assign requested address"],
    ),
    "socket in no folder": (
        [*WS, "--port", "unix:/nonexistent/x.sock"],
        ["--port unix:/nonexistent/x.sock", "No such file or directory"],
    ),
    "tls without certificate": (
        TLS,
        ["--port tls:0", "--certificate FILE", "--certificates DIR", "--self-signed"],
    ),
    "missing certificate": (
        [*TLS, "--certificate", "/nonexistent.pem", "--private-key", "{s}/localhost.key"],
        ["--certificate /nonexistent.pem", "no such file"],
    ),
    "certificate is rubbish": (
        [*TLS, "--certificate", "{s}/rubbish.pem", "--private-key", "{s}/localhost.key"],
        ["--certificate {s}/rubbish.pem", "-----BEGIN CERTIFICATE-----"],
    ),
    "key is rubbish": (
        [*TLS, "--certificate", "{s}/localhost.crt", "--private-key", "{s}/rubbish.pem"],
        ["--private-key {s}/rubbish.pem", "-----BEGIN PRIVATE KEY-----"],
    ),
    "key does not match": (
        [*TLS, "--certificate", "{s}/localhost.crt", "--private-key", "{s}/other.key"],
        ["--private-key {s}/other.key", "does not match"],
    ),
    "certificate without key": (
        [*TLS, "--certificate", "{s}/localhost.crt"],
        ["--certificate {s}/localhost.crt", "--private-key FILE"],
    ),
    "certificate without tls port": (
        [*PLAIN, *WS, "--self-signed"],
        ["--self-signed", "--port tls:443"],
    ),
    "missing folder of certificates": (
        [*TLS, "--certificates", "/nonexistent"],
        ["--certificates /nonexistent", "no such folder"],
    ),
    "empty folder of certificates": (
        [*TLS, "--certificates", "{s}/empty"],
        ["--certificates {s}/empty"],
    ),
    "key of ssl: does not match": (
        [*WS, "--port", "ssl:0:privateKey={s}/other.key:certKey={s}/localhost.crt"],
        ["--port ssl:0", "do not match"],
    ),
    "missing php": (
        [*PLAIN, *WS, "--set", "pools.default.php=/nonexistent"],
        ["pools.default.php=/nonexistent", "no such file"],
    ),
    "php is something else": (
        [*PLAIN, *WS, "--set", "pools.default.php=/bin/true"],
        ["/bin/true is not PHP", "apt install php-fpm", "--fastcgi"],
    ),
    "unknown user": (
        [*PLAIN, *WS, "--set", "pools.default.user=nobody-here"],
        ["pools.default.user=nobody-here", "no such user"],
    ),
    "bad ini name": (
        [*PLAIN, *WS, "--set", "pools.default.ini.a b=1"],
        ["pools.default.ini.a b=1"],
    ),
    "ini that forges a line": (
        [*PLAIN, *WS, "--set", "pools.default.ini.precision=1\nextension=evil"],
        ["pools.default.ini.precision"],
    ),
    "unknown setting": (
        [*PLAIN, *WS, "--set", "limits.max_conections=3"],
        ["limits.max_conections", "limits.max_connections"],
    ),
    "setting without value": ([*PLAIN, *WS, "--set", "limits.queue"], ["KEY=VALUE"]),
    "setting out of range": (
        [*PLAIN, *WS, "--set", "limits.max_message_size=2GiB"],
        ["limits.max_message_size=2GiB", "1GiB"],
    ),
    "fastcgi is a path": (
        [*PLAIN, *WS, "--fastcgi", "/run/x.sock"],
        ["--fastcgi /run/x.sock", "unix:/run/x.sock"],
    ),
    "missing file of settings": ([*PLAIN, "--config", "none.toml"], ["--config none.toml"]),
    "unknown setting in the file": (
        [*PLAIN, *WS, "--config", "{s}/bad.toml"],
        ["bad.toml", "max_conections", "max_connections"],
    ),
    "file that is no toml": ([*PLAIN, *WS, "--config", "{s}/broken.toml"], ["broken.toml"]),
    "pool of no such name": (
        [*PLAIN, *WS, "--set", "route.pool=other"],
        ["route.pool=other", "no such pool"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_input_is_one_line(place, case):
    options, parts = CASES[case]
    s = str(place.scripts)
    result = foreground(place, *(option.replace("{s}", s) for option in options))
    assert_one_line(result, *(part.replace("{s}", s) for part in parts))


def test_a_port_that_is_taken(place, taken):
    port = f"tcp:{taken}:interface=127.0.0.1"
    result = foreground(place, "--script", "ws.php", "--port", port)
    assert_one_line(result, f"--port {port}", "Address already in use")


def test_a_second_port_that_is_taken_leaves_the_first_one_free(place, taken):
    free = free_port()
    ports = [f"--port=tcp:{number}:interface=127.0.0.1" for number in (free, taken)]
    result = foreground(place, "--script", "ws.php", *ports)
    assert_one_line(result, f"--port tcp:{taken}", "Address already in use")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free))


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs util-linux")
@pytest.mark.parametrize("name", ["certificate", "private-key"])
def test_a_file_of_tls_that_may_not_be_read(place, name):
    # Root may read everything unless it gives these powers away.
    powers = "--bounding-set=-dac_override,-dac_read_search"
    prefix = ["setpriv", powers] if os.geteuid() == 0 else []
    files = {"certificate": "localhost.crt", "private-key": "localhost.key"}
    files[name] = "locked.key"
    options = [f"--{option}={place.scripts}/{file}" for option, file in files.items()]
    result = foreground(place, "--port=tls:0", "--script=ws.php", *options, prefix=prefix)
    assert_one_line(result, f"--{name} {place.scripts}/locked.key", "not readable")


@pytest.mark.skipif(os.geteuid() != 0, reason="PHP's user is another one only if we are root")
def test_a_script_that_phps_user_may_not_read(place):
    path = place.scripts / "locked.php"
    path.write_text("<?php")
    path.chmod(0o600)
    result = foreground(place, *PLAIN, "--script", str(path))
    assert_one_line(result, f"--script {path}", "cannot read", "www-data")


@pytest.mark.skipif(os.geteuid() != 0, reason="PHP's user is another one only if we are root")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs util-linux")
def test_a_root_that_may_not_become_phps_user(place):
    # As in a container with --cap-drop=ALL.
    prefix = ["setpriv", "--bounding-set=-setuid,-setgid"]
    result = foreground(place, *PLAIN, "--script=ws.php", prefix=prefix)
    assert_one_line(result, "www-data", "root")


def _hiding_php():
    """A command prefix under which no PHP is on the machine; None if that cannot be had."""
    folders = {*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin"}
    programs = {
        os.path.realpath(path)
        for folder in folders | {"/sbin"}
        for kind in ("fpm", "cgi")
        for path in glob.glob(f"{folder}/php-{kind}*")
    }
    mounts = "".join(f"mount --bind /dev/null {program} && " for program in programs)
    # Who is not root may mount only as the master of a user namespace of their own.
    alone = [] if os.geteuid() == 0 else ["--map-current-user", "--keep-caps"]
    prefix = ["unshare", *alone, "-m", "sh", "-c", mounts + 'exec "$@"']
    with contextlib.suppress(OSError):
        if (
            subprocess.run([*prefix, "sh", "true"], capture_output=True, check=False).returncode
            == 0
        ):
            return [*prefix, "sh"]
    return None


def test_a_machine_without_php(place):
    prefix = _hiding_php()
    if prefix is None:
        pytest.skip("hiding PHP needs a mount namespace of our own, which is not allowed here")
    result = foreground(place, *PLAIN, "--script=ws.php", prefix=prefix)
    assert_one_line(result, "no php-fpm and no php-cgi", "apt install php-fpm", "--fastcgi")


# -- other ways to start


TAC = """
from twisted.application.service import Application
from wsgate.service import Options, makeService
options = Options()
options.parseOptions({options!r})
application = Application("wsgate")
makeService(options).setServiceParent(application)
"""


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--nonsense"], "--nonsense"),
        (["--script", "missing.php"], "no such file"),
        (["--script", "ws.php", "--port", "tls:0"], "needs a certificate"),
        (["--script", "ws.php", "--port", "nope:1"], "--port nope:1"),
        (["--script", "ws.php", "--port", "unix:/nonexistent/x"], "--port unix:/nonexistent/x"),
    ],
)
def test_a_tac_file_with_a_wrong_input_is_one_line(place, options, part):
    path = place.scripts / "wrong.tac"
    path.write_text(TAC.format(options=options))
    assert_one_line(run(place, ["-n", "--pidfile=", "-y", str(path)]), part)


def test_python_dash_m_with_a_wrong_input_is_one_line(place):
    result = subprocess.run(
        [os.path.join(os.path.dirname(twistd()), "python"), "-m", "wsgate", "--nonsense"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert_one_line((result.returncode, result.stdout, result.stderr), "--nonsense")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--nonsense"], "--nonsense"),
        (["--script", "missing.php"], "no such file"),
        (["--script", "ws.php", "--port", "{taken}"], "Address already in use"),
        (["--script", "ws.php", "--port", "unix:/nonexistent/x"], "No such file"),
    ],
)
def test_a_daemon_that_cannot_start_ends_with_an_error(place, taken, options, part):
    log, pidfile = place.scripts / "daemon.log", place.scripts / "daemon.pid"
    address = f"tcp:{taken}:interface=127.0.0.1"
    words = [option.replace("{taken}", address) for option in options]
    arguments = [f"--pidfile={pidfile}", f"--logfile={log}", "wsgate", *words]
    try:
        status, out, err = run(place, arguments)
        assert status == 1
        said = err + (log.read_text() if log.exists() else "")
        assert part in said
        assert "Traceback" not in out + said
        assert not pidfile.exists()
    finally:
        log.unlink(missing_ok=True)
        pidfile.unlink(missing_ok=True)


@pytest.mark.skipif(
    os.geteuid() != 0 or others_may_run_python(),
    reason="needs root, and a Python that other users may not run",
)
@pytest.mark.parametrize("more", [(), ("--workers=2",)])
def test_a_python_that_the_new_user_may_not_run_is_one_line(more):
    """Not a restart of the guardian, or of workers, for ever."""
    command = [twistd(), "-n", "--pidfile=", "--uid=65534", "--gid=65534", "wsgate", "--demo"]
    ended = subprocess.run(
        [*command, "--port=tcp:0:interface=127.0.0.1", *more],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    assert ended.returncode == 1
    assert "user 65534 (twistd's --uid) may not use " in ended.stderr
    assert ended.stderr.count("\n") == 1
