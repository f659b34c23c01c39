"""Certificates and keys as JSON, for the pipe from the parent to a worker.

The parent reads them while it may, and each worker shows the same ones: also a self-signed one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from wsgate.tls import Credentials, Identity

LONGEST_LINE = 64 * 2**20
"""Bytes of renewed credentials: some ten thousand certificates with their chains."""


def to_json(credentials: Credentials | None) -> dict[str, Any] | None:
    """What `from_json` reads."""
    if credentials is None:
        return None
    return {
        "identities": [_identity_to_json(identity) for identity in credentials.identities],
        "authorities": _pems(credentials.authorities),
        "required": credentials.required,
    }


def from_json(told: Mapping[str, Any] | None) -> Credentials | None:
    """What `to_json` was given. ValueError, KeyError or TypeError for anything else."""
    if told is None:
        return None
    return Credentials(
        tuple(_identity_from_json(one) for one in told["identities"]),
        tuple(map(_certificate, told["authorities"])),
        told["required"],
    )


def renewal_line(credentials: Credentials) -> bytes:
    """Renewed credentials as one line, with its end."""
    return json.dumps(to_json(credentials)).encode() + b"\n"


def read_renewal(line: bytes) -> Credentials:
    """What `renewal_line` wrote. ValueError, KeyError or TypeError for anything else."""
    credentials = from_json(json.loads(line))
    if credentials is None:
        raise ValueError("no credentials")
    return credentials


def _identity_to_json(identity: Identity) -> dict[str, Any]:
    key = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "certificate": _pem(identity.certificate),
        "chain": _pems(identity.chain),
        "key": key.decode(),
        "source": identity.source,
    }


def _identity_from_json(told: Mapping[str, Any]) -> Identity:
    return Identity(
        _certificate(told["certificate"]),
        [_certificate(pem) for pem in told["chain"]],
        load_pem_private_key(told["key"].encode(), None),
        told["source"],
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _pems(certificates: Iterable[x509.Certificate]) -> list[str]:
    return [_pem(certificate) for certificate in certificates]


def _certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())
