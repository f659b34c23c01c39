"""wss:// with a client that verifies certificates, through every way to give wsgate one."""

import datetime
import ipaddress
import json
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.exceptions import ConnectionClosed

from tests.integration.gateway_process import eventually, free_port, gateway
from tests.integration.raw_client import RawClient
from tests.integration.websocket_client import connect

SEEN = """<?php
header('Content-Type: application/json');
echo json_encode($_SERVER + ['input' => file_get_contents('php://input')]);
"""


class Authority:
    """A certificate authority of our own, and what it signs, as files in `folder`."""

    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("test authority", [], self.key, None)
        self.path = folder / "ca.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, name, alternatives, key, issuer):
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
            )
        )
        if issuer is None:
            usage = dict.fromkeys(
                (
                    *("digital_signature", "content_commitment", "key_encipherment"),
                    *("data_encipherment", "key_agreement", "encipher_only", "decipher_only"),
                ),
                False,
            )
            usage |= {"key_cert_sign": True, "crl_sign": True}
            builder = builder.add_extension(x509.KeyUsage(**usage), True)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name, folder=None):
        """Write NAME.pem and NAME.key, and both.pem-like NAME.both; for NAME and 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = self._sign(name, names, key, self.certificate)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (self.folder / f"{name}.crt").write_bytes(pem)
        (self.folder / f"{name}.key").write_bytes(secret)
        if folder is not None:
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.pem").write_bytes(secret + pem)

    def context(self):
        """A client that trusts this authority alone, and checks the name."""
        return ssl.create_default_context(cafile=str(self.path))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("authority"))
    certificates = authority.folder / "certificates"
    authority.issue("localhost", certificates)
    authority.issue("a.example", certificates)
    authority.issue("b.example", certificates)
    authority.issue("stranger.example")
    only = authority.folder / "only"
    authority.issue("localhost", only)
    return authority


def files(authority):
    return [
        f"--certificate={authority.folder}/localhost.crt",
        f"--private-key={authority.folder}/localhost.key",
    ]


def secure(*options, port="tls:{port}:interface=127.0.0.1"):
    return gateway(*options, port=port, script="seen.php", scripts={"seen.php": SEEN})


def client(running, context, name="localhost", port=None):
    """A client that asks for `name` at 127.0.0.1."""
    return connect(
        f"wss://{name}:{port or running.port}/",
        sock=socket.create_connection(("127.0.0.1", port or running.port), 10),
        ssl=context,
    )


def ask(running, context, name="localhost", port=None):
    with client(running, context, name, port) as connection:
        connection.send("over TLS")
        return json.loads(connection.recv(timeout=20))


def assert_is_https(got):
    assert got["input"] == "over TLS"
    assert got["HTTPS"] == "on"
    assert got["REQUEST_SCHEME"] == "https"


def test_a_certificate_and_its_key_serve_a_client_that_verifies(authority):
    with secure(*files(authority)) as running:
        got = ask(running, authority.context())
        assert_is_https(got)
        assert got["SERVER_PORT"] == str(running.port)
        assert got["SERVER_NAME"] == "localhost"
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            ask(running, authority.context(), "other.example")
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(running, ssl.create_default_context())


def test_tls_11_is_refused_and_12_and_13_are_spoken(authority):
    with secure(*files(authority)) as running:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = authority.context()
            context.minimum_version = context.maximum_version = version
            assert_is_https(ask(running, context))
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            context = authority.context()
            # OpenSSL's own level 2 would refuse before the server can.
            context.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.warns(DeprecationWarning, match="is deprecated"):
                context.minimum_version = context.maximum_version = version
            with pytest.raises(ssl.SSLError, match=r"(?i)alert|protocol"):
                ask(running, context)


def test_the_certificate_is_chosen_by_the_name_asked_for(authority):
    with secure(f"--certificates={authority.folder}/certificates") as running:
        for name in ("localhost", "a.example", "b.example", "A.EXAMPLE"):
            assert_is_https(ask(running, authority.context(), name))
        with pytest.raises(ssl.SSLError):
            ask(running, authority.context(), "stranger.example")


def test_a_self_signed_certificate_is_refused_unless_it_is_trusted(authority):
    with secure("--self-signed") as running:
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(running, authority.context())
        pem = ssl.get_server_certificate(("127.0.0.1", running.port))
        assert_is_https(ask(running, ssl.create_default_context(cadata=pem)))


def test_twisteds_own_ssl_endpoint_works(authority):
    folder = authority.folder
    port = (
        f"ssl:{{port}}:interface=127.0.0.1:privateKey={folder}/localhost.key"
        f":certKey={folder}/localhost.crt"
    )
    with secure(port=port) as running:
        assert_is_https(ask(running, authority.context()))


def test_twisteds_own_tls_endpoint_works(authority):
    port = f"tls:{authority.folder}/only:port={{port}}:interface=127.0.0.1"
    with secure(port=port) as running:
        assert_is_https(ask(running, authority.context()))


def test_plain_and_secure_ports_serve_side_by_side(authority):
    plain = free_port()
    options = [*files(authority), f"--port=tcp:{plain}:interface=127.0.0.1"]
    with secure(*options) as running:
        assert_is_https(ask(running, authority.context()))
        with RawClient(plain) as connection:
            connection.send_message(b"x")
            got = json.loads(connection.receive_message())
            assert got["REQUEST_SCHEME"] == "http"
            assert "HTTPS" not in got


def test_a_long_message_and_a_close_travel_over_tls(authority):
    echo = "<?php header('Content-Type: application/octet-stream');"
    echo += " header('Wsgate-Close: 4000 done'); echo file_get_contents('php://input');"
    options = [*files(authority), "--set=limits.max_message_size=4MiB"]
    with (
        gateway(
            *options,
            port="tls:{port}:interface=127.0.0.1",
            script="bye.php",
            scripts={"bye.php": echo},
        ) as running,
        RawClient(running.port, tls=authority.context()) as connection,
    ):
        message = bytes(range(256)) * 4096 * 3
        connection.send_message(message, False)
        frames = connection.receive_frames()
        assert b"".join(frame.payload for frame in frames) == message
        assert max(len(frame.payload) for frame in frames) <= 65536
        assert connection.receive_frame().payload == b"\x0f\xa0done"


def test_plain_text_and_silence_on_a_secure_port_harm_nobody(authority):
    with secure(*files(authority), "--set=limits.handshake_timeout=500ms") as running:
        silent = socket.create_connection(("127.0.0.1", running.port), 10)
        plain = socket.create_connection(("127.0.0.1", running.port), 10)
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert_is_https(ask(running, authority.context()))
        for connection in (silent, plain):
            connection.settimeout(5)
            eventually(lambda c=connection: _is_over(c), 5, "the connection is ended")
            connection.close()
        assert "Traceback" not in running.log()


def _is_over(connection):
    try:
        return connection.recv(1000) == b""
    except ConnectionResetError:
        return True


def test_a_stop_closes_secure_connections_with_1001(authority):
    with secure(*files(authority)) as running, client(running, authority.context()) as connection:
        connection.send("over TLS")
        assert_is_https(json.loads(connection.recv(timeout=20)))
        running.process.terminate()
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=10)
        assert closed.value.rcvd.code == 1001
        running.process.wait(10)
        assert "Traceback" not in running.log()
