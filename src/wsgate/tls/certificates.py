"""Certificates with their chains and keys: from one file, from a folder, or made in memory."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
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


def from_file(certificate: str, private_key: str | None) -> Identity:
    source = f"--certificate {certificate}"
    data = _read(source, Path(certificate))
    if private_key is None:
        return _identity(source, data, source, data)
    key_source = f"--private-key {private_key}"
    return _identity(source, data, key_source, _read(key_source, Path(private_key)))


def from_folder(folder: Path) -> list[Identity]:
    try:
        folders = [folder, *(f for f in folder.iterdir() if f.is_dir() and f.name[0] != ".")]
        files = sorted(file for f in folders for file in _certificate_files(f))
    except OSError as error:
        raise TLSError(
            f"--certificates {folder}: {error.filename}: {error.strerror}; give a folder of PEM "
            "files that wsgate's user may read"
        ) from None
    identities = [identity for file in files if (identity := _from_folder_file(folder, file))]
    if not identities:
        raise TLSError(
            f"--certificates {folder}: no certificate with its key in it; put NAME.pem (chain and "
            "key) there, or NAME.crt and NAME.key, or NAME/fullchain.pem and NAME/privkey.pem"
        )
    return identities


def _certificate_files(folder: Path) -> list[Path]:
    names = {f.name for f in folder.iterdir() if f.suffix in (".pem", ".crt") and not f.is_dir()}
    if "fullchain.pem" in names:
        # Certbot's parts of the same thing, without the other half.
        names -= {"cert.pem", "chain.pem"}
    return [folder / name for name in names if name[0] != "."]


def _from_folder_file(folder: Path, file: Path) -> Identity | None:
    """The identity that `file` begins; None for PEM that is no certificate, or an authority's."""
    source = f"--certificates {folder}: {file.relative_to(folder)}"
    data = key_data = _read(source, file)
    if b"-----BEGIN " in data and b"CERTIFICATE-----" not in data:
        return None
    if b"PRIVATE KEY-----" not in data:
        names = (f"{file.stem}.key", f"{file.stem}-key.pem", "privkey.pem")
        beside = [file.with_name(name) for name in names if file.with_name(name).exists()]
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
        first = x509.load_pem_x509_certificates(data)[0]
        return first.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound):
        return False


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
    _warn_unless_valid(source, own[0])
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


def _warn_unless_valid(source: str, certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        log.warn(
            "{source}: expired on {day}; clients will refuse it, renew it and restart",
            source=source,
            day=certificate.not_valid_after_utc.date(),
        )
    elif now < certificate.not_valid_before_utc:
        log.warn(
            "{source}: not valid before {day}; clients will refuse it until then",
            source=source,
            day=certificate.not_valid_before_utc.date(),
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
