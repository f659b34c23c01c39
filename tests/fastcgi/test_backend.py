"""wsgate.fastcgi.backend: whose turn it is, and what a failed connect means."""

from errno import EAGAIN, ENOENT

import pytest
from twisted.internet import error
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from tests.fastcgi.fakes import FakeEndpoint, Outcome, as_php_fpm_reports_a_full_backlog
from wsgate.fastcgi import Backend, BreakerRules
from wsgate.fastcgi.backend import Backends, is_busy
from wsgate.fastcgi.breaker import LEAST_REQUESTS, LONGEST_REST, SHORT_REST


def three():
    clock = Clock()
    members = [Backend(name, FakeEndpoint()) for name in "abc"]
    changes = []
    return clock, Backends(clock, members, BreakerRules(), changes.append), members


def test_the_backend_with_the_fewest_connections_is_chosen():
    _, backends, (a, b, c) = three()
    a.connections, b.connections, c.connections = 2, 1, 2
    assert backends.choose([]) is b
    b.connections = 3
    c.connections = 1
    assert backends.choose([]) is c


def test_equals_take_turns():
    _, backends, (a, b, c) = three()
    assert [backends.choose([]) for _ in range(6)] == [a, b, c, a, b, c]


def test_those_tried_are_not_chosen_again():
    _, backends, (a, b, c) = three()
    assert backends.choose([a, b]) is c
    assert backends.choose([a, b, c]) is None


def test_a_single_backend_is_chosen_once():
    backend = Backend("only", FakeEndpoint())
    backends = Backends(Clock(), [backend], BreakerRules(), print)
    assert backends.choose([]) is backend
    assert backends.choose([backend]) is None


def test_a_refusing_backend_is_left_alone_for_a_second():
    clock, backends, (a, b, c) = three()
    backends.refused(a, None, "no")
    b.connections = c.connections = 5
    clock.advance(SHORT_REST - 0.01)
    assert backends.choose([]) is b
    clock.advance(0.01)
    assert backends.choose([]) is a


def test_then_a_single_request_finds_out_before_it_goes_anywhere_else():
    clock, backends, (a, b, c) = three()
    a.connections = 5
    backends.refused(a, None, "no")
    clock.advance(SHORT_REST)
    assert backends.choose([]) is a
    backends.begun(a, "probe")
    assert backends.choose([]) is b
    clock.advance(SHORT_REST)
    assert backends.choose([]) is a
    backends.accepted(a)
    assert [backends.choose([]) for _ in range(2)] == [c, b]


def test_the_last_one_that_is_not_left_alone_is_so_only_after_ten_refusals():
    clock, backends, (a, b, c) = three()
    for backend in (a, b, c):
        backends.refused(backend, None, f"{backend.name}: no")
    assert backends.choose([]) is c
    clock.advance(0.32)
    for _ in range(9):
        assert not backends.cut_off
        backends.refused(c, None, "c: no")
    assert backends.cut_off
    assert backends.choose([]) is None
    assert backends.cause == "a: no; b: no; c: no"
    clock.advance(SHORT_REST - 0.32)
    assert not backends.cut_off
    assert backends.choose([]) is a


def lose(backends, backend, times, connection=None):
    for _ in range(times):
        backends.lost(backend, connection, "no")


def left_alone_for_longest(clock, backends, backend):
    """Lose each of its probes until the rest has grown to its bound."""
    lose(backends, backend, LEAST_REQUESTS)
    while backend.breaker.rest < LONGEST_REST:
        clock.advance(backend.breaker.rest)
        backends.begun(backend, "probe")
        lose(backends, backend, 1, "probe")


def test_without_others_one_that_was_left_alone_for_long_is_tried_within_a_second():
    clock, backends, (a, b, c) = three()
    left_alone_for_longest(clock, backends, a)
    lose(backends, b, LEAST_REQUESTS)
    clock.advance(SHORT_REST)
    assert not a.breaker.allows(clock.seconds())
    lose(backends, c, LEAST_REQUESTS)
    assert backends.all_open
    clock.advance(SHORT_REST)
    assert a.breaker.allows(clock.seconds())
    backends.begun(a, "probe")
    backends.refused(a, "probe", "no")
    clock.advance(SHORT_REST)
    assert a.breaker.allows(clock.seconds())


def test_an_outage_is_logged_when_it_begins_and_when_it_ends_and_not_between():
    clock, backends, (a, _, _) = three()
    with capturedLogs() as events:
        backends.accepted(a)
        for _ in range(5):
            backends.refused(a, None, "a: Connection refused")
            clock.advance(SHORT_REST)
        backends.accepted(a)
        backends.accepted(a)
    assert [(event["log_level"].name, formatEvent(event)) for event in events] == [
        ("warn", "Backend a: Connection refused; left alone but for one try in 1 s"),
        ("info", "Backend a serves again"),
    ]


def test_reset_lets_every_backend_in():
    _, backends, (a, b, c) = three()
    backends.refused(a, None, "no")
    b.connections = c.connections = 5
    backends.reset()
    assert backends.choose([]) is a
    assert backends.all_closed


def test_an_endpoint_that_raises_fails_the_deferred():
    endpoint = FakeEndpoint()
    endpoint.always = OSError(24, "Too many open files")
    outcome = Outcome(Backend("a", endpoint).connect(None))
    assert outcome.error is endpoint.always


def test_a_backend_is_shown_with_its_connections():
    assert repr(Backend("app", FakeEndpoint())) == "<Backend app: 0 connections>"


@pytest.mark.parametrize(
    ("cause", "busy"),
    [
        (as_php_fpm_reports_a_full_backlog(), True),
        (error.ConnectError(EAGAIN, "Resource temporarily unavailable"), True),
        (error.ConnectError(ENOENT, "No such file or directory"), False),
        (error.ConnectionRefusedError("Connection refused"), False),
        (error.ConnectError(string="a path that is too long"), False),
        (error.ConnectError(), False),
        (error.TimeoutError("timed out"), False),
        (error.NoRouteError("no route"), False),
        (error.ConnectingCancelledError(None), False),
        (OSError(24, "Too many open files"), False),
    ],
)
def test_only_a_full_backlog_is_busy(cause, busy):
    assert is_busy(Failure(cause)) is busy
