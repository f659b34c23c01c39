"""The certificates of now: read at the start, read again when they change, swapped whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from wsgate.tls.certificates import (
    CertificateFiles,
    Identity,
    Source,
    make_self_signed,
    no_certificate,
    out_of_time,
    read_authorities,
    sources,
)
from wsgate.tls.errors import TLSError
from wsgate.tls.handshakes import Credentials, ServerConnections, make_context

log = Logger(namespace="wsgate")

RESOLUTION = 2 * 10**9
"""Nanoseconds: files' times are no finer than that on some file systems."""

Stamp = tuple[str, int, int, int]
Stamps = dict[str, tuple[Stamp, ...] | None]
"""For each source what its files were like when they were last found good."""


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """What `tls:PORT` shows its clients, for as long as the service runs.

    The name that the client asks for (SNI) chooses: exact, then wildcard; of two for one name the
    one that lasts longer. No name, or a foreign one, gets `certificate`, else the first of the
    folder in the order of file names. A handshake reads nothing from disk.

    `files` is None where there are none to be read again. `renewed` is called with the credentials
    whenever they have changed.
    """

    def __init__(
        self,
        credentials: Credentials,
        files: CertificateFiles | None = None,
        stamps: Stamps | None = None,
    ) -> None:
        self.credentials = credentials
        self.renewed: Callable[[Credentials], None] = _nobody
        self._files = files
        self._connections = ServerConnections(credentials)
        self._stamps = stamps or {}
        self._read = self._seen = _stamp(files)

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """One connection's TLS state; called by Twisted."""
        return self._connections.serverConnectionForTLS(tlsProtocol)

    def use(self, credentials: Credentials) -> None:
        """Show these from now on; connections that there are keep theirs. Raises TLSError."""
        self._connections = ServerConnections(credentials, self._connections)
        self.credentials = credentials
        self.renewed(credentials)

    def expiries(self) -> dict[str, float]:
        """When each certificate that is shown now expires: its source, and Unix time."""
        return {
            identity.source: identity.certificate.not_valid_after_utc.timestamp()
            for identity in self.credentials.identities
        }

    def reload(self) -> None:
        """Read the files again and use what is good; the log says what came of it.

        A certificate that cannot be read, does not fit its key, or is out of its time does not
        replace the one that was read from the same file before. Names that are new in a folder
        come, those that are gone go, except for the last one.
        """
        files = self._files
        if files is None:
            log.info("certificates: made by --self-signed, so there is nothing to read again")
            return
        self._read = self._seen = _stamp(files)
        try:
            credentials = _read_again(files, self.credentials, self._stamps)
            if credentials != self.credentials:
                self.use(credentials)
            else:
                log.info("certificates: read again, none has changed")
        except TLSError as error:
            log.error("{error}; all certificates stay as they were", error=str(error))

    def look(self) -> None:
        """Reload if the files have changed, and not since the last look.

        So that chain and key, which are written one after the other, are read together.
        """
        now = _stamp(self._files)
        if now != self._seen:
            self._seen = now
        elif now != self._read:
            self.reload()

    def warn_if_unreadable(self) -> None:
        """Log if this process's user cannot read a file again, as after privileges were dropped."""
        paths = [path for path in _paths(self._files) if not os.access(path, os.R_OK)]
        if paths:
            log.warn(
                "certificates: {path} was read at the start, but wsgate's user cannot read it any "
                "more: once it is renewed, wsgate needs a restart. Make it readable for a group of "
                "that user (chgrp, chmod g+r)",
                path=paths[0],
            )


def read_certificates(files: CertificateFiles, *, self_signed: bool = False) -> Certificates | None:
    """The certificates of `tls:PORT`; None when nothing is given.

    `self_signed` makes a certificate for this host alone, in memory, for 30 days. An expired
    certificate is used, with a warning: a gateway that is restarted in an emergency should not stay
    away because of it.

    Raises:
        TLSError: a file cannot be read or is no PEM, a key is encrypted or does not match, a folder
            is without any certificate, or two of the options do not go together.
    """
    _check(files, self_signed)
    authorities = read_authorities(files.client_ca) if files.client_ca is not None else ()
    if self_signed:
        made = Credentials((make_self_signed(),), authorities, files.client_required)
        return Certificates(made)
    if files.certificate is None and files.certificates is None:
        return None
    found = sources(files)
    stamps = {source.name: _settled(source) for source in found}
    read = (source.read() for source in found)
    identities = tuple(identity for identity in read if identity is not None)
    if not identities:
        raise no_certificate(files)
    for identity in identities:
        if reason := out_of_time(identity):
            log.warn(
                "{source}: {reason}; clients will refuse it, renew it",
                source=identity.source,
                reason=reason,
            )
    return Certificates(Credentials(identities, authorities, files.client_required), files, stamps)


def _check(files: CertificateFiles, self_signed: bool) -> None:
    if files.private_key is not None and files.certificate is None:
        raise TLSError(
            f"--private-key {files.private_key}: needs --certificate FILE, the chain it is for"
        )
    if self_signed and (files.certificate is not None or files.certificates is not None):
        raise TLSError("--self-signed: leave it out when --certificate or --certificates is given")


# -- reading again


def _read_again(files: CertificateFiles, old: Credentials, stamps: Stamps) -> Credentials:
    before = {identity.source: identity for identity in old.identities}
    read = [_renew(source, before, stamps) for source in sources(files)]
    identities = tuple(identity for identity in read if identity is not None)
    if not identities:
        raise no_certificate(files)
    authorities = old.authorities
    if files.client_ca is not None:
        try:
            authorities = read_authorities(files.client_ca)
        except TLSError as error:
            log.error("{error}; the authorities stay as they were", error=str(error))
    if authorities != old.authorities:
        log.info("certificates: the authorities of --client-ca have changed")
    return Credentials(identities, authorities, old.required)


def _renew(source: Source, before: Mapping[str, Identity], stamps: Stamps) -> Identity | None:
    """What is at `source` now if it is good, else what was there before, if anything."""
    old = before.get(source.name)
    stamp = _settled(source)
    if old is not None and stamp is not None and stamp == stamps.get(source.name):
        return old
    stamps[source.name] = None
    try:
        new = source.read()
        if new is None:
            return None
        if old is not None and _same(new, old):
            stamps[source.name] = stamp
            return old
        if reason := out_of_time(new):
            raise TLSError(f"{source.name}: {reason}; renew it")
        make_context(new)
    except TLSError as error:
        stays = "it is left out" if old is None else "the certificate it had before stays"
        log.error("{error}; {stays}", error=str(error), stays=stays)
        return old
    stamps[source.name] = stamp
    log.info(
        "certificates: {source}: new, valid until {day}, serial number {serial:x}",
        source=source.name,
        day=new.certificate.not_valid_after_utc.date(),
        serial=new.certificate.serial_number,
    )
    return new


def _same(one: Identity, other: Identity) -> bool:
    return one.certificate == other.certificate and list(one.chain) == list(other.chain)


def _nobody(_: Credentials) -> None:
    """Nobody wants to know."""


# -- looking for changes


def _paths(files: CertificateFiles | None) -> Iterator[Path]:
    """Every file, and every folder, that a reload would look into."""
    if files is None:
        return
    for name in (files.certificate, files.private_key, files.client_ca):
        if name is not None:
            yield Path(name)
    if files.certificates is not None:
        folder = Path(files.certificates)
        yield folder
        for path in _entries(folder):
            yield path
            if path.suffix == "" and path.is_dir():
                yield from _entries(path)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.name[0] != ".")
    except OSError:
        return []


def _stamp(files: CertificateFiles | None) -> list[Stamp]:
    """What changes when a file does: nothing is read but the folders."""
    return [_stamp_of(path) for path in _paths(files)]


def _stamp_of(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError as error:
        return str(path), error.errno or 0, 0, 0
    return str(path), found.st_mtime_ns, found.st_ino, found.st_size


def _settled(source: Source) -> tuple[Stamp, ...] | None:
    """The stamps of a source's files; None if one was changed just now.

    Another change within the resolution of a file's time would leave its stamp as it is.
    """
    stamps = tuple(map(_stamp_of, source.paths))
    recent = time.time_ns() - RESOLUTION
    return None if any(stamp[1] > recent for stamp in stamps) else stamps
