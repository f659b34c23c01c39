"""What a client is offered: TLS 1.2 or 1.3 and the certificate for the name it asks for.

Forward-secret AEAD ciphers only, ALPN `http/1.1` and nothing else, no compression or renegotiation.
No resumption: WebSockets live long, so it would save little, and a ticket key that lives as long as
the process would undo TLS 1.2's forward secrecy.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from wsgate.tls.certificates import Identity
from wsgate.tls.errors import TLSError


class Credentials(NamedTuple):
    """What is shown to clients and, with `authorities`, asked of them.

    A client must show a certificate that one of the authorities has signed if `required`, else it
    may; one that shows a bad certificate is refused either way.
    """

    identities: tuple[Identity, ...]
    authorities: tuple[x509.Certificate, ...] = ()
    required: bool = True


@implementer(IOpenSSLServerConnectionCreator)
class ServerConnections:
    """Starts each connection with the first identity and changes to the one its SNI asks for.

    OpenSSL contexts are made here rather than by Twisted's CertificateOptions: it cannot forbid
    renegotiation, and it lets the factory add protocols to ALPN (twisted.web adds h2, over which
    no WebSocket of ours can be opened). No context changes after it is made; those of identities
    that `before` has too are taken over, since to make one costs more than to read its files.

    Raises:
        TLSError: OpenSSL refuses one of the identities.
    """

    def __init__(self, credentials: Credentials, before: ServerConnections | None = None) -> None:
        first, *others = credentials.identities
        known = before._contexts_for(credentials) if before is not None else {}
        self._credentials = credentials
        self._asks = bool(credentials.authorities)
        self._default = make_context(first, credentials)
        self._default.set_tlsext_servername_callback(self._choose)
        # By id: an identity cannot be hashed, and lives as long as `_credentials`.
        self._contexts = {
            id(other): known.get(id(other)) or make_context(other, credentials) for other in others
        }
        self._by_name: dict[bytes, SSL.Context] = {}
        contexts = [self._default, *(self._contexts[id(other)] for other in others)]
        pairs = zip(credentials.identities, contexts, strict=True)
        for identity, context in sorted(pairs, key=_expiry):
            # The later one wins: after a renewal the old file may still lie beside the new one.
            self._by_name.update(dict.fromkeys(_names(identity), context))

    def _contexts_for(self, credentials: Credentials) -> dict[int, SSL.Context]:
        """Those that would be the same with `credentials`."""
        same = self._credentials[1:] == credentials[1:]
        return self._contexts if same else {}

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """One connection's TLS state; called by Twisted."""
        return _AskingConnection(self._default) if self._asks else _Connection(self._default)

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

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        """As that of the base class, but what it raises does not hold this connection.

        Twisted keeps an error in a variable of the frame that caught it, so the error, its
        traceback and all that their frames know are a cycle. With it 40 KiB of OpenSSL's would
        stay until Python looks for cycles, for each client that ends without close_notify.
        """
        try:
            return super().recv(bufsiz, flags)
        except (SSL.WantReadError, SSL.ZeroReturnError):
            raise
        except SSL.Error as error:
            ended = error.with_traceback(None)
        del self
        raise ended


class _AskingConnection(_Connection):
    """One that has asked its client for a certificate, and verified it if there is one."""

    asks_clients = True


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


def _ask_clients(context: SSL.Context, credentials: Credentials) -> None:
    if not credentials.authorities:
        return
    store = context.get_cert_store()
    assert store is not None
    for authority in credentials.authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
        # Named in the handshake, so that a client with several certificates knows which to show.
        context.add_client_ca(authority)
    must = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if credentials.required else 0
    context.set_verify(SSL.VERIFY_PEER | must)
    # OpenSSL ends a handshake that asks for a certificate and an old session, without it.
    context.set_session_id(b"wsgate")


def make_context(identity: Identity, credentials: Credentials | None = None) -> SSL.Context:
    """The OpenSSL context that shows `identity` and asks clients as `credentials` say.

    Raises:
        TLSError: OpenSSL refuses it.
    """
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
    if credentials is not None:
        _ask_clients(context, credentials)
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
