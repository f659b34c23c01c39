"""One `--port` string, read: the short form `tls:PORT` here, every other one by Twisted."""

from __future__ import annotations

import re
from errno import EADDRNOTAVAIL, EAFNOSUPPORT
from ipaddress import ip_address
from pathlib import Path

from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
    wrapServerTLS,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IProtocolNegotiationFactory,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from wsgate.proxies import LOCAL, ProxiedEndpoint, TrustedProxies
from wsgate.tls.errors import TLSError

# Twisted's default of 50 drops SYNs, or refuses on a UNIX socket, when every client of a restarted
# gateway comes back at once. The kernel lowers it to net.core.somaxconn.
BACKLOG = 1024

_EXAMPLE = {
    "tcp": r"tcp:8080:interface=127.0.0.1, for IPv6 tcp6:8080:interface=\:\:1",
    "tcp6": r"tcp6:8080:interface=\:\:1",
    "unix": "unix:/run/wsgate.sock:mode=660",
    "ssl": "ssl:443:privateKey=key.pem:certKey=certificate.pem:extraCertChain=chain.pem",
    "tls": "tls:443 with --certificates DIR, or tls:DIR:port=443",
    "systemd": "systemd:domain=INET:index=0",
}


def server_endpoint(
    reactor: object,
    description: str,
    creator: IOpenSSLServerConnectionCreator | None,
    proxies: TrustedProxies = LOCAL,
) -> IStreamServerEndpoint:
    """The endpoint that a `--port` string describes.

    `tls:PORT[:interface=ADDRESS][:backlog=N]`, PORT all digits, listens on TCP and speaks TLS as
    `creator` says; without an interface on all addresses, IPv4 and IPv6. After `haproxy:` the PROXY
    header comes first, then TLS, as HAProxy sends them; only `proxies` may connect there. Every
    other string is Twisted's own, its `tls:FOLDER:port=N` included; its backlog is 1024 where the
    string names none.

    Raises TLSError for a string that cannot be read, and for `tls:PORT` when `creator` is None.
    """
    inner = re.sub("^haproxy:", "", description, flags=re.I)
    short = re.match(r"tls:[0-9]+(:|$)", inner, re.I)
    if short:
        endpoint = _tcp(reactor, *_short_form(description, inner))
    else:
        endpoint = _twisted_endpoint(reactor, description, inner)
    if inner != description:
        endpoint = ProxiedEndpoint(endpoint, proxies)
    if not short:
        return endpoint
    if creator is None:
        raise TLSError(
            f"--port {description}: needs a certificate; give --certificate FILE and --private-key "
            "FILE, or --certificates DIR, or --self-signed for trying things out"
        )
    return wrapServerTLS(creator, endpoint)


def _short_form(description: str, inner: str) -> tuple[int, str, int]:
    """Port, interface and backlog of `tls:PORT…`, the part of `description` after `haproxy:`."""
    _, port, *options = _split(inner)
    values = {"interface": "", "backlog": str(BACKLOG)}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or name not in values:
            raise TLSError(
                f"--port {description}: {option!r} is not an option of tls:PORT; right are "
                r"interface=ADDRESS (IPv6 with \: for each colon: interface=\:\:1) and backlog=N; "
                f"a certificate folder of that name is tls:./{port}:port=N"
            )
        values[name] = value.replace("\\", "")
    if not re.fullmatch("[1-9][0-9]{0,8}", values["backlog"]):
        raise TLSError(
            f"--port {description}: the backlog {values['backlog']!r} is no number of waiting "
            f"connections; right would be backlog={BACKLOG}"
        )
    interface = _address(description, values["interface"])
    return _port_number(description, port), interface, int(values["backlog"])


def _split(description: str) -> list[str]:
    """The parts between colons; a colon after a backslash does not part (Twisted's rule)."""
    return re.split(r"(?<!\\):", description)


def _port_number(description: str, port: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise TLSError(
            f"--port {description}: {port!r} is no port; right is a number from 0 to 65535 "
            "(0: any free port)"
        )
    return int(port)


def _address(description: str, interface: str) -> str:
    try:
        return interface and str(ip_address(interface))
    except ValueError:
        raise TLSError(
            f"--port {description}: the interface {interface!r} is no IP address; right would be "
            r"interface=127.0.0.1 or interface=\:\:1"
        ) from None


def _tcp(reactor: object, port: int, interface: str, backlog: int) -> IStreamServerEndpoint:
    if not interface:
        return _EveryAddress(reactor, port, backlog)
    endpoint = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    return endpoint(reactor, port, backlog, interface)


@implementer(IStreamServerEndpoint)
class _EveryAddress:
    """TCP on all addresses: one IPv6 socket that takes IPv4 too; IPv4 alone where IPv6 is off."""

    def __init__(self, reactor: object, port: int, backlog: int) -> None:
        self._reactor = reactor
        self._port = port
        self._backlog = backlog

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        both = TCP6ServerEndpoint(self._reactor, self._port, self._backlog, "::")
        listening: Deferred[IListeningPort] = both.listen(protocolFactory)
        return listening.addErrback(lambda failure: self._without_ipv6(failure, protocolFactory))

    def _without_ipv6(
        self, failure: Failure, factory: IProtocolFactory
    ) -> Deferred[IListeningPort]:
        error = failure.value
        cause = error.socketError if isinstance(error, CannotListenError) else None
        if getattr(cause, "errno", None) not in (EAFNOSUPPORT, EADDRNOTAVAIL):
            return fail(failure)
        ipv4 = TCP4ServerEndpoint(self._reactor, self._port, self._backlog)
        listening: Deferred[IListeningPort] = ipv4.listen(factory)
        return listening


def _twisted_endpoint(reactor: object, description: str, inner: str) -> IStreamServerEndpoint:
    _check_for_twisted(description, inner)
    kind = _split(inner)[0].lower()
    try:
        endpoint: IStreamServerEndpoint = serverFromString(
            reactor, inner + _backlog_for_twisted(inner)
        )
    except Exception as error:
        # Endpoint plug-ins raise what they like.
        right = _EXAMPLE.get(kind, "tcp:8080, tls:443, unix:/run/wsgate.sock")
        reason = _why_twisted_refused(error)
        raise TLSError(f"--port {description}: {reason}; right would be {right}") from error
    return _HTTPOnly(endpoint) if kind in ("ssl", "tls") else endpoint


@implementer(IStreamServerEndpoint)
class _HTTPOnly:
    """An endpoint of Twisted's that says `http/1.1` wherever a client asks by ALPN."""

    def __init__(self, endpoint: IStreamServerEndpoint) -> None:
        self._endpoint = endpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        listening: Deferred[IListeningPort] = self._endpoint.listen(_HTTPFactory(protocolFactory))
        return listening


@implementer(IProtocolFactory, IProtocolNegotiationFactory)
class _HTTPFactory:
    """A factory as it was, and the answer for ALPN.

    Twisted's `ssl:` and `tls:FOLDER` break the handshake of every client that offers protocols, as
    browsers do, while the factory names none.
    """

    noisy = False

    def __init__(self, factory: IProtocolFactory) -> None:
        self.buildProtocol = factory.buildProtocol
        self.doStart = factory.doStart
        self.doStop = factory.doStop

    def acceptableProtocols(self) -> list[bytes]:
        """Called by Twisted for each handshake."""
        return [b"http/1.1"]


def _check_for_twisted(description: str, inner: str) -> None:
    """Refuse what Twisted's parsers accept and what fails only later, or never tells."""
    kind, *arguments = _split(inner)
    keywords = dict(a.split("=", 1) for a in arguments if "=" in a)
    if kind.lower() in ("tcp", "tcp6", "ssl") and arguments and "=" not in arguments[0]:
        _port_number(description, arguments[0])
    if kind.lower() == "tls":
        folder = keywords.get("path", arguments[0] if arguments else "").replace("\\", "")
        if not folder or not any(Path(folder).rglob("*.pem")):
            raise TLSError(
                f"--port {description}: {folder!r} is no port and no folder with *.pem files; "
                f"right would be {_EXAMPLE['tls']}"
            )
        _port_number(description, keywords.get("port", "443"))


def _backlog_for_twisted(inner: str) -> str:
    kind, *arguments = _split(inner)
    positional = [argument for argument in arguments if "=" not in argument]
    named = any(argument.startswith("backlog=") for argument in arguments)
    # A second positional argument may lead up to a positional backlog; naming it twice is an error.
    if kind.lower() not in ("tcp", "tcp6", "ssl", "unix", "tls") or named or len(positional) != 1:
        return ""
    return f":backlog={BACKLOG}"


def _why_twisted_refused(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, LookupError):
        return "systemd passed no such socket (is the .socket unit started?)"
    if isinstance(error, SSL.Error | crypto.Error):
        return "its files are not a PEM certificate and the key that matches it"
    # A TypeError begins with the name of a private function of Twisted's.
    text = re.sub(r"^[\w.]+\(\) ", "", str(error))
    return " ".join(text.split()) or type(error).__name__
