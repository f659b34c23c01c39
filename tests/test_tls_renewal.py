"""wsgate.tls: certificates read again while the service runs, and the certificates of clients."""

import contextlib
import datetime
import os
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as ser
from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from tests.test_tls import (
    DAY,
    NOW,
    Handshake,
    chain_pem,
    client_context,
    handshake,
    intermediate,
    key_pem,
    leaf,
    make,
    pem,
    root,
    write,
    write_pair,
)
from wsgate.tls import (
    CertificateFiles,
    CertificateWatch,
    TLSError,
    client_params,
    read_certificates,
)


@pytest.fixture
def logged():
    """What was logged since the last call: (level, text)."""
    events = []
    globalLogPublisher.addObserver(events.append)

    def take():
        taken = [(e["log_level"], formatEvent(e)) for e in events]
        events.clear()
        return taken

    yield take
    globalLogPublisher.removeObserver(events.append)


def fresh(name, days=(-1, 60)):
    """A certificate and key that were not there before."""
    return make(name, issuer=intermediate(), days=days)


def write_fresh(path, name="a.example", days=(-1, 60)):
    pair = fresh(name, days)
    write(path, chain_pem(pair), key_pem(pair[1]))
    return pair[0].serial_number


def serial(certificates, name="a.example"):
    """The serial number of what a client sees that does not verify."""
    context = ssl._create_unverified_context()
    done = Handshake(certificates, name, context).run()
    der = done.client.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).serial_number


@pytest.fixture
def file(tmp_path):
    write_fresh(tmp_path / "a.pem")
    return tmp_path / "a.pem"


def certificates_of(file):
    return read_certificates(CertificateFiles(certificate=str(file)))


# A reload


def test_a_renewed_certificate_is_shown_after_a_reload_and_not_before(file, logged):
    certificates = certificates_of(file)
    old = serial(certificates)
    new = write_fresh(file)
    assert serial(certificates) == old
    certificates.reload()
    assert serial(certificates) == new
    ((level, text),) = logged()
    assert level is LogLevel.info
    assert text.startswith(f"certificates: --certificate {file}: new, valid until ")
    assert f"{new:x}" in text


def test_a_connection_goes_on_with_the_certificate_it_began_with(file):
    certificates = certificates_of(file)
    before = Handshake(certificates, "a.example", ssl._create_unverified_context())
    old = serial(certificates)
    write_fresh(file)
    certificates.reload()
    before.run()
    der = before.client.getpeercert(binary_form=True)
    assert x509.load_der_x509_certificate(der).serial_number == old


BAD = {
    "expired": lambda: _pair_bytes(fresh("a.example", (-9, -2))),
    "not valid before": lambda: _pair_bytes(fresh("a.example", (2, 9))),
    "does not match": lambda: chain_pem(fresh("a.example")) + key_pem(fresh("a.example")[1]),
    "holds no PEM certificate": lambda: b"-----BEGIN CERTIFICATE-----\ncut o",
    "holds no PEM private key": lambda: chain_pem(fresh("a.example")),
    "encrypted": lambda: (
        chain_pem(pair := fresh("a.example")) + key_pem(pair[1], password=b"secret")
    ),
    "No such file": lambda: None,
}


def _pair_bytes(pair):
    return chain_pem(pair) + key_pem(pair[1])


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_one_changes_nothing_and_is_one_error_line(file, logged, reason):
    certificates = certificates_of(file)
    old = serial(certificates)
    data = BAD[reason]()
    if data is None:
        file.unlink()
    else:
        file.write_bytes(data)
    certificates.reload()
    lines = logged()
    assert [level for level, _ in lines if level is not LogLevel.info] == [LogLevel.error]
    (text,) = [text for level, text in lines if level is LogLevel.error]
    assert reason in text
    assert str(file) in text
    assert text.endswith("the certificate it had before stays")
    assert serial(certificates) == old
    new = write_fresh(file)
    certificates.reload()
    assert serial(certificates) == new


def test_a_key_openssl_refuses_changes_nothing(file, logged):
    from cryptography.hazmat.primitives.asymmetric import rsa

    certificates = certificates_of(file)
    old = serial(certificates)
    weak = make("a.example", issuer=root(), key=rsa.generate_private_key(65537, 1024))
    file.write_bytes(pem(weak[0]) + key_pem(weak[1]))
    certificates.reload()
    assert "OpenSSL refuses it" in logged()[0][1]
    assert serial(certificates) == old


def test_an_expired_one_that_was_there_at_the_start_stays_without_a_word(tmp_path, logged):
    file = tmp_path / "a.pem"
    write_fresh(file, days=(-9, -2))
    certificates = certificates_of(file)
    assert "expired" in logged()[0][1]
    certificates.reload()
    assert logged() == [(LogLevel.info, "certificates: read again, none has changed")]


def test_a_self_signed_one_stays(logged):
    certificates = read_certificates(CertificateFiles(), self_signed=True)
    old = serial(certificates)
    logged()
    certificates.reload()
    certificates.look()
    certificates.look()
    assert serial(certificates) == old
    assert [level for level, _ in logged()] == [LogLevel.info]


def test_names_come_and_go_with_the_files_of_a_folder(tmp_path, logged):
    a = write_fresh(tmp_path / "a.pem", "a.example")
    b = write_fresh(tmp_path / "b.pem", "b.example")
    certificates = read_certificates(CertificateFiles(certificates=str(tmp_path)))
    assert serial(certificates, "c.example") == a
    c = write_fresh(tmp_path / "sub" / "c.pem", "c.example")
    (tmp_path / "b.pem").unlink()
    certificates.reload()
    assert serial(certificates, "c.example") == c
    assert serial(certificates, "b.example") == a
    assert b != a
    a = write_fresh(tmp_path / "a.pem", "a.example")
    certificates.reload()
    assert serial(certificates, "a.example") == a
    assert serial(certificates, "c.example") == c
    assert not [text for level, text in logged() if level is LogLevel.error]


def test_one_bad_file_of_a_folder_does_not_keep_the_others_from_being_renewed(tmp_path, logged):
    a = write_fresh(tmp_path / "a.pem", "a.example")
    write_fresh(tmp_path / "b.pem", "b.example")
    certificates = read_certificates(CertificateFiles(certificates=str(tmp_path)))
    (tmp_path / "a.pem").write_bytes(b"half")
    (tmp_path / "new.pem").write_bytes(b"half")
    b = write_fresh(tmp_path / "b.pem", "b.example")
    certificates.reload()
    assert serial(certificates, "a.example") == a
    assert serial(certificates, "b.example") == b
    ends = [text.rpartition("; ")[2] for level, text in logged() if level is LogLevel.error]
    assert ends == ["the certificate it had before stays", "it is left out"]


@pytest.mark.parametrize("how", ["emptied", "removed"])
def test_the_last_certificate_stays_whatever_becomes_of_the_folder(tmp_path, logged, how):
    folder = tmp_path / "certificates"
    old = write_fresh(folder / "a.pem")
    certificates = read_certificates(CertificateFiles(certificates=str(folder)))
    (folder / "a.pem").unlink()
    if how == "removed":
        folder.rmdir()
    certificates.reload()
    assert serial(certificates) == old
    ((level, text),) = logged()
    assert level is LogLevel.error
    assert text.endswith("; all certificates stay as they were")


def test_whoever_asked_is_told_of_renewed_credentials(file):
    certificates = certificates_of(file)
    told = []
    certificates.renewed = told.append
    certificates.reload()
    assert told == []
    new = write_fresh(file)
    certificates.reload()
    ((identity,), _, _) = told[0]
    assert identity.certificate.serial_number == new


def test_unknown_names_cause_no_look_at_the_disk(tmp_path, monkeypatch):
    write_fresh(tmp_path / "a.pem")
    certificates = read_certificates(CertificateFiles(certificates=str(tmp_path)))
    connections = certificates._connections

    def forbidden(*_args, **_options):
        raise AssertionError("the disk was asked")

    with monkeypatch.context() as patched:
        for name in ("stat", "open", "listdir", "scandir", "access"):
            patched.setattr(os, name, forbidden)
        for number in range(10_000):
            assert connections._context_for(b"%d.example" % number) is connections._default
        serial(certificates, "unknown.example")


# Looking for changes


class Watched:
    def __init__(self, certificates, interval=5.0):
        self.clock = Clock()
        self.certificates = certificates
        self.watch = CertificateWatch(self.clock, certificates, interval)
        self.watch.startService()


def test_a_changed_file_is_noticed_once_it_no_longer_changes(file, logged):
    watched = Watched(certificates_of(file))
    old = serial(watched.certificates)
    watched.clock.advance(5)
    new = write_fresh(file)
    watched.clock.advance(5)
    assert serial(watched.certificates) == old
    watched.clock.advance(5)
    assert serial(watched.certificates) == new
    logged()
    watched.clock.pump([5] * 10)
    assert logged() == []


def test_a_chain_and_a_key_written_one_after_the_other_are_read_together(tmp_path, logged):
    old, new = fresh("a.example"), fresh("a.example")
    chain = write(tmp_path / "fullchain.pem", chain_pem(old))
    key = write(tmp_path / "privkey.pem", key_pem(old[1]))
    watched = Watched(
        read_certificates(CertificateFiles(certificate=str(chain), private_key=str(key)))
    )
    write(tmp_path / "fullchain.pem", chain_pem(new))
    watched.clock.advance(5)
    write(tmp_path / "privkey.pem", key_pem(new[1]))
    watched.clock.pump([5, 5])
    assert serial(watched.certificates) == new[0].serial_number
    assert not [text for level, text in logged() if level is LogLevel.error]


def test_a_bad_file_is_logged_once_for_each_change(file, logged):
    watched = Watched(certificates_of(file))
    for text in (b"bad", b"worse"):
        file.write_bytes(text)
        watched.clock.pump([5] * 6)
        assert [level for level, _ in logged() if level is LogLevel.error] == [LogLevel.error]


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path):
    write_fresh(tmp_path / "1.pem")
    new = write_fresh(tmp_path / "2.pem")
    link = tmp_path / "live.pem"
    link.symlink_to("1.pem")
    watched = Watched(certificates_of(link))
    link.unlink()
    link.symlink_to("2.pem")
    watched.clock.pump([5, 5])
    assert serial(watched.certificates) == new


def test_new_files_in_a_folder_are_noticed(tmp_path):
    write_fresh(tmp_path / "a.pem", "a.example")
    (tmp_path / "sub").mkdir()
    watched = Watched(read_certificates(CertificateFiles(certificates=str(tmp_path))))
    new = write_fresh(tmp_path / "sub" / "b.pem", "b.example")
    watched.clock.pump([5, 5])
    assert serial(watched.certificates, "b.example") == new


def test_with_0_nobody_looks_and_after_the_end_neither(file):
    watched = Watched(certificates_of(file), 0)
    assert not watched.clock.getDelayedCalls()
    watched = Watched(certificates_of(file))
    watched.watch.stopService()
    assert not watched.clock.getDelayedCalls()


def test_a_key_that_can_no_longer_be_read_is_one_line_at_the_start(file, logged, monkeypatch):
    certificates = certificates_of(file)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    Watched(certificates)
    ((level, text),) = logged()
    assert level is LogLevel.warn
    assert str(file) in text
    assert "needs a restart" in text


# Clients' certificates


@pytest.fixture(scope="module")
def authority():
    return make(ca=True, cn="client authority")


def client_files(tmp_path, authority, **more):
    ca = write(tmp_path / "clients.pem", pem(authority[0]))
    server = write_pair(tmp_path, "server.pem", "a.example")
    return CertificateFiles(certificate=server, client_ca=ca, **more)


def showing(tmp_path, pair, *, maximum=None):
    """A client's context that shows `pair`, if any."""
    context = client_context()
    if maximum is not None:
        context.maximum_version = maximum
    if pair is not None:
        file = write(tmp_path / "client.pem", pem(pair[0]), key_pem(pair[1]))
        context.load_cert_chain(file)
    return context


class Spoken:
    """As much of a TLS transport as `client_params` looks at."""

    def __init__(self, connection):
        self.getHandle = lambda: connection


def verified(tmp_path, files, pair, **options):
    """What PHP sees of a client that shows `pair`; None if its handshake fails."""
    certificates = read_certificates(files)
    shake = Handshake(certificates, "a.example", showing(tmp_path, pair, **options))
    try:
        shake.run()
        shake._serve()
    except ssl.SSLError:
        return None
    return None if shake.failure else dict(client_params(Spoken(shake.server)))


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("required", [True, False])
def test_a_good_certificate_is_told_to_php(tmp_path, authority, required, version):
    pair = make(issuer=authority, cn="alice")
    files = client_files(tmp_path, authority, client_required=required)
    params = verified(tmp_path, files, pair, maximum=version)
    assert params[b"SSL_CLIENT_VERIFY"] == b"SUCCESS"
    assert params[b"SSL_CLIENT_S_DN"] == b"CN=alice"
    assert params[b"SSL_CLIENT_I_DN"] == b"CN=client authority"
    assert int(params[b"SSL_CLIENT_M_SERIAL"], 16) == pair[0].serial_number
    assert params[b"SSL_CLIENT_V_END"].endswith(b" GMT")


@pytest.mark.parametrize("version", VERSIONS)
def test_without_a_certificate_it_depends_on_the_setting(tmp_path, authority, version):
    required = client_files(tmp_path, authority)
    assert verified(tmp_path, required, None, maximum=version) is None
    optional = required._replace(client_required=False)
    assert verified(tmp_path, optional, None, maximum=version) == {b"SSL_CLIENT_VERIFY": b"NONE"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("kind", ["stranger", "expired", "self-signed", "server's own chain"])
def test_a_bad_certificate_ends_the_handshake(tmp_path, authority, required, version, kind):
    pair = {
        "stranger": lambda: make(issuer=make(ca=True, cn="client authority"), cn="alice"),
        "expired": lambda: make(issuer=authority, cn="alice", days=(-9, -2)),
        "self-signed": lambda: make(cn="alice"),
        "server's own chain": lambda: leaf("alice.example"),
    }[kind]()
    files = client_files(tmp_path, authority, client_required=required)
    assert verified(tmp_path, files, pair, maximum=version) is None


def test_a_connection_that_was_not_asked_has_no_variables(tmp_path):
    certificates = certificates_of(write_pair(tmp_path, "a.pem", "a.example"))
    done = handshake(certificates, "a.example")
    assert client_params(Spoken(done.server)) == []
    assert client_params(object()) == []


def test_every_name_asks_its_clients(tmp_path, authority):
    write_pair(tmp_path / "folder", "a.pem", "a.example")
    write_pair(tmp_path / "folder", "b.pem", "b.example")
    files = client_files(tmp_path, authority)._replace(
        certificate=None, certificates=str(tmp_path / "folder")
    )
    for name in ("a.example", "b.example"):
        shake = Handshake(read_certificates(files), name, showing(tmp_path, None))
        with contextlib.suppress(ssl.SSLError):
            shake.run()
        assert "peer did not return a certificate" in str(shake.failure)


def test_an_authority_is_read_again_too(tmp_path, authority, logged):
    other = make(ca=True, cn="other authority")
    pair = make(issuer=other, cn="alice")
    files = client_files(tmp_path, authority)
    certificates = read_certificates(files)

    def works():
        shake = Handshake(certificates, "a.example", showing(tmp_path, pair)).run()
        shake._serve()
        return shake.failure is None

    assert not works()
    write(tmp_path / "clients.pem", pem(authority[0], other[0]))
    certificates.reload()
    assert works()
    write(tmp_path / "clients.pem", b"nothing")
    certificates.reload()
    assert works()
    assert "the authorities stay as they were" in logged()[-2][1]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "holds no PEM certificate that can be used"),
        (b"hello", "holds no PEM certificate that can be used"),
        (None, "No such file or directory"),
        ("leaf", "no authority's"),
    ],
)
def test_what_is_no_authority_is_named(tmp_path, authority, data, reason):
    files = client_files(tmp_path, authority)
    file = tmp_path / "clients.pem"
    if data is None:
        file.unlink()
    else:
        file.write_bytes(pem(leaf("a.example")[0]) if data == "leaf" else data)
    with pytest.raises(TLSError) as caught:
        read_certificates(files)
    assert str(caught.value).startswith(f"--client-ca {file}: ")
    assert reason in str(caught.value)


NAMES = [
    [("CN", "alice"), ("O", "Acme, Inc."), ("C", "DE")],
    [("CN", 'q"u\\o+t<e>;'), ("emailAddress", "a@b.example")],
    [("CN", " space "), ("OU", "#hash"), ("L", "a=b")],
    [("CN", "Zoë Ünï ☃"), ("O", "tab\there")],
]
OIDS = {
    "CN": x509.NameOID.COMMON_NAME,
    "O": x509.NameOID.ORGANIZATION_NAME,
    "OU": x509.NameOID.ORGANIZATIONAL_UNIT_NAME,
    "L": x509.NameOID.LOCALITY_NAME,
    "C": x509.NameOID.COUNTRY_NAME,
    "emailAddress": x509.NameOID.EMAIL_ADDRESS,
}


@pytest.mark.parametrize("parts", NAMES)
def test_names_and_numbers_are_written_as_openssl_and_so_nginx_write_them(tmp_path, parts):
    import subprocess

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    from wsgate.tls import clients

    name = x509.Name([x509.NameAttribute(OIDS[short], value) for short, value in parts])
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(0x0ABC)
        .not_valid_before(datetime.datetime(2026, 1, 2, 3, 4, 5))
        .not_valid_after(NOW + DAY)
        .sign(key, hashes.SHA256())
    )
    asked = ("-subject", "-nameopt", "RFC2253", "-serial", "-startdate")
    command = ["openssl", "x509", "-noout", *asked]
    said = subprocess.run(
        command, input=certificate.public_bytes(ser.Encoding.PEM), capture_output=True, check=True
    ).stdout.splitlines()
    assert b"subject=" + clients._name(certificate.subject) == said[0]
    assert b"serial=" + clients._serial(certificate.serial_number) == said[1]
    assert b"notBefore=" + clients._date(certificate.not_valid_before_utc) == said[2]


def test_no_context_is_changed_after_its_first_use(file):
    certificates = certificates_of(file)
    context = certificates._connections._default
    certificates.reload()
    write_fresh(file)
    certificates.reload()
    assert certificates._connections._default is not context
    assert isinstance(context, SSL.Context)


def age(path, seconds):
    """As if nobody had touched it for so long."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - seconds * 10**9))


def test_files_that_have_not_changed_are_not_read_again_and_keep_their_contexts(
    tmp_path, monkeypatch
):
    for name in ("a", "b", "c"):
        write_fresh(tmp_path / f"{name}.pem", f"{name}.example")
        age(tmp_path / f"{name}.pem", 60)
    certificates = read_certificates(CertificateFiles(certificates=str(tmp_path)))
    before = certificates._connections
    read = []
    read_bytes = type(tmp_path).read_bytes
    monkeypatch.setattr(
        type(tmp_path), "read_bytes", lambda path: read.append(path.name) or read_bytes(path)
    )
    b = write_fresh(tmp_path / "b.pem", "b.example")
    certificates.reload()
    after = certificates._connections
    assert read == ["b.pem"]
    assert serial(certificates, "b.example") == b
    assert after._context_for(b"c.example") is before._context_for(b"c.example")
    # It finds the others for its clients, so it cannot be shared.
    assert after._default is not before._default
    # Written just now, it may have been written again within the resolution of its time.
    read.clear()
    certificates.reload()
    assert read == ["b.pem"]
    age(tmp_path / "b.pem", 60)
    for expected in (["b.pem"], []):
        read.clear()
        certificates.reload()
        assert read == expected


def test_a_bad_file_is_read_again_at_each_reload(file, logged):
    certificates = certificates_of(file)
    file.write_bytes(b"bad")
    age(file, 60)
    for _ in range(2):
        certificates.reload()
        assert [level for level, _ in logged()] == [LogLevel.error, LogLevel.info]


def test_other_authorities_need_other_contexts(tmp_path, authority):
    write_pair(tmp_path / "folder", "a.pem", "a.example")
    write_pair(tmp_path / "folder", "b.pem", "b.example")
    files = client_files(tmp_path, authority)._replace(
        certificate=None, certificates=str(tmp_path / "folder")
    )
    certificates = read_certificates(files)
    before = certificates._connections._context_for(b"b.example")
    write(tmp_path / "clients.pem", pem(authority[0], make(ca=True, cn="other")[0]))
    certificates.reload()
    assert certificates._connections._context_for(b"b.example") is not before
