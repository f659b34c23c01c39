"""One small document from a server of HTTP, within a size and a time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from wsgate.hooks.tokens.jwks import Fetched
from wsgate.hooks.tokens.keys import LARGEST
from wsgate.secure import SecureEndpoint

TIMEOUT = 5.0
"""Seconds for all of it."""

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})\b", re.I)
_NO_STORE = re.compile(r"(?:^|[\s,])no-(?:store|cache)\b", re.I)


class NotFetched(Exception):
    """The server gave no such document; `str()` is for the log."""


def fetcher(reactor: Any, url: str, roots: Any = None) -> Callable[[], Deferred[Fetched]]:
    """What gets the document at `url`, each time it is called.

    A certificate is always verified, against `roots`, or what this machine trusts. Redirects are
    not followed: the settings say where keys come from. Fails with NotFetched, or as Twisted says.
    """
    agent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor, roots))
    headers = Headers({"Accept": ["application/jwk-set+json, application/json"]})

    def fetch() -> Deferred[Fetched]:
        asked: Deferred[Any] = agent.request(b"GET", url.encode("ascii"), headers)
        asked.addCallback(_document)
        # The name of the server, not the path or query of the URL, for the log.
        host = urlsplit(url).hostname
        return asked.addTimeout(TIMEOUT, reactor, lambda *_: _late(host))

    return fetch


def _late(host: str | None) -> Failure:
    return Failure(NotFetched(f"{host} took longer than {TIMEOUT:g} s"))


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Where an Agent connects; over TLS only to whom the certificate names."""

    def __init__(self, reactor: Any, roots: Any) -> None:
        self._reactor = reactor
        self._roots = roots

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Twisted: the endpoint for a URL, http or https."""
        host = uri.host.decode("ascii").strip("[]")
        endpoint = HostnameEndpoint(self._reactor, host, uri.port, timeout=TIMEOUT)
        if uri.scheme == b"http":
            return _Quiet(endpoint)
        options = optionsForClientTLS(host, trustRoot=self._roots)
        mend = "name its authority in jwks_authority"
        return _Quiet(SecureEndpoint(wrapClientTLS(options, endpoint), host, "jwks_url", mend))


@implementer(IStreamClientEndpoint)
class _Quiet:
    """An endpoint whose factories write no line when they start and stop."""

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    def connect(self, factory: Any) -> Deferred[Any]:
        """Twisted: connect."""
        factory.noisy = False
        connected: Deferred[Any] = self._endpoint.connect(factory)
        return connected


def _document(response: IResponse) -> Deferred[Fetched]:
    collected: Deferred[Fetched] = Deferred(lambda _: body.abort())
    body = _Body(response, collected)
    response.deliverBody(body)
    return collected


class _Body(Protocol):
    """Collects the body of an answer, as far as it is wanted."""

    def __init__(self, response: IResponse, collected: Deferred[Fetched]) -> None:
        self._response = response
        self._collected = collected
        self._received = b""

    def connectionMade(self) -> None:
        """Twisted: the body begins."""
        code = self._response.code
        if code != 200:
            mend = "; redirects are not followed, name where it leads" if 300 <= code < 400 else ""
            self._fail(f"its server answers {code}{mend}")

    def dataReceived(self, data: bytes) -> None:
        """Twisted: some of it."""
        self._received += data
        if len(self._received) > LARGEST:
            self._fail(f"its server sends more than {LARGEST // 1024}KiB")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: that was all, or not."""
        if self._collected.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self._collected.callback(Fetched(self._received, _max_age(self._response)))
        else:
            what = "the connection ended" if reason.check(ConnectionDone) else reason
            self._fail(f"its server's answer broke off: {getattr(what, 'value', what)}")

    def abort(self) -> None:
        """Take no more of it."""
        transport: Any = self.transport
        if transport is not None:
            # A body that is paused or over has another transport.
            getattr(transport, "abortConnection", transport.loseConnection)()

    def _fail(self, why: str) -> None:
        if not self._collected.called:
            self._collected.errback(NotFetched(why))
            self.abort()


def _max_age(response: IResponse) -> float | None:
    """RFC 9111 §5.2.2: for how long the server says it is fresh; None if it does not."""
    said = ",".join(response.headers.getRawHeaders("Cache-Control", []))
    if _NO_STORE.search(said):
        return 0.0
    match = _MAX_AGE.search(said)
    return float(match[1]) if match else None
