"""Connections to servers over TLS, open only when the server has proved who it is."""

from __future__ import annotations

from typing import Any, NamedTuple

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IStreamClientEndpoint)
class SecureEndpoint:
    """An endpoint of Twisted's that speaks TLS; connected once `host` has proved that it is it.

    Twisted's own reports a connection before that, so a request would count as sent when the
    certificate turns out to be wrong, and could not go to another backend. And it accepts a
    certificate without any name for every host (26.4: its check fails, and counts as passed), so
    the name is verified here. `called_by` and `mend` are for the errors: where `host` comes from,
    and how another authority is named.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        host: str,
        called_by: str = "`fastcgi`",
        mend: str = "name a folder of authorities by tls:HOST:PORT:trustRoots=FOLDER in `fastcgi`",
    ) -> None:
        self._endpoint = endpoint
        self._expected = _Expected(host, called_by, mend)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, and verify the certificate.

        Fails with a ConnectError that says what is wrong with it, or with what the endpoint says.
        """
        handshake = _Handshake(protocolFactory, self._expected)
        connecting: Deferred[IProtocol] = self._endpoint.connect(handshake)
        handshake.connecting = connecting
        connecting.addErrback(handshake.failed)
        return handshake.finished


def trust_roots(path: str) -> Any:
    """The authorities in a file of PEM certificates, as Twisted takes them.

    Raises:
        ValueError: there are none in it, or they cannot be read.
        OSError: the file cannot be read.
    """
    end = b"-----END CERTIFICATE-----"
    with open(path, "rb") as file:
        blocks = [block + end for block in file.read().split(end)[:-1]]
    if not blocks:
        raise ValueError(f"{path}: no certificates in it")
    try:
        return trustRootFromCertificates([Certificate.loadPEM(block) for block in blocks])
    except Exception:
        # Whatever OpenSSL calls it.
        raise ValueError(f"{path}: a certificate in it cannot be read") from None


class _Expected(NamedTuple):
    """Who should be there, and words for errors."""

    host: str
    called_by: str
    mend: str


@implementer(IHandshakeListener, IProtocolFactory)
class _Handshake(Protocol):
    """Has the connection until the handshake is over, then gives it to the protocol."""

    noisy = False

    def __init__(self, factory: IProtocolFactory, expected: _Expected) -> None:
        self.connecting: Deferred[IProtocol] | None = None
        self.finished: Deferred[IProtocol] = Deferred(self._cancel)
        self._factory = factory
        self._expected = expected
        self._complaint = ""
        self._address: Any = None

    def doStart(self) -> None:
        """Twisted calls this of a factory."""

    def doStop(self) -> None:
        """Twisted calls this of a factory."""

    def buildProtocol(self, addr: IAddress) -> IProtocol:
        """Itself: one connection is made."""
        self._address = addr
        return self

    def connectionMade(self) -> None:
        """Twisted: the handshake is about to begin."""
        transport: Any = self.transport
        must = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        transport.getHandle().set_verify(must, self._chain_verified)

    def _chain_verified(self, _c: object, _cert: object, error: int, _d: int, ok: int) -> bool:
        if not ok and not self._complaint:
            complaint = _COMPLAINTS.get(error, f"it is not trusted (OpenSSL's error {error})")
            self._complaint = complaint.format(mend=self._expected.mend)
        return bool(ok)

    def handshakeCompleted(self) -> None:
        """Twisted: the certificate is trusted, for whichever name it is."""
        transport: Any = self.transport
        if transport.disconnecting or self.finished.called:
            return
        try:
            _verify_name(transport.getHandle(), self._expected.host)
        except (VerificationError, CertificateError):
            expected = self._expected
            self._complaint = (
                f"it is not for {expected.host}, as {expected.called_by} calls the host"
            )
            transport.abortConnection()
            return
        protocol = self._factory.buildProtocol(self._address)
        if protocol is None:
            transport.abortConnection()
            return
        transport.wrappedProtocol = protocol
        protocol.makeConnection(transport)
        self.finished.callback(protocol)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the connection ended before the handshake did."""
        if not self.finished.called:
            why = f"its certificate: {self._complaint}" if self._complaint else _in_words(reason)
            self.finished.errback(ConnectError(string=why))

    def failed(self, failure: Failure) -> None:
        """There is no connection at all."""
        if not self.finished.called:
            self.finished.errback(failure)

    def _cancel(self, _: object) -> None:
        if self.transport is not None:
            transport: Any = self.transport
            transport.abortConnection()
        elif self.connecting is not None:
            self.connecting.cancel()


# X509_verify_cert(3)
_COMPLAINTS = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself; {mend}",
    19: "the authority that signed it is not trusted; {mend}",
    20: "the authority that signed it is not trusted; {mend}",
}


def _verify_name(connection: SSL.Connection, host: str) -> None:
    if isIPAddress(host) or isIPv6Address(host):
        verify_ip_address(connection, host)
    else:
        verify_hostname(connection, host.encode("idna").decode("ascii"))


def _in_words(reason: Failure) -> str:
    error: Any = reason.value
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        return f"the TLS handshake failed: {error.args[0][0][-1]}"
    return f"the connection ended in the TLS handshake: {reason.getErrorMessage()}"
