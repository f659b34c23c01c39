"""What the log says of a connection that ends by an exception of wsgate's own."""

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.websocket.test_protocol import Gateway


@pytest.fixture
def lines():
    seen = []

    def observe(event):
        seen.append((event["log_level"], formatEvent(event)))

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


def test_a_fault_of_ours_is_logged_with_the_id_of_its_connection(lines):
    gateway = Gateway()
    gateway.open()
    lines.clear()
    gateway.protocol.connectionLost(Failure(ZeroDivisionError("a\nb\x1b[31m")))
    number = gateway.protocol._conversation.connection_id
    assert lines == [
        (
            LogLevel.error,
            f"connection {number} from 192.0.2.7 ended by a fault of wsgate: "
            "ZeroDivisionError: a | b\\x1b[31m",
        )
    ]


def test_before_the_handshake_there_is_no_id_yet(lines):
    gateway = Gateway()
    gateway.protocol.connectionLost(Failure(KeyError("x")))
    ((_, line),) = lines
    assert line.startswith("connection - from ")
    assert line.endswith("ended by a fault of wsgate: KeyError: 'x'")


@pytest.mark.parametrize(
    "reason",
    [
        ConnectionDone(),
        ConnectionLost(),
        ConnectionAborted(),
        OSError(104, "reset"),
        SSL.Error([]),
        SSL.SysCallError(-1, "EOF"),
    ],
    ids=lambda reason: type(reason).__name__,
)
def test_an_ordinary_end_is_not(lines, reason):
    gateway = Gateway()
    gateway.open()
    lines.clear()
    gateway.protocol.connectionLost(Failure(reason))
    assert lines == []
