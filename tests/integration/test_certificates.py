"""Certificates renewed under load, and certificates of clients, with the real process."""

import contextlib
import datetime
import json
import os
import shutil
import signal
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.exceptions import WebSocketException

from tests.integration.gateway_process import eventually, gateway
from tests.integration.test_tls_service import SEEN, Authority
from tests.integration.websocket_client import connect


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def issue(authority, name="localhost", days=1, named=True):
    """A certificate that ends in `days`, its key in the same bytes, and its serial number."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = authority._sign(
        name, [x509.DNSName(name)] if named else [], key, authority.certificate
    )
    if days < 0:
        builder = (
            x509.CertificateBuilder()
            .subject_name(certificate.subject)
            .issuer_name(authority.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=9))
            .not_valid_after(now + datetime.timedelta(days=days))
        )
        certificate = builder.sign(authority.key, certificate.signature_hash_algorithm)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return pem + secret, certificate.serial_number


def replace(path, data):
    """As certbot does: the whole file at once."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.chmod(0o644)
    new.rename(path)


def serial(port, name="localhost"):
    """Of the certificate that a new client sees."""
    context = ssl._create_unverified_context()
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname=name) as client,
    ):
        return x509.load_der_x509_certificate(client.getpeercert(True)).serial_number


class Load:
    """Connections that ask something all the time; `drops` are those that failed."""

    def __init__(self, port, context, read=lambda answer: json.loads(answer)["input"], count=4):
        self.answers, self.drops = 0, []
        self._read = read
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(port, context)) for _ in range(count)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, port, context):
        try:
            plain = socket.create_connection(("127.0.0.1", port), 10)
            options = {"sock": plain, "ssl": context}
            with connect(f"wss://localhost:{port}/", **options) as client:
                while not self._stop.wait(0.01):
                    client.send("x")
                    assert self._read(client.recv(timeout=20)) == "x"
                    self.answers += 1
        except Exception as error:
            self.drops.append(repr(error))


@contextlib.contextmanager
def serving(*options, **more):
    # Each look at a certificate is a new connection.
    with gateway(
        *options,
        "--set=limits.new_connections_per_address=0",
        port="tls:{port}:interface=127.0.0.1",
        script="seen.php",
        scripts={"seen.php": SEEN},
        **more,
    ) as running:
        yield running


@pytest.mark.parametrize("workers", [1, 2])
def test_a_changed_file_is_noticed_and_connections_go_on(authority, tmp_path, workers):
    folder = tmp_path / "certificates"
    folder.mkdir()
    data, _ = issue(authority)
    replace(folder / "localhost.pem", data)
    with (
        serving(
            f"--certificates={folder}",
            "--set=gateway.certificate_check_interval=200ms",
            f"--workers={workers}",
        ) as running,
        Load(running.port, authority.context()) as load,
    ):
        eventually(lambda: load.answers > 10, 20, "the load runs")
        data, shown = issue(authority)
        replace(folder / "localhost.pem", data)
        other, other_shown = issue(authority, "b.example")
        replace(folder / "b.pem", other)

        def all_new():
            return all(serial(running.port) == shown for _ in range(8))

        eventually(all_new, 10, "the new one is shown by every worker")
        eventually(lambda: serial(running.port, "b.example") == other_shown, 5, "the new name")
        (folder / "b.pem").write_bytes(b"half a fi")
        eventually(lambda: "holds no PEM certificate" in running.log(), 10, "the error")
        assert serial(running.port, "b.example") == other_shown
        answered = load.answers
        eventually(lambda: load.answers > answered + 10, 20, "the load still runs")
        assert load.drops == []
        assert "restarting" not in running.log()
        assert "Traceback" not in running.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up being root")
def test_a_key_that_only_root_can_read_is_told_at_the_start(authority):
    # pytest's own folders are root's alone.
    with serving_as_nobody(authority) as (running, key):
        eventually(lambda: "cannot read it any more" in running.log(), 5, "the line")
        assert str(key) in running.log()
        old = serial(running.port)
        replace(key.parent / "chain.pem", issue(authority)[0])
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "Permission denied" in running.log(), 5, "the error")
        assert serial(running.port) == old


@contextlib.contextmanager
def serving_as_nobody(authority):
    from tests.integration.gateway_process import Workplace, twistd

    place = Workplace()
    try:
        data, _ = issue(authority)
        chain, key = place.folder / "chain.pem", place.folder / "key.pem"
        chain.write_bytes(data[: data.index(b"-----BEGIN PRIVATE KEY")])
        chain.chmod(0o644)
        key.write_bytes(data[data.index(b"-----BEGIN PRIVATE KEY") :])
        key.chmod(0o600)
        command = [twistd(), "-n", "--pidfile=", "--uid=nobody", "--gid=nogroup", "wsgate"]
        # Nobody asks PHP here; a PHP of our own needs a Python that nobody may read.
        files = (f"--certificate={chain}", f"--private-key={key}")
        with serving(*files, "--fastcgi=unix:/nowhere.sock", command=command) as running:
            yield running, key
    finally:
        shutil.rmtree(place.folder, ignore_errors=True)


# Clients' certificates


def client_context(authority, tmp_path, name=None, signed_by=None):
    context = authority.context()
    if name is not None:
        path = tmp_path / "client.pem"
        path.write_bytes(issue(signed_by or authority, name)[0])
        context.load_cert_chain(path)
    return context


def ask(running, context, **headers):
    plain = socket.create_connection(("127.0.0.1", running.port), 10)
    options = {"sock": plain, "ssl": context, "additional_headers": headers}
    with connect(f"wss://localhost:{running.port}/", **options) as client:
        client.send("x")
        return json.loads(client.recv(timeout=20))


FORGED = {"SSL-Client-Verify": "SUCCESS", "SSL_CLIENT_VERIFY": "SUCCESS", "SSL-Client-S-DN": "CN=x"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_client_s_certificate_reaches_php(authority, tmp_path, workers):
    path = tmp_path / "server.pem"
    replace(path, issue(authority)[0])
    stranger_folder = tmp_path / "stranger"
    stranger_folder.mkdir()
    stranger = Authority(stranger_folder)
    options = [f"--certificate={path}", f"--private-key={path}", f"--client-ca={authority.path}"]
    with serving(*options, f"--workers={workers}") as running:
        got = ask(running, client_context(authority, tmp_path, "alice"), **FORGED)
        assert got["SSL_CLIENT_VERIFY"] == "SUCCESS"
        assert got["SSL_CLIENT_S_DN"] == "CN=alice"
        assert got["SSL_CLIENT_I_DN"] == "CN=test authority"
        assert got["HTTP_SSL_CLIENT_S_DN"] == "CN=x"
        for context in (
            client_context(authority, tmp_path),
            client_context(authority, tmp_path, "alice", stranger),
        ):
            with pytest.raises((OSError, WebSocketException)):
                ask(running, context)
        assert "Traceback" not in running.log()


def test_an_optional_certificate_that_is_missing_is_none_whatever_the_client_says(
    authority, tmp_path
):
    path = tmp_path / "server.pem"
    replace(path, issue(authority)[0])
    options = [f"--certificate={path}", f"--private-key={path}", f"--client-ca={authority.path}"]
    with serving(*options, "--set=gateway.client_certificate=optional") as running:
        got = ask(running, client_context(authority, tmp_path), **FORGED)
        assert got["SSL_CLIENT_VERIFY"] == "NONE"
        assert "SSL_CLIENT_S_DN" not in got
    with serving(*options[:2]) as running:
        got = ask(running, client_context(authority, tmp_path), **FORGED)
        assert not [name for name in got if name.startswith("SSL_")]
