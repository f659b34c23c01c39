"""A client's own certificate, as the variables that PHP sees.

Names are those of Apache's mod_ssl, which nginx users pass on under the same names; formats are
nginx's (`$ssl_client_verify`, `$ssl_client_s_dn` and so on).
"""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

Pairs = list[tuple[bytes, bytes]]

# OpenSSL's short names of attributes that RFC 4514 gives none; nginx writes them.
_SHORT_NAMES = {
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.SURNAME: "SN",
    NameOID.GIVEN_NAME: "GN",
    NameOID.TITLE: "title",
}


def client_params(transport: Any) -> Pairs:
    """The `SSL_CLIENT_*` variables of a connection.

    Empty where clients are not asked for a certificate: on plain ports, and without `client_ca`.
    `SSL_CLIENT_VERIFY` is SUCCESS or NONE; a client with a bad certificate does not get this far.
    """
    connection: Any = getattr(transport, "getHandle", lambda: None)()
    if not getattr(connection, "asks_clients", False):
        return []
    certificate: x509.Certificate | None = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return [(b"SSL_CLIENT_VERIFY", b"NONE")]
    return [
        (b"SSL_CLIENT_VERIFY", b"SUCCESS"),
        (b"SSL_CLIENT_S_DN", _name(certificate.subject)),
        (b"SSL_CLIENT_I_DN", _name(certificate.issuer)),
        (b"SSL_CLIENT_M_SERIAL", _serial(certificate.serial_number)),
        (b"SSL_CLIENT_V_START", _date(certificate.not_valid_before_utc)),
        (b"SSL_CLIENT_V_END", _date(certificate.not_valid_after_utc)),
    ]


def _name(name: x509.Name) -> bytes:
    """RFC 2253, as OpenSSL writes it: what is not printable ASCII as hexadecimal escapes."""
    text = name.rfc4514_string(_SHORT_NAMES)
    return b"".join(
        bytes([byte]) if 0x20 <= byte <= 0x7E else b"\\%02X" % byte for byte in text.encode()
    )


def _serial(number: int) -> bytes:
    """Upper-case hexadecimal digits, whole bytes."""
    digits = b"%X" % number
    return digits if len(digits) % 2 == 0 else b"0" + digits


def _date(when: Any) -> bytes:
    """Such as `Nov 23 00:00:00 2026 GMT`, in English whatever the locale."""
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{months[when.month - 1]} {when.day:2} {when:%H:%M:%S} {when.year} GMT".encode()
