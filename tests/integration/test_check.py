"""`--check`: what a start would find, found without one."""

import subprocess

import pytest

from tests.integration.gateway_process import ECHO, Workplace, twistd
from tests.integration.test_certificates import issue, replace
from tests.integration.test_tls_service import Authority


@pytest.fixture
def place():
    place = Workplace()
    place.write("ws.php", ECHO)
    yield place
    place.remove()


def check(place, *options, **more):
    command = [twistd(), "-n", "--pidfile=", "wsgate", f"--script={place.scripts}/ws.php"]
    return subprocess.run(
        [*command, "--check", *options],
        cwd=place.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )


def with_certificate(place, days=1, cut=None):
    authority = Authority(place.folder)
    path = place.folder / "live.pem"
    replace(path, issue(authority, days=days)[0][:cut])
    return ["--port=tls:443", f"--certificate={path}", f"--private-key={path}"]


def test_what_is_good_is_one_line_and_0(place):
    done = check(place, *with_certificate(place))
    assert (done.returncode, done.stdout, done.stderr) == (0, "wsgate: options: good\n", "")


def test_a_bad_certificate_is_found(place):
    done = check(place, *with_certificate(place, cut=200))
    assert done.returncode == 1
    assert "holds no PEM" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_an_expired_certificate_is_told(place):
    done = check(place, *with_certificate(place, days=-1))
    assert done.returncode == 0
    assert "expired on" in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_missing_php_is_found(place, workers):
    done = check(place, f"--workers={workers}", "--set=pools.default.php=php-nowhere")
    assert done.returncode == 1
    assert "php-nowhere" in done.stderr
    assert done.stderr.count("\n") == 1


def test_sockets_of_systemd_are_not_asked_for(place):
    done = check(place, "--port=systemd:domain=INET:index=0")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_port_string_that_cannot_be_is_found(place):
    done = check(place, "--port=tcp:8080:backlog=many")
    assert done.returncode == 1
    assert "tcp:8080:backlog=many" in done.stderr
