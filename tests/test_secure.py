"""wsgate.secure: which host a string names; the rest is in the integration tests."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol

from wsgate.pools import _host
from wsgate.secure import SecureEndpoint


@pytest.mark.parametrize(
    ("description", "host"),
    [
        ("tls:php.example:9000", "php.example"),
        ("TLS:php.example:9000:trustRoots=/a", "php.example"),
        ("tls:host=php.example:port=9000", "php.example"),
        ("tls:port=9000:host=php.example", "php.example"),
        (r"tls:\:\:1:9000", "::1"),
        (r"tls:php.example:9000:endpoint=unix\:/run/x", "php.example"),
    ],
)
def test_the_host_is_found_in_the_string(description, host):
    assert _host(description) == host


class Endpoint:
    def __init__(self):
        self.cancelled = False
        self.connecting = Deferred(self._cancel)

    def _cancel(self, _):
        self.cancelled = True

    def connect(self, factory):
        self.factory = factory
        return self.connecting


def test_what_the_endpoint_says_is_passed_on():
    endpoint = Endpoint()
    failures = []
    connecting = SecureEndpoint(endpoint, "h").connect(Factory.forProtocol(Protocol))
    connecting.addErrback(failures.append)
    endpoint.connecting.errback(ConnectError(string="refused"))
    assert [failure.type for failure in failures] == [ConnectError]


def test_a_connect_under_way_can_be_cancelled():
    endpoint = Endpoint()
    failures = []
    connecting = SecureEndpoint(endpoint, "h").connect(Factory.forProtocol(Protocol))
    connecting.addErrback(failures.append)
    connecting.cancel()
    assert endpoint.cancelled
    assert len(failures) == 1
