"""PHP-FPM behind TLS on another machine: php-fpm on TCP, with a port of TLS in front of it."""

import hashlib
import json
import socket

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.gateway_process import eventually, gateway
from tests.integration.php_fpm import php_fpm
from tests.integration.test_certificates import issue
from tests.integration.test_tls_service import Authority
from tests.integration.tls_proxy import terminator

DIGEST = "<?php $b = file_get_contents('php://input'); echo strlen($b), ' ', hash('sha256', $b);"
LARGE = "<?php echo str_repeat('x', (int) file_get_contents('php://input'));"


@pytest.fixture
def authority(tmp_path):
    authority = Authority(tmp_path)
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    (trusted / "ca.pem").write_bytes(authority.path.read_bytes())
    return authority


@pytest.fixture(scope="module")
def fpm():
    with php_fpm(scripts={"digest.php": DIGEST, "large.php": LARGE}, listen="tcp") as running:
        yield running


def written(authority, name, **more):
    path = authority.folder / f"{name}.both"
    path.write_bytes(issue(authority, name, **more)[0])
    return str(path)


def address(authority, port, host="localhost", roots="trusted"):
    return f"tls:{host}:{port}:trustRoots={authority.folder}/{roots}"


def serving(fpm, *addresses, script="digest.php", **more):
    options = [f"--fastcgi={one}" for one in addresses]
    return gateway(
        *options,
        f"--script={fpm.script_path(script)}",
        "--set=limits.max_message_size=8MiB",
        *more.pop("options", ()),
        script=None,
        workers=None,
        **more,
    )


def error_of(running):
    return json.loads(running.ask("x"))["error"]


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("size", [0, 1, 65528, 5 * 2**20])
def test_messages_and_answers_of_any_size_travel_over_tls(authority, fpm, keep, size):
    with (
        terminator(fpm.port, written(authority, "localhost")) as front,
        serving(
            fpm,
            address(authority, front.port),
            options=[f"--set=pools.default.keep_connections={str(keep).lower()}"],
        ) as running,
        running.connect() as client,
    ):
        data = hashlib.sha256(b"seed").digest() * (size // 32 + 1)
        for _ in range(3):
            client.send(data[:size])
            digest = hashlib.sha256(data[:size]).hexdigest()
            assert client.recv(timeout=30) == f"{size} {digest}"
        assert front.handshakes == (1 if keep else 3)
        assert "Traceback" not in running.log()


def test_a_long_answer_travels_over_tls(authority, fpm):
    with (
        terminator(fpm.port, written(authority, "localhost")) as front,
        serving(fpm, address(authority, front.port), script="large.php") as running,
    ):
        assert running.ask("6000000") == "x" * 6000000


BAD = {
    "another name": (
        "other.example",
        {},
        "trusted",
        "it is not for localhost, as `fastcgi` calls the host",
    ),
    "no name": (
        "localhost",
        {"named": False},
        "trusted",
        "it is not for localhost, as `fastcgi` calls the host",
    ),
    "expired": ("localhost", {"days": -1}, "trusted", "its certificate: it has expired"),
    "nobody we trust": ("localhost", {}, None, "that signed it is not trusted"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_certificate_is_a_clear_error_and_php_sees_nothing(authority, fpm, kind):
    name, more, roots, reason = BAD[kind]
    with terminator(fpm.port, written(authority, name, **more)) as front:
        where = address(authority, front.port) if roots else f"tls:localhost:{front.port}"
        with serving(fpm, where) as running:
            assert error_of(running)["status"] in (502, 503)
            eventually(lambda: reason in running.log(), 5, "the line")
            assert "Traceback" not in running.log()


def test_a_backend_that_speaks_no_tls_is_a_clear_error(authority, fpm):
    with serving(fpm, address(authority, fpm.port)) as running:
        assert error_of(running)["status"] in (502, 503)
        eventually(lambda: "TLS handshake" in running.log(), 5, "the line")
        assert "Traceback" not in running.log()


def test_a_backend_that_never_answers_the_handshake_counts_as_one_that_does_not_accept(
    authority, fpm
):
    with (
        socket.create_server(("127.0.0.1", 0), backlog=50) as silent,
        serving(
            fpm,
            address(authority, silent.getsockname()[1]),
            options=["--set=pools.default.connect_timeout=200ms"],
        ) as running,
    ):
        assert error_of(running)["status"] in (502, 503)
        line = "did not accept a connection within 0.2 s"
        eventually(lambda: line in running.log(), 5, "the line")
        assert "Traceback" not in running.log()


def test_a_request_goes_to_the_next_backend_if_the_certificate_of_one_is_wrong(authority, fpm):
    with (
        terminator(fpm.port, written(authority, "other.example")) as wrong,
        terminator(fpm.port, written(authority, "localhost")) as right,
        serving(fpm, address(authority, wrong.port), address(authority, right.port)) as running,
    ):
        for _ in range(4):
            assert running.ask("x").startswith("1 ")
        assert "it is not for localhost" in running.log()


def test_an_address_is_verified_as_an_address(authority, fpm):
    key = ec.generate_private_key(ec.SECP256R1())
    import ipaddress

    alternatives = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = authority._sign("x", alternatives, key, authority.certificate)
    path = authority.folder / "address.both"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with (
        terminator(fpm.port, str(path)) as front,
        serving(fpm, address(authority, front.port, "127.0.0.1")) as running,
    ):
        assert running.ask("x").startswith("1 ")
