"""Certificates with their chains and keys: from one file, from a folder, or made in memory."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.logger import Logger

from wsgate.tls.errors import TLSError

log = Logger()


class Identity(NamedTuple):
    """A certificate with its key; `chain` leads from it up to, or to below, the root."""

    certificate: x509.Certificate
    chain: Sequence[x509.Certificate]
    key: PrivateKeyTypes
    source: str  # the option and the file, as an error names them


class CertificateFiles(NamedTuple):
    """Which files the certificates of `tls:PORT` are in.

    `certificate` is a PEM file, the chain in any order; the key is in `private_key`, or in the same
    file. `certificates` is a folder: each `*.pem` and `*.crt` in it and in its sub-folders (one
    level, as certbot's `live/NAME/`) with the key in the same file or beside it (`NAME.key`,
    `NAME-key.pem`, `privkey.pem`). `client_ca` is a PEM file of authorities whose certificates
    clients show: they must if `client_required`, else they may.
    """

    certificate: str | None = None
    private_key: str | None = None
    certificates: str | None = None
    client_ca: str | None = None
    client_required: bool = True


class Source(NamedTuple):
    """Where one identity comes from: its name in errors, and how to read it.

    `read` looks at no other files than `paths`, some of which may not be there; it gives None for
    PEM that is no certificate of a server, and raises TLSError.
    """

    name: str
    paths: tuple[Path, ...]
    read: Callable[[], Identity | None]


def sources(files: CertificateFiles) -> list[Source]:
    """Where to find each identity, in the order of precedence. Raises TLSError."""
    found = []
    if files.certificate is not None:
        certificate, key = files.certificate, files.private_key
        name, paths = f"--certificate {certificate}", (Path(certificate), Path(key or certificate))
        found.append(Source(name, paths, lambda: _from_file(certificate, key)))
    if files.certificates is not None:
        folder = Path(files.certificates)
        found += [
            Source(
                _name(folder, file),
                (file, *_keys_beside(file)),
                partial(_from_folder_file, folder, file),
            )
            for file in _files_of(folder)
        ]
    return found


def _from_file(certificate: str, private_key: str | None) -> Identity:
    source = f"--certificate {certificate}"
    data = _read(source, Path(certificate))
    if private_key is None:
        return _identity(source, data, source, data)
    key_source = f"--private-key {private_key}"
    return _identity(source, data, key_source, _read(key_source, Path(private_key)))


def _files_of(folder: Path) -> list[Path]:
    try:
        folders = [folder, *(f for f in folder.iterdir() if f.is_dir() and f.name[0] != ".")]
        return sorted(file for f in folders for file in _certificate_files(f))
    except OSError as error:
        raise TLSError(
            f"--certificates {folder}: {error.filename}: {error.strerror}; give a folder of PEM "
            "files that wsgate's user may read"
        ) from None


def no_certificate(files: CertificateFiles) -> TLSError:
    """The error of a folder without any certificate."""
    return TLSError(
        f"--certificates {files.certificates}: no certificate with its key in it; put NAME.pem "
        "(chain and key) there, or NAME.crt and NAME.key, or NAME/fullchain.pem and "
        "NAME/privkey.pem"
    )


def _name(folder: Path, file: Path) -> str:
    return f"--certificates {folder}: {file.relative_to(folder)}"


def _certificate_files(folder: Path) -> list[Path]:
    names = {f.name for f in folder.iterdir() if f.suffix in (".pem", ".crt") and not f.is_dir()}
    if "fullchain.pem" in names:
        # Certbot's parts of the same thing, without the other half.
        names -= {"cert.pem", "chain.pem"}
    return [folder / name for name in names if name[0] != "."]


def _keys_beside(file: Path) -> list[Path]:
    names = (f"{file.stem}.key", f"{file.stem}-key.pem", "privkey.pem")
    return [file.with_name(name) for name in names]


def _from_folder_file(folder: Path, file: Path) -> Identity | None:
    """The identity that `file` begins; None for PEM that is no certificate, or an authority's."""
    source = _name(folder, file)
    data = key_data = _read(source, file)
    if b"-----BEGIN " in data and b"CERTIFICATE-----" not in data:
        return None
    if b"PRIVATE KEY-----" not in data:
        beside = [path for path in _keys_beside(file) if path.exists()]
        if beside:
            key_data = _read(source, beside[0])
    try:
        return _identity(source, data, source, key_data)
    except TLSError as error:
        if b"PRIVATE KEY-----" in data or not _is_authority(data):
            raise
        log.warn("{error}; left out, it is an authority's certificate", error=error)
        return None


def _is_authority(data: bytes) -> bool:
    try:
        return _says_authority(x509.load_pem_x509_certificates(data)[0])
    except ValueError:
        return False


def _says_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        # Version 1 cannot say it; old roots are like that.
        return certificate.version is x509.Version.v1


def _read(source: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise TLSError(
            f"{source}: {error.strerror}; give a PEM file that wsgate's user may read"
        ) from None


def _identity(source: str, data: bytes, key_source: str, key_data: bytes) -> Identity:
    try:
        certificates = x509.load_pem_x509_certificates(data)
        key = _private_key(key_source, key_data)
        # A chain out of order would be refused by some clients; the key says which one is ours.
        own = [c for c in certificates if c.public_key() == key.public_key()]
    except (ValueError, UnsupportedAlgorithm) as error:
        if isinstance(error, TLSError):
            raise
        raise TLSError(
            f"{source}: holds no PEM certificate that can be used; right is a text that begins "
            "with -----BEGIN CERTIFICATE-----"
        ) from error
    if not own:
        raise TLSError(
            f"{key_source}: the private key does not match the certificate; give the key that this "
            "certificate was requested with"
        )
    return Identity(own[0], [c for c in certificates if c != own[0]], key, source)


def _private_key(source: str, data: bytes) -> PrivateKeyTypes:
    block = re.search(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", data, re.S)
    try:
        if block is None:
            raise ValueError("no key")
        return load_pem_private_key(block[0], None)
    except TypeError:
        raise TLSError(
            f"{source}: the private key is encrypted and a service has nobody to ask; decrypt it "
            "with: openssl pkey -in FILE -out NEWFILE"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise TLSError(
            f"{source}: holds no PEM private key that can be used; right is a text that begins "
            "with -----BEGIN PRIVATE KEY-----, in the certificate's file or in one of its own"
        ) from None


def out_of_time(identity: Identity) -> str | None:
    """Why clients will refuse it today, or None."""
    now = datetime.now(UTC)
    certificate = identity.certificate
    if now > certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc.date()}"
    if now < certificate.not_valid_before_utc:
        return f"not valid before {certificate.not_valid_before_utc.date()}"
    return None


def read_authorities(file: str) -> tuple[x509.Certificate, ...]:
    """The authorities in the PEM file of `--client-ca`. Raises TLSError."""
    source = f"--client-ca {file}"
    try:
        found = x509.load_pem_x509_certificates(_read(source, Path(file)))
        if all(_says_authority(certificate) for certificate in found):
            return tuple(found)
    except ValueError as error:
        if isinstance(error, TLSError):
            raise
        raise TLSError(
            f"{source}: holds no PEM certificate that can be used; give the certificates of the "
            "authorities that sign those of your clients"
        ) from None
    raise TLSError(
        f"{source}: holds a certificate that is no authority's; give those that sign the "
        "certificates of your clients"
    )


def make_self_signed() -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wsgate self-signed")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back: clients' clocks differ.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(_own_names()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .sign(key, hashes.SHA256())
    )
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    log.info("Self-signed certificate for 30 days, SHA-256 {fingerprint}", fingerprint=fingerprint)
    return Identity(certificate, (), key, "--self-signed")


def _own_names() -> list[x509.GeneralName]:
    names = ["localhost"]
    host = socket.gethostname()
    # A host may be called what no certificate can say.
    if host != "localhost" and re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", host):
        names.append(host)
    addresses = [x509.IPAddress(ip_address(text)) for text in ("127.0.0.1", "::1")]
    return [*map(x509.DNSName, names), *addresses]
