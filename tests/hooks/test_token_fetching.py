"""wsgate.hooks.tokens.fetching: what is taken of an answer; real servers are in integration."""

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from wsgate.hooks.tokens.fetching import NotFetched, _document
from wsgate.hooks.tokens.jwks import Fetched
from wsgate.hooks.tokens.keys import LARGEST


class Response:
    def __init__(self, code=200, **headers):
        self.code = code
        self.headers = Headers({name.replace("_", "-"): [value] for name, value in headers.items()})
        self.transport = StringTransport()
        self.results = []
        self.collected = _document(self)
        self.collected.addCallbacks(self.results.append, lambda f: self.results.append(f.value))

    def deliverBody(self, body):
        self.body = body
        body.makeConnection(self.transport)

    def end(self, reason=ResponseDone):
        self.body.connectionLost(Failure(reason()))
        return self.results[0]


@pytest.mark.parametrize("reason", [ResponseDone, PotentialDataLoss])
def test_a_body_is_collected(reason):
    response = Response()
    response.body.dataReceived(b"ab")
    response.body.dataReceived(b"c")
    assert response.end(reason) == Fetched(b"abc", None)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("max-age=60", 60),
        ("public, max-age=19845, must-revalidate, no-transform", 19845),
        ("Max-Age=5", 5),
        ('max-age="7"', 7),
        ("s-maxage=9", None),
        ("x-max-age=9", None),
        ("max-age=", None),
        ("max-age=-1", None),
        ("max-age=9999999999", None),
        ("no-store", 0),
        ("max-age=60, no-cache", 0),
        ("", None),
    ],
)
def test_for_how_long_it_is_fresh(said, seconds):
    assert Response(cache_control=said).end().max_age == seconds


@pytest.mark.parametrize("code", [204, 301, 302, 404, 500])
def test_only_200_has_keys(code):
    response = Response(code, location="http://127.0.0.1/")
    assert isinstance(response.end(), NotFetched)
    assert str(code) in str(response.results[0])
    assert response.transport.disconnecting or response.transport.disconnected


def test_a_body_has_a_largest_size():
    response = Response()
    response.body.dataReceived(b"x" * LARGEST)
    assert response.results == []
    response.body.dataReceived(b"x")
    assert isinstance(response.results[0], NotFetched)
    assert response.transport.disconnecting or response.transport.disconnected
    response.body.dataReceived(b"x")
    response.end()
    assert len(response.results) == 1


@pytest.mark.parametrize("reason", [ConnectionDone, ConnectionLost])
def test_half_a_body_is_none(reason):
    response = Response()
    response.body.dataReceived(b"{")
    assert isinstance(response.end(reason), NotFetched)


def test_one_that_is_cancelled_is_cut_off():
    response = Response()
    response.collected.cancel()
    assert response.transport.disconnecting or response.transport.disconnected
    response.end()
    assert len(response.results) == 1
