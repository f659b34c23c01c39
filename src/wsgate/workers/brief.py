"""What a worker is told, as one line of JSON on its standard input.

Not on its command line or in its environment, which other users or its own children could read:
private keys are in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from wsgate.config import Gateway, Limits, Pool, Route, Settings
from wsgate.tls.certificates import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """One worker's task. Its ports are descriptors from `FIRST_PORT` on, in the settings' order."""

    number: int
    settings: Settings
    identities: tuple[Identity, ...]
    """The certificates of `tls:PORT`: read by the parent, which may have been root then."""
    reactor: str
    """The module whose `install()` makes the parent's kind of reactor."""
    folder: str
    """Where relative names in port strings begin."""

    def to_line(self) -> bytes:
        """As one line, with its end."""
        return (
            json.dumps(
                {
                    "number": self.number,
                    "settings": asdict(self.settings),
                    "identities": [_identity_to_json(identity) for identity in self.identities],
                    "reactor": self.reactor,
                    "folder": self.folder,
                }
            ).encode()
            + b"\n"
        )

    @classmethod
    def from_line(cls, line: bytes) -> Brief:
        """What `to_line` wrote. ValueError, KeyError or TypeError for anything else."""
        told = json.loads(line)
        return cls(
            number=told["number"],
            settings=_settings(told["settings"]),
            identities=tuple(_identity_from_json(one) for one in told["identities"]),
            reactor=told["reactor"],
            folder=told["folder"],
        )


def _settings(told: Mapping[str, Any]) -> Settings:
    return Settings(
        gateway=_section(Gateway, told["gateway"]),
        limits=_section(Limits, told["limits"]),
        pools={name: _section(Pool, pool) for name, pool in told["pools"].items()},
        routes=tuple(_section(Route, route) for route in told["routes"]),
    )


def _section(section: type, told: Mapping[str, Any]) -> Any:
    # Settings hold tuples, which JSON makes lists of.
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in told.items()}
    return section(**values)


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


def _pems(certificates: Sequence[x509.Certificate]) -> list[str]:
    return [_pem(certificate) for certificate in certificates]


def _certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())
