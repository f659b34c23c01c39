"""What a client is offered: TLS 1.2 or 1.3 and the certificate for the name it asks for.

Forward-secret AEAD ciphers only, ALPN `http/1.1` and nothing else, no compression or renegotiation.
No resumption: WebSockets live long, so it would save little, and a ticket key that lives as long as
the process would undo TLS 1.2's forward secrecy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from wsgate.tls.certificates import Identity, from_file, from_folder, make_self_signed
from wsgate.tls.errors import TLSError


def connection_creator(
    *,
    certificate: str | None = None,
    private_key: str | None = None,
    certificates: str | None = None,
    self_signed: bool = False,
) -> IOpenSSLServerConnectionCreator | None:
    """What `tls:PORT` shows its clients; None when nothing was given.

    `certificate` is a PEM file, the chain in any order; the key is in `private_key`, or in the same
    file. `certificates` is a folder: each `*.pem` and `*.crt` in it and in its sub-folders (one
    level, as certbot's `live/NAME/`) with the key in the same file or beside it (`NAME.key`,
    `NAME-key.pem`, `privkey.pem`). The name that the client asks for (SNI) chooses: exact, then
    wildcard; of two for one name the one that lasts longer. No name, or a foreign one, gets
    `certificate`, else the first of the folder in the order of file names. `self_signed` makes a
    certificate for this host alone, in memory, for 30 days.

    An expired certificate is used, with a warning: a gateway that is restarted in an emergency
    should not stay away because of it. Raises TLSError for a file that cannot be read or is no PEM,
    a key that is encrypted or does not match, and a folder without any certificate.
    """
    if private_key is not None and certificate is None:
        raise TLSError(
            f"--private-key {private_key}: needs --certificate FILE, the chain it is for"
        )
    if self_signed and (certificate is not None or certificates is not None):
        raise TLSError("--self-signed: leave it out when --certificate or --certificates is given")
    identities = [make_self_signed()] if self_signed else []
    if certificate is not None:
        identities.append(from_file(certificate, private_key))
    if certificates is not None:
        identities += from_folder(Path(certificates))
    return _ServerConnections(identities) if identities else None


@implementer(IOpenSSLServerConnectionCreator)
class _ServerConnections:
    """Starts each connection with the first identity and changes to the one its SNI asks for.

    OpenSSL contexts are made here rather than by Twisted's CertificateOptions: it cannot forbid
    renegotiation, and it lets the factory add protocols to ALPN (twisted.web adds h2, over which
    no WebSocket of ours can be opened).
    """

    def __init__(self, identities: Sequence[Identity]) -> None:
        contexts = [_context(identity) for identity in identities]
        self._default = contexts[0]
        self._default.set_tlsext_servername_callback(self._choose)
        self._by_name: dict[bytes, SSL.Context] = {}
        pairs = zip(identities, contexts, strict=True)
        for identity, context in sorted(pairs, key=_expiry):
            # The later one wins: after a renewal the old file may still lie beside the new one.
            self._by_name.update(dict.fromkeys(_names(identity), context))

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """One connection's TLS state; called by Twisted."""
        return _Connection(self._default)

    def _choose(self, connection: SSL.Connection) -> None:
        # No exception may leave this: pyOpenSSL before 26.0 then accepted the connection.
        context = self._context_for(connection.get_servername())
        if context is not self._default:
            connection.set_context(context)

    def _context_for(self, name: bytes | None) -> SSL.Context:
        if not name:
            return self._default
        # RFC 6066 §3: without a trailing dot, compared without regard to case.
        name = name.lower().removesuffix(b".")
        # RFC 6125 §6.4.3: the wildcard stands for exactly one label.
        wildcard = b"*." + name.partition(b".")[2]
        return self._by_name.get(name) or self._by_name.get(wildcard) or self._default


class _Connection(SSL.Connection):
    """Says goodbye and does not wait for the other side's.

    RFC 8446 §6.1 asks for no more. Twisted keeps a closed connection for as long as its client
    sends no close_notify, which is for ever when that client is hostile or a browser's spare one.
    """

    def shutdown(self) -> bool:
        """True: the TCP connection may be closed now."""
        super().shutdown()
        # As if it had come; Twisted would report a loss where we closed in good order.
        self.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
        return True


def _expiry(pair: tuple[Identity, SSL.Context]) -> datetime:
    return pair[0].certificate.not_valid_after_utc


def _names(identity: Identity) -> Iterable[bytes]:
    """The DNS names a certificate is for, as SNI would spell them."""
    try:
        names = identity.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    except ValueError as error:
        raise TLSError(f"{identity.source}: broken certificate ({error}); renew it") from None
    return [name.lower().encode() for name in names.value.get_values_for_type(x509.DNSName)]


def _context(identity: Identity) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Idle connections give their 32 KiB of buffers back.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(b"ECDHE+AESGCM:ECDHE+CHACHA20")
    try:
        context.use_certificate(identity.certificate)
        for certificate in identity.chain:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(identity.key)  # type: ignore[arg-type]  # what it cannot use, it refuses
    except (SSL.Error, TypeError, ValueError) as error:
        raise TLSError(
            f"{identity.source}: OpenSSL refuses it ({_first_reason(error)}); give an RSA key of "
            "at least 2048 bits or an ECDSA key"
        ) from None
    context.set_alpn_select_callback(_choose_protocol)
    return context


def _first_reason(error: Exception) -> str:
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        return str(error.args[0][0][-1])
    return " ".join(str(error).split())


def _choose_protocol(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    if b"http/1.1" in offered:
        return b"http/1.1"
    # RFC 7301 §3.2: no common protocol ends the handshake. Twisted takes this class of error, in
    # OpenSSL's form, as just that; it would log a traceback for any other.
    raise SSL.Error([("SSL routines", "", "no application protocol")])
