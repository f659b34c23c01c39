"""wsgate.tls: what a --port string listens on, and what a TLS client is shown.

The client is Python's own ssl, which verifies what it gets; handshakes run in memory.
"""

import contextlib
import datetime
import errno
import shutil
import socket
import ssl
import tempfile
import warnings
import weakref
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactor
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from wsgate.proxies.port import ProxiedFactory
from wsgate.tls import CertificateFiles, Identity, TLSError, read_certificates, server_endpoint
from wsgate.tls.handshakes import make_context as _context

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)


def connection_creator(*, self_signed=False, **files):
    """What a start would show clients, as it is inside."""
    certificates = read_certificates(CertificateFiles(**files), self_signed=self_signed)
    return certificates and certificates._connections


# Certificates made here


def make(*names, issuer=None, ca=False, key=None, days=(-1, 60), cn=None):
    """(certificate, key) for the DNS names, signed by `issuer` or by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, cn or (names or ["x"])[0])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + days[0] * DAY)
        .not_valid_after(NOW + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        san = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(san, critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


@cache
def root():
    return make(ca=True, cn="test root")


@cache
def intermediate():
    return make(ca=True, cn="test intermediate", issuer=root())


@cache
def leaf(*names, days=(-1, 60)):
    return make(*names, issuer=intermediate(), days=days)


def pem(*certificates):
    return b"".join(c.public_bytes(ser.Encoding.PEM) for c in certificates)


def key_pem(key, password=None):
    encryption = ser.BestAvailableEncryption(password) if password else ser.NoEncryption()
    return key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, encryption)


def chain_pem(pair):
    return pem(pair[0], intermediate()[0])


def write(path, *parts):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(parts))
    return str(path)


def write_pair(folder, name, *names, days=(-1, 60)):
    """A file with chain and key, for the DNS names."""
    pair = leaf(*names, days=days)
    return write(folder / name, chain_pem(pair), key_pem(pair[1]))


def creator_for(tmp_path, *names):
    return connection_creator(certificate=write_pair(tmp_path, "server.pem", *names))


# A client and a handshake in memory


def client_context(*, trust=None, alpn=("http/1.1",)):
    context = ssl.create_default_context()
    trusted = trust or root()[0]
    context.load_verify_locations(cadata=trusted.public_bytes(ser.Encoding.PEM).decode())
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


class Handshake:
    """Python's ssl as the client of one connection that `creator` made."""

    def __init__(self, creator, name, context=None):
        self.server = creator.serverConnectionForTLS(None)
        self.server.set_accept_state()
        self.to_client, self.to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = (context or client_context()).wrap_bio(
            self.to_client, self.to_server, server_hostname=name
        )
        self.failure = None

    def run(self):
        for _ in range(10):
            try:
                self.client.do_handshake()
                self._serve()
                return self
            except ssl.SSLWantReadError:
                self._serve()
        raise AssertionError("the handshake does not end")

    def _serve(self):
        if data := self.to_server.read():
            self.server.bio_write(data)
        try:
            self.server.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.failure = error
        with contextlib.suppress(SSL.WantReadError):
            self.to_client.write(self.server.bio_read(65536))

    @property
    def names(self):
        return [value for _, value in self.client.getpeercert()["subjectAltName"]]


def handshake(creator, name, **options):
    return Handshake(creator, name, client_context(**options)).run()


def shown(creator, name):
    """The names of the certificate that a client sees who asks for `name` (None: no SNI)."""
    context = client_context()
    context.check_hostname = False
    return Handshake(creator, name, context).run().names


@pytest.fixture
def warned():
    """The text of each warning that was logged."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [formatEvent(e) for e in events if e["log_level"] is LogLevel.warn]
    globalLogPublisher.removeObserver(events.append)


# Handshakes


def test_a_client_that_verifies_the_chain_and_the_name_is_served(tmp_path):
    done = handshake(creator_for(tmp_path, "ws.example.org"), "ws.example.org")
    assert done.names == ["ws.example.org"]
    assert done.client.version() == "TLSv1.3"
    assert done.client.selected_alpn_protocol() == "http/1.1"
    assert done.client.compression() is None


def test_the_key_may_be_in_a_file_of_its_own_and_the_chain_in_any_order(tmp_path):
    pair = leaf("ws.example.org")
    creator = connection_creator(
        certificate=write(tmp_path / "chain.pem", pem(intermediate()[0], pair[0])),
        private_key=write(tmp_path / "key.pem", key_pem(pair[1])),
    )
    assert handshake(creator, "ws.example.org").names == ["ws.example.org"]


@pytest.mark.parametrize("text", ["TraditionalOpenSSL", "PKCS8"])
def test_rsa_keys_of_openssls_own_form_are_read_too(tmp_path, text):
    key = rsa.generate_private_key(65537, 2048)
    certificate, _ = make("ws.example.org", issuer=root(), key=key)
    data = key.private_bytes(ser.Encoding.PEM, getattr(ser.PrivateFormat, text), ser.NoEncryption())
    creator = connection_creator(certificate=write(tmp_path / "a.pem", data, pem(certificate)))
    assert handshake(creator, "ws.example.org").names == ["ws.example.org"]


def test_a_client_that_does_not_trust_the_root_refuses(tmp_path):
    stranger, _ = make(ca=True, cn="a stranger")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(creator_for(tmp_path, "ws.example.org"), "ws.example.org", trust=stranger)


def test_a_client_that_asks_for_another_name_refuses(tmp_path):
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(creator_for(tmp_path, "ws.example.org"), "other.example.org")


def old_client(maximum):
    context = client_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = maximum
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def test_tls_1_1_is_refused(tmp_path):
    old = Handshake(
        creator_for(tmp_path, "ws.example.org"),
        "ws.example.org",
        old_client(ssl.TLSVersion.TLSv1_1),
    )
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        old.run()


def test_tls_1_2_is_accepted_with_forward_secrecy_and_without_a_session_ticket(tmp_path):
    context = old_client(ssl.TLSVersion.TLSv1_2)
    done = Handshake(creator_for(tmp_path, "ws.example.org"), "ws.example.org", context).run()
    assert done.client.version() == "TLSv1.2"
    assert done.client.cipher()[0].startswith("ECDHE-ECDSA-")
    assert not done.client.session.has_ticket
    assert done.client.session.id == b""


@pytest.mark.parametrize("cipher", ["AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-SHA"])
def test_a_cipher_without_forward_secrecy_or_without_aead_is_refused(tmp_path, cipher):
    context = old_client(ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        Handshake(creator_for(tmp_path, "ws.example.org"), "ws.example.org", context).run()


def test_a_session_is_not_resumed(tmp_path):
    creator = creator_for(tmp_path, "ws.example.org")
    context = old_client(ssl.TLSVersion.TLSv1_2)
    first = Handshake(creator, "ws.example.org", context).run()
    second = Handshake(creator, "ws.example.org", context)
    second.client.session = first.client.session
    assert not second.run().client.session_reused


def test_h2_is_never_chosen_even_when_the_client_prefers_it(tmp_path):
    done = handshake(
        creator_for(tmp_path, "ws.example.org"), "ws.example.org", alpn=("h2", "http/1.1")
    )
    assert done.client.selected_alpn_protocol() == "http/1.1"


def test_a_client_without_alpn_is_served(tmp_path):
    done = handshake(creator_for(tmp_path, "ws.example.org"), "ws.example.org", alpn=())
    assert done.client.selected_alpn_protocol() is None


def test_a_client_that_speaks_other_protocols_only_is_refused(tmp_path):
    refused = Handshake(
        creator_for(tmp_path, "ws.example.org"), "ws.example.org", client_context(alpn=("h2",))
    )
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        refused.run()
    # Twisted ends the connection for this class of error and logs a traceback for any other.
    assert isinstance(refused.failure, SSL.Error)


def test_an_error_of_a_connection_does_not_keep_it_alive(tmp_path):
    """Twisted keeps the error in a cycle; OpenSSL's memory must not wait for its collection."""
    server = creator_for(tmp_path, "ws.example.org").serverConnectionForTLS(None)
    server.set_accept_state()
    server.bio_shutdown()
    kept = []
    try:
        server.recv(100)
    except SSL.Error as error:
        kept.append(error)
    gone = weakref.ref(server)
    del server
    assert kept[0].__traceback__ is not None
    assert gone() is None


def test_compression_and_renegotiation_are_off():
    context = _context(Identity(*make_identity("a.example")))
    options = context.set_options(0)
    for option in (SSL.OP_NO_COMPRESSION, SSL.OP_NO_RENEGOTIATION, SSL.OP_NO_TICKET):
        assert options & option


def make_identity(name):
    certificate, key = make(name)
    return certificate, (), key, "test"


def test_garbage_instead_of_a_client_hello_is_a_tls_error(tmp_path):
    server = creator_for(tmp_path, "ws.example.org").serverConnectionForTLS(None)
    server.set_accept_state()
    server.bio_write(b"GET / HTTP/1.1\r\nHost: ws.example.org\r\n\r\n")
    with pytest.raises(SSL.Error):
        server.do_handshake()


# SNI


@pytest.fixture
def folder(tmp_path):
    write_pair(tmp_path, "a.pem", "a.example", "www.a.example")
    write_pair(tmp_path, "b.crt", "b.example")
    write_pair(tmp_path, "c.pem", "*.c.example", "exact.c.example.org")
    write_pair(tmp_path, "d.pem", "exact.c.example")
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("a.example", "a.example"),
        ("www.a.example", "a.example"),
        ("b.example", "b.example"),
        ("B.Example", "b.example"),
        ("any.c.example", "*.c.example"),
        ("exact.c.example", "exact.c.example"),
        ("deep.any.c.example", "a.example"),
        ("c.example", "a.example"),
        ("unknown.example", "a.example"),
        ("localhost", "a.example"),
        (None, "a.example"),
    ],
)
def test_the_name_that_the_client_asks_for_chooses_the_certificate(folder, asked, first):
    assert shown(connection_creator(certificates=str(folder)), asked)[0] == first


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_chosen_certificate_verifies_and_keeps_every_other_setting(folder, version):
    context = client_context(alpn=("h2", "http/1.1"))
    context.maximum_version = version
    creator = connection_creator(certificates=str(folder))
    done = Handshake(creator, "any.c.example", context).run()
    assert done.client.selected_alpn_protocol() == "http/1.1"
    assert done.server.get_context() is creator._context_for(b"any.c.example")


def test_names_that_no_client_sends_are_harmless(folder):
    creator = connection_creator(certificates=str(folder))
    default = creator._context_for(None)
    for name in (b"", b".", b"..", b"\xff\x00", b"*", b"a" * 255, b"a.example\x00.evil.example"):
        assert creator._context_for(name) is default
    assert creator._context_for(b"b.example.") is creator._context_for(b"b.example") is not default


def test_the_single_certificate_is_the_default_of_a_folder(folder, tmp_path):
    single = write_pair(tmp_path / "elsewhere", "z.pem", "z.example")
    creator = connection_creator(certificate=single, certificates=str(folder))
    assert shown(creator, "unknown.example") == ["z.example"]
    assert shown(creator, "b.example") == ["b.example"]


@pytest.mark.parametrize("order", [("1.pem", "2.pem"), ("2.pem", "1.pem")])
def test_of_two_certificates_for_one_name_the_one_that_lasts_longer_is_shown(tmp_path, order):
    write_pair(tmp_path, order[0], "a.example", "short.example", days=(-1, 5))
    write_pair(tmp_path, order[1], "a.example", "long.example", days=(-1, 50))
    write_pair(tmp_path, "0.pem", "default.example")
    assert "long.example" in shown(connection_creator(certificates=str(tmp_path)), "a.example")


def test_certbots_folders_are_read_through_their_links(tmp_path):
    archive, live = tmp_path / "archive", tmp_path / "live"
    for name in ("one.example", "two.example"):
        pair = leaf(name)
        write(archive / name / "fullchain1.pem", chain_pem(pair))
        write(archive / name / "cert1.pem", pem(pair[0]))
        write(archive / name / "chain1.pem", pem(intermediate()[0]))
        write(archive / name / "privkey1.pem", key_pem(pair[1]))
        (live / name).mkdir(parents=True)
        for part in ("fullchain", "cert", "chain", "privkey"):
            (live / name / f"{part}.pem").symlink_to(archive / name / f"{part}1.pem")
    write(live / "README", b"This directory contains your keys and certificates.")
    creator = connection_creator(certificates=str(live))
    assert handshake(creator, "one.example").names == ["one.example"]
    assert handshake(creator, "two.example").names == ["two.example"]


def test_one_of_certbots_folders_may_be_given_itself(tmp_path):
    pair = leaf("one.example")
    write(tmp_path / "fullchain.pem", chain_pem(pair))
    write(tmp_path / "cert.pem", pem(pair[0]))
    write(tmp_path / "privkey.pem", key_pem(pair[1]))
    assert handshake(connection_creator(certificates=str(tmp_path)), "one.example")


@pytest.mark.parametrize("key_name", ["a.key", "a-key.pem", "privkey.pem"])
def test_a_key_beside_its_certificate_is_found(tmp_path, key_name):
    pair = leaf("a.example")
    write(tmp_path / "a.crt", chain_pem(pair))
    write(tmp_path / key_name, key_pem(pair[1]))
    assert handshake(connection_creator(certificates=str(tmp_path)), "a.example")


def test_other_things_in_the_folder_are_passed_over(folder, warned):
    write(
        folder / "dhparams.pem", b"-----BEGIN DH PARAMETERS-----\nMA==\n-----END DH PARAMETERS-----"
    )
    write(folder / "notes.txt", b"nothing")
    write(folder / ".hidden.pem", b"nothing")
    write(folder / ".hidden" / "a.pem", b"nothing")
    write(folder / "intermediate.pem", pem(intermediate()[0]))
    assert shown(connection_creator(certificates=str(folder)), "b.example") == ["b.example"]
    assert ["intermediate.pem" in text for text in warned()] == [True]


def test_a_self_made_certificate_that_calls_itself_an_authority_is_used(tmp_path):
    # What `openssl req -x509` makes.
    certificate, key = make("own.example", ca=True)
    write(tmp_path / "own.pem", pem(certificate), key_pem(key))
    creator = connection_creator(certificates=str(tmp_path))
    assert handshake(creator, "own.example", trust=certificate)


def test_a_certificate_without_names_serves_clients_as_the_default(tmp_path):
    certificate, key = make(issuer=intermediate(), cn="old style")
    data = [pem(certificate, intermediate()[0]), key_pem(key)]
    creator = connection_creator(certificate=write(tmp_path / "a.pem", *data))
    context = client_context()
    context.check_hostname = False
    assert Handshake(creator, None, context).run().client.getpeercert()["subject"]


def test_no_file_is_read_after_the_start(folder):
    creator = connection_creator(certificates=str(folder))
    for file in folder.iterdir():
        file.unlink()
    assert shown(creator, "b.example") == ["b.example"]


# --self-signed


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_self_signed_certificate_is_for_this_host(name):
    creator = connection_creator(self_signed=True)
    first = Handshake(creator, name, ssl._create_unverified_context()).run()
    certificate = x509.load_der_x509_certificate(first.client.getpeercert(binary_form=True))
    verified = handshake(creator, name, trust=certificate)
    assert verified.names[0] == "localhost"
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert 29 * DAY < left <= 30 * DAY
    assert isinstance(certificate.public_key().curve, ec.SECP256R1)


@pytest.mark.parametrize(
    ("host", "added"), [("web-1.example", ["web-1.example"]), ("no_such ñ", []), ("", [])]
)
def test_the_hosts_name_is_added_where_a_certificate_can_say_it(monkeypatch, host, added):
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    creator = connection_creator(self_signed=True)
    done = Handshake(creator, "localhost", ssl._create_unverified_context()).run()
    certificate = x509.load_der_x509_certificate(done.client.getpeercert(binary_form=True))
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.DNSName) == ["localhost", *added]


def test_each_self_signed_certificate_has_a_key_of_its_own():
    def key():
        creator = connection_creator(self_signed=True)
        done = Handshake(creator, "localhost", ssl._create_unverified_context()).run()
        return done.client.getpeercert(binary_form=True)

    assert key() != key()


# What is wrong with a certificate, in one line


def error_of(**options):
    with pytest.raises(TLSError) as caught:
        connection_creator(**options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_nothing_given_is_no_creator():
    assert connection_creator() is None


def test_a_missing_certificate_is_named(tmp_path):
    assert error_of(certificate=f"{tmp_path}/no.pem") == (
        f"--certificate {tmp_path}/no.pem: No such file or directory; "
        "give a PEM file that wsgate's user may read"
    )


def test_a_folder_as_the_certificate_is_named(tmp_path):
    assert "Is a directory; give a PEM file" in error_of(certificate=str(tmp_path))


def test_a_missing_key_file_is_named(tmp_path):
    certificate = write_pair(tmp_path, "a.pem", "a.example")
    assert error_of(certificate=certificate, private_key=f"{tmp_path}/no.pem") == (
        f"--private-key {tmp_path}/no.pem: No such file or directory; "
        "give a PEM file that wsgate's user may read"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x30\x82\x01\x0a\x00",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n",
    ],
)
def test_a_certificate_that_is_not_pem_is_named(tmp_path, data):
    key = write(tmp_path / "key.pem", key_pem(leaf("a.example")[1]))
    certificate = write(tmp_path / "a.pem", data)
    assert error_of(certificate=certificate, private_key=key) == (
        f"--certificate {certificate}: holds no PEM certificate that can be used; right is a text "
        "that begins with -----BEGIN CERTIFICATE-----"
    )


def test_a_certificate_without_a_key_is_named(tmp_path):
    certificate = write(tmp_path / "a.pem", chain_pem(leaf("a.example")))
    assert error_of(certificate=certificate) == (
        f"--certificate {certificate}: holds no PEM private key that can be used; right is a "
        "text that begins with -----BEGIN PRIVATE KEY-----, in the certificate's file or in one "
        "of its own"
    )


def test_a_broken_key_is_named(tmp_path):
    data = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    certificate = write(tmp_path / "a.pem", chain_pem(leaf("a.example")), data)
    assert "holds no PEM private key that can be used" in error_of(certificate=certificate)


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_an_encrypted_key_is_named_and_nobody_is_asked_for_a_password(tmp_path, form):
    pair = leaf("a.example")
    data = pair[1].private_bytes(
        ser.Encoding.PEM, getattr(ser.PrivateFormat, form), ser.BestAvailableEncryption(b"secret")
    )
    certificate = write(tmp_path / "a.pem", chain_pem(pair))
    key = write(tmp_path / "key.pem", data)
    assert error_of(certificate=certificate, private_key=key) == (
        f"--private-key {key}: the private key is encrypted and a service has nobody to ask; "
        "decrypt it with: openssl pkey -in FILE -out NEWFILE"
    )


def test_a_key_that_does_not_match_is_named(tmp_path):
    certificate = write(tmp_path / "a.pem", chain_pem(leaf("a.example")))
    key = write(tmp_path / "key.pem", key_pem(leaf("b.example")[1]))
    assert error_of(certificate=certificate, private_key=key) == (
        f"--private-key {key}: the private key does not match the certificate; "
        "give the key that this certificate was requested with"
    )


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 1024), dsa.generate_private_key(1024)]
)
def test_a_weak_key_is_named(tmp_path, key):
    certificate, _ = make("a.example", issuer=root(), key=key)
    file = write(tmp_path / "a.pem", pem(certificate), key_pem(key))
    text = error_of(certificate=file)
    assert text.startswith(f"--certificate {file}: OpenSSL refuses it (")
    assert text.endswith("; give an RSA key of at least 2048 bits or an ECDSA key")


def test_a_key_without_a_certificate_is_named():
    assert error_of(private_key="key.pem") == (
        "--private-key key.pem: needs --certificate FILE, the chain it is for"
    )


@pytest.mark.parametrize("other", ["certificate", "certificates"])
def test_self_signed_goes_with_nothing_else(other):
    assert error_of(self_signed=True, **{other: "x"}) == (
        "--self-signed: leave it out when --certificate or --certificates is given"
    )


def test_a_missing_folder_is_named(tmp_path):
    assert error_of(certificates=f"{tmp_path}/no") == (
        f"--certificates {tmp_path}/no: {tmp_path}/no: No such file or directory; "
        "give a folder of PEM files that wsgate's user may read"
    )


def test_a_folder_without_certificates_is_named(tmp_path):
    write(tmp_path / "README", b"")
    write(tmp_path / "key.pem", key_pem(leaf("a.example")[1]))
    assert error_of(certificates=str(tmp_path)).startswith(
        f"--certificates {tmp_path}: no certificate with its key in it; put NAME.pem"
    )


def test_in_a_folder_the_file_is_named(tmp_path):
    write_pair(tmp_path, "a.pem", "a.example")
    write(tmp_path / "sub" / "b.crt", chain_pem(leaf("b.example")))
    write(tmp_path / "sub" / "b.key", key_pem(leaf("a.example")[1]))
    assert error_of(certificates=str(tmp_path)).startswith(
        f"--certificates {tmp_path}: sub/b.crt: the private key does not match the certificate;"
    )


def test_a_dangling_link_in_a_folder_is_named(tmp_path):
    (tmp_path / "a.pem").symlink_to(tmp_path / "gone.pem")
    assert error_of(certificates=str(tmp_path)).startswith(
        f"--certificates {tmp_path}: a.pem: No such file or directory"
    )


def test_a_certificate_file_in_a_folder_that_is_not_pem_is_named(tmp_path):
    write(tmp_path / "a.crt", b"\x30\x82")
    assert "a.crt: holds no PEM certificate" in error_of(certificates=str(tmp_path))


@pytest.mark.parametrize(
    ("days", "text"), [((-9, -2), "expired on"), ((2, 9), "not valid before"), ((-1, 1), None)]
)
def test_a_certificate_out_of_its_time_is_used_with_a_warning(tmp_path, warned, days, text):
    file = write_pair(tmp_path, "a.pem", "a.example", days=days)
    creator = connection_creator(certificate=file)
    if text is None:
        assert warned() == []
        return
    (warning,) = warned()
    assert warning.startswith(
        f"--certificate {file}: {text} {(NOW + days[text[0] == 'e'] * DAY).date()}"
    )
    with pytest.raises(ssl.SSLCertVerificationError, match=r"expired|not yet valid"):
        handshake(creator, "a.example")


# Port strings


def listened(description, creator=None):
    """What a description asks of the reactor: (port, interface, backlog, type of factory)."""
    memory = MemoryReactor()
    server_endpoint(memory, description, creator).listen(Factory.forProtocol(Protocol))
    ((port, factory, backlog, interface),) = memory.tcpServers
    return port, interface, backlog, type(factory)


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("tls:443", (443, "::", 1024, TLSMemoryBIOFactory)),
        ("TLS:443", (443, "::", 1024, TLSMemoryBIOFactory)),
        ("tls:0", (0, "::", 1024, TLSMemoryBIOFactory)),
        ("tls:65535", (65535, "::", 1024, TLSMemoryBIOFactory)),
        ("tls:443:interface=127.0.0.1:backlog=5", (443, "127.0.0.1", 5, TLSMemoryBIOFactory)),
        ("tls:443:backlog=5:interface=127.0.0.1", (443, "127.0.0.1", 5, TLSMemoryBIOFactory)),
        (r"tls:443:interface=\:\:1", (443, "::1", 1024, TLSMemoryBIOFactory)),
        ("tls:443:interface=", (443, "::", 1024, TLSMemoryBIOFactory)),
        ("haproxy:tls:443", (443, "::", 1024, ProxiedFactory)),
        ("tcp:8080", (8080, "", 1024, Factory)),
        ("tcp:8080:interface=127.0.0.1", (8080, "127.0.0.1", 1024, Factory)),
        ("tcp:8080:backlog=7", (8080, "", 7, Factory)),
        ("tcp:8080:127.0.0.1", (8080, "127.0.0.1", 50, Factory)),
        (r"tcp6:8080:interface=\:\:1", (8080, "::1", 1024, Factory)),
        ("haproxy:tcp:8080", (8080, "", 1024, ProxiedFactory)),
        ("haproxy:tcp:8080:backlog=9", (8080, "", 9, ProxiedFactory)),
    ],
)
def test_a_port_string_listens(description, expected):
    assert listened(description, connection_creator(self_signed=True)) == expected


def test_the_proxy_header_comes_before_tls():
    memory = MemoryReactor()
    endpoint = server_endpoint(memory, "haproxy:tls:443", connection_creator(self_signed=True))
    endpoint.listen(Factory.forProtocol(Protocol))
    assert isinstance(memory.tcpServers[0][1].wrappedFactory, TLSMemoryBIOFactory)


def test_a_unix_socket_gets_the_larger_backlog_too():
    memory = MemoryReactor()
    server_endpoint(memory, "unix:/run/wsgate.sock:mode=660", None).listen(Factory())
    assert memory.unixServers[0][0] == "/run/wsgate.sock"
    assert memory.unixServers[0][2:4] == (1024, 0o660)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_twisteds_own_tls_string_keeps_its_meaning(tmp_path):
    write_pair(tmp_path, "a.pem", "a.example")
    assert listened(f"tls:{tmp_path}:port=8443") == (8443, "::", 1024, TLSMemoryBIOFactory)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_folder_whose_name_is_a_number_is_reached_by_its_path(tmp_path, monkeypatch):
    write_pair(tmp_path / "443", "a.pem", "a.example")
    monkeypatch.chdir(tmp_path)
    assert listened("tls:./443:port=8443") == (8443, "::", 1024, TLSMemoryBIOFactory)


def test_twisteds_ssl_string_keeps_its_meaning(tmp_path):
    file = write_pair(tmp_path, "a.pem", "a.example")
    memory = MemoryReactor()
    server_endpoint(memory, f"ssl:443:privateKey={file}", None).listen(Factory())
    assert memory.sslServers[0][0] == 443
    assert memory.sslServers[0][3] == 1024


@pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_without_ipv6_all_addresses_are_those_of_ipv4(code):
    class NoIPv6(MemoryReactor):
        def listenTCP(self, port, factory, backlog=50, interface=""):
            if ":" in interface:
                raise CannotListenError(interface, port, OSError(code, "no IPv6"))
            return super().listenTCP(port, factory, backlog, interface)

    memory = NoIPv6()
    server_endpoint(memory, "tls:443", connection_creator(self_signed=True)).listen(Factory())
    assert [(port, interface) for port, _, _, interface in memory.tcpServers] == [(443, "")]


def test_a_port_that_is_taken_is_an_error_and_not_tried_again_on_ipv4():
    class Taken(MemoryReactor):
        def listenTCP(self, port, *_arguments, interface="", **_options):
            raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, "in use"))

    endpoint = server_endpoint(Taken(), "tls:443", connection_creator(self_signed=True))
    failures = []
    endpoint.listen(Factory()).addErrback(failures.append)
    assert failures[0].check(CannotListenError)


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ("tls:65536", "'65536' is no port; right is a number from 0 to 65535"),
        ("tls:443:backlog=0", "the backlog '0' is no number of waiting connections"),
        ("tls:443:backlog=x", "the backlog 'x' is no number of waiting connections"),
        ("tls:443:interface=localhost", "the interface 'localhost' is no IP address"),
        ("tls:443:interface=::1", r"IPv6 with \: for each colon: interface=\:\:1"),
        ("tls:443:port=8443", "'port=8443' is not an option of tls:PORT"),
        ("tls:443:443", "'443' is not an option of tls:PORT"),
        ("tls", "'' is no port and no folder with *.pem files"),
        ("tls:", "'' is no port and no folder with *.pem files"),
        ("tls:/no/such/folder:port=443", "'/no/such/folder' is no port and no folder"),
        ("tls:x443", "'x443' is no port and no folder with *.pem files"),
        ("haproxy:tls:65536", "'65536' is no port"),
        ("tcp:abc", "'abc' is no port"),
        ("tcp:65536", "'65536' is no port"),
        ("tcp:-1", "'-1' is no port"),
        ("tcp", "missing 1 required positional argument: 'port'"),
        ("tcp:80:colour=red", "got an unexpected keyword argument 'colour'"),
        ("tcp:80:interface=::1", r"tcp6:8080:interface=\:\:1"),
        ("http:80", "Unknown endpoint type: 'http'; right would be tcp:8080, tls:443, unix:"),
        ("443", "Unknown endpoint type: '443'; right would be tcp:8080"),
        ("", "Unknown endpoint type: ''"),
        ("haproxy:", "Unknown endpoint type: ''"),
        ("ssl:443:privateKey=/no/such/key.pem", "/no/such/key.pem: No such file or directory"),
        ("ssl:443:privateKey=/dev/null", "its files are not a PEM certificate and the key"),
        ("unix:/run/x:mode=rwx", "invalid literal for int() with base 8: 'rwx'"),
        ("systemd:domain=INET:index=9", "systemd passed no such socket"),
    ],
)
def test_a_port_string_that_is_wrong_is_one_line_that_says_what_is_right(description, reason):
    with pytest.raises(TLSError) as caught:
        server_endpoint(MemoryReactor(), description, connection_creator(self_signed=True))
    text = str(caught.value)
    assert text.startswith(f"--port {description}: ")
    assert reason in text
    assert "right" in text
    assert "\n" not in text
    assert "_parse" not in text


def test_tls_without_a_certificate_names_the_options():
    with pytest.raises(TLSError) as caught:
        server_endpoint(MemoryReactor(), "tls:443", None)
    assert str(caught.value) == (
        "--port tls:443: needs a certificate; give --certificate FILE and --private-key FILE, "
        "or --certificates DIR, or --self-signed for trying things out"
    )


# Through Twisted, over loopback


class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


def connected(port, context, name):
    """A socket after its TLS handshake. Runs in a thread."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


def talk(port, context, name):
    """Say hello over TLS; the answer and the certificate's names. Runs in a thread."""
    with connected(port, context, name) as client:
        client.sendall(b"hello")
        answer = client.recv(5)
        names = [value for _, value in client.getpeercert()["subjectAltName"]]
        client.unwrap()
        return answer, names


class LoopbackTests(TestCase):
    """Through the real reactor: the endpoint, Twisted's TLS and a verifying client."""

    timeout = 60

    def folder(self):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        write_pair(folder, "a.pem", "a.example")
        write_pair(folder, "b.pem", "*.b.example")
        return folder

    async def listening(self, description, creator):
        port = await server_endpoint(reactor, description, creator).listen(
            Factory.forProtocol(Echo)
        )
        self.addCleanup(port.stopListening)
        return port.getHost().port

    async def test_a_verifying_client_is_answered_by_the_certificate_it_asked_for(self):
        creator = connection_creator(certificates=str(self.folder()))
        port = await self.listening("tls:0", creator)
        for name, shown_name in (("a.example", "a.example"), ("x.b.example", "*.b.example")):
            answer = await deferToThread(talk, port, client_context(), name)
            self.assertEqual(answer, (b"hello", [shown_name]))

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    async def test_twisteds_own_strings_serve_the_same_client(self):
        folder = self.folder()
        for description in (f"tls:{folder}:port=0", f"ssl:0:privateKey={folder}/a.pem"):
            port = await self.listening(description, None)
            for alpn in ((), ("http/1.1",), ("h2", "http/1.1")):
                context = client_context(alpn=alpn)
                # Twisted's ssl: string sends the leaf alone unless it is given the chain too.
                context.load_verify_locations(cadata=pem(intermediate()[0]).decode())
                answer = await deferToThread(talk, port, context, "a.example")
                self.assertEqual(answer, (b"hello", ["a.example"]))

    async def test_a_connection_is_gone_when_we_close_it_even_if_the_client_never_says_goodbye(
        self,
    ):
        gone = Deferred()

        class Closes(Protocol):
            def dataReceived(self, _data):
                self.transport.loseConnection()

            def connectionLost(self, reason):
                gone.callback(reason.type)

        creator = connection_creator(certificates=str(self.folder()))
        endpoint = server_endpoint(reactor, "tls:0:interface=127.0.0.1", creator)
        port = await endpoint.listen(Factory.forProtocol(Closes))
        self.addCleanup(port.stopListening)
        client = await deferToThread(connected, port.getHost().port, client_context(), "a.example")
        self.addCleanup(client.close)
        await deferToThread(client.sendall, b"hello")
        # The client neither reads nor writes any more.
        self.assertIs(await gone, ConnectionDone)
        # What it was owed is there all the same: the close_notify, which reads as the end.
        self.assertEqual(await deferToThread(client.recv, 1), b"")

    async def test_what_was_written_before_the_close_arrives_whole(self):
        class Answers(Protocol):
            def dataReceived(self, data):
                self.transport.write(data * 2**20)
                self.transport.loseConnection()

        def ask(port):
            with connected(port, client_context(), "a.example") as client:
                client.sendall(b"x")
                return sum(len(data) for data in iter(lambda: client.recv(65536), b""))

        creator = connection_creator(certificates=str(self.folder()))
        endpoint = server_endpoint(reactor, "tls:0:interface=127.0.0.1", creator)
        port = await endpoint.listen(Factory.forProtocol(Answers))
        self.addCleanup(port.stopListening)
        self.assertEqual(await deferToThread(ask, port.getHost().port), 2**20)

    async def test_a_refused_protocol_closes_the_connection_without_a_traceback(self):
        creator = connection_creator(certificates=str(self.folder()))
        port = await self.listening("tls:0:interface=127.0.0.1", creator)
        failure = await self.assertFailure(
            deferToThread(talk, port, client_context(alpn=("h2",)), "a.example"), ssl.SSLError
        )
        self.assertIn("no application protocol", str(failure))
        self.assertEqual(self.flushLoggedErrors(), [])
