"""The certificates of `tls:PORT`, read once for all workers.

The parent reads them while it may, and each worker shows the same ones: also a self-signed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator

from wsgate.config import Gateway
from wsgate.tls.certificates import Identity, from_file, from_folder, make_self_signed
from wsgate.tls.handshakes import _ServerConnections


def read_identities(gateway: Gateway) -> tuple[Identity, ...]:
    """The certificates that the settings name, in `tls.connection_creator`'s order.

    Raises:
        TLSError: one cannot be read or used.
    """
    if gateway.self_signed:
        return (make_self_signed(),)
    identities = []
    if gateway.certificate is not None:
        identities.append(from_file(gateway.certificate, gateway.private_key))
    if gateway.certificates is not None:
        identities += from_folder(Path(gateway.certificates))
    return tuple(identities)


def creator_for(identities: Sequence[Identity]) -> IOpenSSLServerConnectionCreator | None:
    """What `tls:PORT` shows its clients; None without a certificate. Raises TLSError."""
    return _ServerConnections(identities) if identities else None
