"""wsgate.gateway.lastwords: what the answer to a disconnect does to those who stay."""

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from tests.fakes import FakeMember
from wsgate.channels import Channels
from wsgate.fastcgi import Response
from wsgate.gateway import LastWords


@pytest.fixture
def channels():
    return Channels(Clock())


@pytest.fixture
def other(channels):
    """Somebody in room a."""
    found = FakeMember("other")
    channels.add(found)
    channels.subscribe(found, "a")
    return found


def hear(channels, *headers, body=b"she left", status=200, stderr=b""):
    """Answer the disconnect of somebody else; the lines that are logged."""
    head = b"\r\n".join([f"Status: {status}".encode(), *(h.encode() for h in headers)])
    with capturedLogs() as logs:
        LastWords(channels)("ab" * 16, Response(head + b"\r\n\r\n" + body, stderr, 0))
    return [formatEvent(event) for event in logs]


def test_the_body_goes_to_the_channels_that_the_answer_names(channels, other):
    assert hear(channels, "Wsgate-Publish: a, b; except-self") == []
    assert other.got == [b"she left"]
    assert hear(channels, "Wsgate-Publish: a", "Content-Type: image/png", body=b"\xff") == []
    assert other.got[1:] == [b"\xff"]


@pytest.mark.parametrize("status", [200, 204, 302, 404])
def test_an_answer_without_actions_says_nothing_to_anybody(channels, other, status):
    assert hear(channels, status=status, body=b"" if status == 204 else b"x") == []
    assert other.got == []


@pytest.mark.parametrize(
    "header", ["Wsgate-Subscribe: a", "Wsgate-Set: a=b", "Wsgate-User: 1", "Wsgate-Close: 4000"]
)
def test_nothing_else_can_be_done_with_who_has_left(channels, other, header):
    (line,) = hear(channels, "Wsgate-Publish: a", header)
    assert line == (
        f"disconnect of {'ab' * 16}: the client has left, so of Wsgate-* only Wsgate-Publish does "
        "anything"
    )
    assert other.got == [b"she left"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"status": 204, "body": b""}, "the answer has no body"),
        ({"status": 302}, "a redirect (status 302) cannot be answered"),
        ({"body": b"\xff"}, "not UTF-8"),
    ],
)
def test_what_cannot_be_published_is_a_warning(channels, other, answer, says):
    (line,) = hear(channels, "Wsgate-Publish: a", **answer)
    assert says in line
    assert other.got == []


def test_a_header_that_is_not_known_is_a_warning(channels):
    (line,) = hear(channels, "Wsgate-Publsih: a")
    assert "wsgate-publsih: no such header is known" in line
