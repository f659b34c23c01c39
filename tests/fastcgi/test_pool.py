"""wsgate.fastcgi.pool: every bound at the limit and one past it, on a fake clock."""

import re

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from tests.fastcgi.fakes import (
    Network,
    Outcome,
    answer,
    as_php_fpm_reports_a_full_backlog,
    stdout,
)
from wsgate.fastcgi import (
    BackendBusy,
    BackendUnavailable,
    CircuitOpen,
    ConnectionPool,
    Lane,
    PoolLimits,
    PoolStopped,
    ProtocolError,
    QueueFull,
    QueueTimeout,
    Response,
    ResponseCutOff,
    ResponseNeverReceived,
    ResponseTimeout,
)

TEXT = Response(b"answer", b"", 0)


# One connection per request


def test_a_request_connects_is_sent_answered_and_its_connection_closed():
    net = Network()
    outcome = net.request()
    assert repr(net.pool) == "<ConnectionPool default: 1 in flight, 0 idle, 0 waiting>"
    transport = net.endpoint.accept()
    assert b"hello" in transport.value()
    assert outcome.pending
    net.endpoint.receive(answer())
    assert outcome.result == TEXT
    assert transport.disconnected
    assert repr(net.pool) == "<ConnectionPool default: 0 in flight, 0 idle, 0 waiting>"
    assert (net.pool.requests, net.pool.responses, net.pool.errors) == (1, 1, {})
    assert net.pool.surplus == 0
    assert len(net.pool.timeouts) == 0


def test_no_more_than_max_in_flight_connections_are_made():
    net = Network(max_in_flight=2)
    outcomes = [net.request() for _ in range(3)]
    assert net.endpoint.connects == 2
    assert (net.pool.in_flight, net.pool.waiting) == (2, 1)
    net.endpoint.accept()
    net.endpoint.receive(answer())
    assert net.endpoint.connects == 3
    assert outcomes[0].result == TEXT
    assert (net.pool.in_flight, net.pool.waiting) == (2, 0)


def test_those_who_wait_are_served_in_the_order_they_came():
    net = Network(max_in_flight=1)
    outcomes = [net.request(b"number %d" % n) for n in range(4)]
    for number, outcome in enumerate(outcomes):
        assert b"number %d" % number in net.endpoint.accept().value()
        assert outcome.pending
        net.endpoint.receive(answer())
        assert outcome.result == TEXT
    net.check_accounts()


def test_the_place_is_taken_by_the_next_before_the_caller_is_told():
    net = Network(max_in_flight=1)
    seen = []
    first = net.request()
    net.request()
    first.deferred.addCallback(lambda _: seen.append(repr(net.pool)))
    net.endpoint.accept()
    net.endpoint.receive(answer())
    assert seen == ["<ConnectionPool default: 1 in flight, 0 idle, 0 waiting>"]


def test_a_request_beyond_the_queue_fails_at_once():
    net = Network(max_in_flight=1, queue=2)
    outcomes = [net.request() for _ in range(3)]
    assert all(outcome.pending for outcome in outcomes)
    refused = net.request()
    assert isinstance(refused.error, QueueFull)
    assert net.pool.waiting == 2
    assert net.pool.errors == {"QueueFull": 1}
    net.check_accounts()


def test_a_queue_of_0_lets_nobody_wait():
    net = Network(max_in_flight=1, queue=0)
    assert net.request().pending
    assert isinstance(net.request().error, QueueFull)


def test_a_request_waits_until_the_deadline_and_no_longer():
    net = Network(max_in_flight=1, queue_deadline=5.0)
    net.request()
    net.endpoint.accept()
    waiting = net.request()
    net.clock.advance(4.99)
    assert waiting.pending
    net.clock.advance(0.11)
    assert isinstance(waiting.error, QueueTimeout)
    assert net.pool.waiting == 0
    net.endpoint.receive(answer())
    assert net.endpoint.connects == 1
    net.check_accounts()


def test_the_deadline_ends_with_the_wait():
    net = Network(max_in_flight=1)
    net.request()
    waiting = net.request()
    net.endpoint.accept()
    net.endpoint.receive(answer())
    net.endpoint.accept()
    net.advance(20)
    assert waiting.pending


def test_a_request_cancelled_while_it_waits_never_runs():
    net = Network(max_in_flight=1)
    net.request()
    cancelled, last = net.request(b"cancelled"), net.request(b"last")
    cancelled.deferred.cancel()
    assert isinstance(cancelled.error, CancelledError)
    assert net.pool.waiting == 1
    net.endpoint.accept()
    net.endpoint.receive(answer())
    assert b"last" in net.endpoint.accept().value()
    net.endpoint.receive(answer())
    assert last.result == TEXT
    net.advance(10)
    assert net.pool.errors == {"CancelledError": 1}
    net.check_accounts()


def test_cancelling_a_request_in_flight_changes_nothing_for_the_pool():
    net = Network(max_in_flight=1)
    direct, waited = net.request(), net.request()
    direct.deferred.cancel()
    assert net.pool.in_flight == 1
    transport = net.endpoint.accept()
    assert not transport.disconnected
    net.endpoint.receive(answer())
    net.endpoint.accept()
    waited.deferred.cancel()
    net.endpoint.receive(answer())
    assert isinstance(direct.error, CancelledError)
    assert isinstance(waited.error, CancelledError)
    assert (net.pool.responses, net.pool.errors, net.pool.in_flight) == (2, {}, 0)


def test_cancelling_a_request_that_then_finds_no_backend_changes_nothing():
    net = Network(max_in_flight=1)
    direct = net.request()
    direct.deferred.cancel()
    net.endpoint.refuse()
    for delay in (0.01, 0.05, 0.25):
        net.clock.advance(delay)
        net.endpoint.refuse()
    assert net.pool.errors == {"BackendUnavailable": 1}
    net.check_accounts()


# Lanes


def serve(net):
    """Answer one request after the other, on one place; what was sent, in order."""
    served = []
    while net.endpoint.attempts:
        transport = net.endpoint.accept()
        served.append(transport.value()[-16:].decode("latin-1").strip("\0").rsplit(" ")[-1])
        net.endpoint.receive(answer())
    return served


def ask(net, count, lane):
    return [net.request(b" %s%d" % (lane.name[:1].encode(), n), lane) for n in range(count)]


def letters(served):
    return "".join(re.findall(r"[A-Z](?=\d)", " ".join(served)))


def test_disconnects_and_connects_go_before_messages_which_get_every_fourth_place():
    net = Network(max_in_flight=1)
    net.request(b" first0", Lane.MESSAGE)
    ask(net, 6, Lane.MESSAGE)
    ask(net, 4, Lane.CONNECT)
    ask(net, 4, Lane.DISCONNECT)
    assert [net.pool.waiting_in(lane) for lane in Lane] == [4, 4, 6]
    assert (net.pool.waiting, net.pool.waiting_most) == (14, 14)
    assert letters(serve(net)) == "DDDMCDCMCCMMMM"
    net.check_accounts()


def test_within_a_lane_who_came_first_is_first():
    net = Network(max_in_flight=1)
    net.request(b" first0")
    for lane in (Lane.MESSAGE, Lane.CONNECT):
        ask(net, 20, lane)
    served = " ".join(serve(net))
    for letter in "MC":
        assert [int(n) for n in re.findall(rf"{letter}(\d+)", served)] == list(range(20))


@pytest.mark.parametrize("flooding", [Lane.DISCONNECT, Lane.CONNECT])
def test_a_flood_in_one_lane_leaves_every_fourth_place_to_messages(flooding):
    net = Network(max_in_flight=1, queue=100, queue_deadline=1000)
    net.request(b" first0")
    ask(net, 100, Lane.MESSAGE)
    ask(net, 100, flooding)
    order = letters(serve(net))
    assert len(order) == 200
    busy = order[: order.rindex(flooding.name[0])]
    assert all("M" in busy[at : at + 4] for at in range(len(busy) - 4))


def test_a_full_lane_refuses_nobody_of_another():
    net = Network(max_in_flight=1, queue=2)
    net.request()
    for lane in Lane:
        outcomes = [net.request(lane=lane) for _ in range(3)]
        assert [outcome.pending for outcome in outcomes] == [True, True, False]
        assert isinstance(outcomes[2].error, QueueFull)
    assert net.pool.errors == {"QueueFull": 3}
    net.check_accounts()


def test_a_full_queue_is_logged_when_it_begins_and_when_it_is_half_empty():
    net = Network(max_in_flight=1, queue=4)
    with capturedLogs() as events:
        for _ in range(8):
            net.request()
        assert len(events) == 1
        for _ in range(2):
            net.endpoint.accept()
            net.endpoint.receive(answer())
        net.request()
        net.request()
    assert [(event["log_level"].name, formatEvent(event)) for event in events] == [
        ("warn", "Pool default is full, 4 requests wait: more are refused"),
        ("info", "Pool default has room again; 3 requests were refused"),
    ]


# No connection


def test_a_refused_connect_is_tried_again_after_10_50_and_250_ms_and_no_more():
    net = Network()
    outcome = net.request()
    for delay in (0.01, 0.05, 0.25):
        net.endpoint.refuse()
        assert outcome.pending
        net.clock.advance(delay - 0.001)
        assert net.endpoint.attempts == []
        net.clock.advance(0.001)
        assert len(net.endpoint.attempts) == 1
    net.endpoint.refuse()
    assert isinstance(outcome.error, BackendUnavailable)
    assert outcome.error.backend == "backend 0"
    assert "backend 0: Connection" in str(outcome.error)
    assert net.endpoint.connects == 4
    assert net.pool.in_flight == 0
    net.check_accounts()


def test_a_refused_connect_leaves_no_timeout():
    net = Network()
    net.request()
    net.endpoint.refuse()
    assert len(net.pool.timeouts) == 0


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_a_connect_that_succeeds_at_last_serves_the_request(rounds):
    net = Network()
    outcome = net.request()
    for delay in (0.01, 0.05, 0.25)[:rounds]:
        net.endpoint.refuse()
        net.clock.advance(delay)
    net.endpoint.accept()
    net.endpoint.receive(answer())
    assert outcome.result == TEXT


def test_no_further_round_begins_after_the_queue_deadline():
    net = Network(queue_deadline=0.055)
    outcome = net.request()
    net.endpoint.refuse()
    net.clock.advance(0.01)
    net.endpoint.refuse()
    assert isinstance(outcome.error, BackendUnavailable)


def test_a_connect_without_an_end_is_given_up_after_the_connect_timeout():
    net = Network(connect_timeout=1.0)
    outcome = net.request()
    net.clock.advance(0.99)
    assert net.endpoint.cancelled == 0
    net.clock.advance(0.11)
    assert net.endpoint.cancelled == 1
    net.advance(10, step=0.01)
    assert isinstance(outcome.error, BackendUnavailable)
    assert "did not accept a connection within 1 s" in str(outcome.error)
    assert net.pool.in_flight == 0
    assert len(net.pool.timeouts) == 0


def test_a_connection_that_opens_after_it_was_given_up_is_closed_and_gets_nothing():
    net = Network(connect_timeout=1.0, max_in_flight=1)
    net.request()
    factory, deferred = net.endpoint.attempts[0]
    deferred._canceller = None
    net.clock.advance(1.1)
    assert factory.buildProtocol(None) is None
    net.check_accounts()


def test_an_endpoint_that_raises_is_a_refusal():
    net = Network()
    net.endpoint.always = OSError(24, "Too many open files")
    outcome = net.request()
    net.advance(1, step=0.01)
    assert isinstance(outcome.error, BackendUnavailable)
    assert "Too many open files" in str(outcome.error)


def test_hundreds_that_wait_for_a_backend_that_fails_at_once_do_not_recurse():
    net = Network(max_in_flight=1, queue=2000, queue_deadline=0.35)
    outcomes = [net.request() for _ in range(2000)]
    net.endpoint.attempts[0][1].errback(OSError(24, "Too many open files"))
    net.endpoint.always = OSError(24, "Too many open files")
    net.advance(1, step=0.01)
    assert all(isinstance(o.error, BackendUnavailable | QueueTimeout) for o in outcomes)
    net.check_accounts()


def test_a_full_backlog_is_tried_again_and_then_busy():
    net = Network()
    outcome = net.request()
    for delay in (0.01, 0.05, 0.25):
        net.endpoint.refuse(as_php_fpm_reports_a_full_backlog())
        net.clock.advance(delay)
    net.endpoint.refuse(as_php_fpm_reports_a_full_backlog())
    assert isinstance(outcome.error, BackendBusy)
    assert outcome.error.backend == "backend 0"
    assert "backlog" in str(outcome.error)
    assert net.endpoint.connects == 4
    assert net.backends[0].breaker.refusals == 0


def test_a_connection_lost_after_the_request_was_sent_is_never_tried_again():
    net = Network()
    outcome = net.request()
    net.endpoint.accept()
    net.endpoint.lose()
    assert isinstance(outcome.error, ResponseNeverReceived)
    net.advance(5)
    assert net.endpoint.connects == 1
    net.check_accounts()


def test_a_cut_off_answer_frees_the_place_and_is_never_tried_again():
    net = Network(max_in_flight=1)
    outcome, following = net.request(), net.request()
    net.endpoint.accept()
    net.endpoint.receive(stdout(b"half"))
    net.endpoint.lose()
    assert isinstance(outcome.error, ResponseCutOff)
    net.endpoint.accept()
    net.endpoint.receive(answer())
    assert following.result == TEXT
    assert net.pool.errors == {"ResponseCutOff": 1}


def test_a_timeout_frees_the_place():
    net = Network(max_in_flight=1, response_timeout=30.0, queue_deadline=60)
    outcome = net.request()
    transport = net.endpoint.accept()
    net.request()
    net.clock.advance(30.1)
    assert isinstance(outcome.error, ResponseTimeout)
    assert transport.disconnected
    assert len(net.endpoint.attempts) == 1
    net.check_accounts()


# Several backends


def test_the_least_busy_backend_gets_the_request():
    net = Network(backends=2)
    for _ in range(4):
        net.request()
    assert [b.connections for b in net.backends] == [2, 2]
    net.endpoints[1].accept()
    net.endpoints[1].receive(answer())
    net.request()
    assert [b.connections for b in net.backends] == [2, 2]


def test_a_refusing_backend_is_replaced_by_the_next_at_once_and_left_alone():
    net = Network(backends=2)
    outcome = net.request()
    net.endpoints[0].refuse()
    net.endpoints[1].accept()
    net.endpoints[1].receive(answer())
    assert outcome.result == TEXT
    for _ in range(3):
        net.request()
    assert net.endpoints[0].connects == 1
    net.clock.advance(1.0)
    net.request()
    assert net.endpoints[0].connects == 2
    net.request()
    assert net.endpoints[0].connects == 2


def test_a_backend_that_accepts_again_gets_its_share():
    net = Network(backends=2, max_in_flight=20)
    net.request()
    net.endpoints[0].refuse()
    net.clock.advance(1.0)
    net.request()
    net.endpoints[0].accept()
    for _ in range(4):
        net.request()
    assert [b.connections for b in net.backends] == [3, 3]


def test_when_every_backend_refuses_the_last_one_left_is_tried_in_each_round():
    net = Network(backends=3)
    outcome = net.request()
    for _ in range(400):
        for endpoint in net.endpoints:
            if endpoint.attempts:
                endpoint.refuse()
        net.clock.advance(0.001)
    assert isinstance(outcome.error, BackendUnavailable)
    assert [e.connects for e in net.endpoints] == [1, 1, 4]


def test_one_busy_and_one_refusing_backend_come_to_busy():
    net = Network(backends=2)
    outcome = net.request()
    for _ in range(400):
        for endpoint, error in zip(
            net.endpoints, (as_php_fpm_reports_a_full_backlog(), None), strict=True
        ):
            if endpoint.attempts:
                endpoint.refuse(error)
        net.clock.advance(0.001)
    assert isinstance(outcome.error, BackendBusy)
    # The one that refused is left alone meanwhile; the busy one is not.
    assert [e.connects for e in net.endpoints] == [4, 1]


# Backends that are left alone


def cut_off(**settings):
    """A network whose only backend has just refused so often that its breaker opened."""
    net = Network(**settings)
    for _ in range(3):
        outcome = net.request()
        refuse_all_of(net, 0.5)
        assert isinstance(outcome.error, BackendUnavailable)
    assert net.backends[0].breaker.state == "open"
    return net


def refuse_all_of(net, seconds):
    for _ in range(round(seconds / 0.01)):
        for endpoint in net.endpoints:
            while endpoint.attempts:
                endpoint.refuse()
        net.clock.advance(0.01)


def test_ten_refusals_in_a_row_open_the_breaker_and_then_nothing_waits():
    net = cut_off()
    connects = net.endpoint.connects
    assert connects == 10
    assert net.backends[0].breaker.opened == 1
    outcome = net.request()
    assert isinstance(outcome.error, CircuitOpen)
    assert "backend 0: Connection" in str(outcome.error)
    assert net.endpoint.connects == connects
    net.check_accounts()


def test_refusals_of_a_third_of_a_second_open_no_breaker():
    net = Network(max_in_flight=20)
    outcomes = [net.request() for _ in range(20)]
    refuse_all_of(net, 0.3)
    assert net.backends[0].breaker.state == "closed"
    net.clock.advance(0.02)
    for outcome in outcomes:
        net.endpoint.accept()
        net.endpoint.receive(answer())
        assert outcome.result == TEXT


def test_those_who_wait_when_the_breaker_opens_fail_at_once():
    net = Network(max_in_flight=3, queue_deadline=60)
    outcomes = [net.request() for _ in range(50)]
    refuse_all_of(net, 0.4)
    assert net.backends[0].breaker.state == "open"
    assert not any(outcome.pending for outcome in outcomes)
    assert set(net.pool.errors) == {"BackendUnavailable", "CircuitOpen"}
    net.check_accounts()


def test_after_a_second_one_request_tries_and_a_connection_lets_all_others_in():
    net = cut_off()
    net.clock.advance(1.0)
    probe, other = net.request(), net.request()
    assert net.backends[0].breaker.state == "half-open"
    assert probe.pending
    assert isinstance(other.error, CircuitOpen)
    net.endpoint.accept()
    assert net.backends[0].breaker.state == "closed"
    outcome = net.request()
    net.endpoint.accept()
    net.endpoint.receive(answer(), 0)
    net.endpoint.receive(answer(), 1)
    assert probe.result == outcome.result == TEXT


def test_a_probe_that_is_refused_fails_at_once_and_the_next_comes_a_second_later():
    net = cut_off()
    for _ in range(5):
        net.clock.advance(1.0)
        probe = net.request()
        net.endpoint.refuse()
        assert isinstance(probe.error, BackendUnavailable)
        net.clock.advance(0.98)
        assert isinstance(net.request().error, CircuitOpen)
    assert net.backends[0].breaker.opened == 1


def lose(net, count, endpoint=0):
    """Let requests be sent and lost."""
    for _ in range(count):
        net.request()
        net.endpoints[endpoint].accept()
        net.endpoints[endpoint].lose()


def test_a_backend_that_loses_20_requests_within_10_seconds_is_left_alone():
    net = Network()
    lose(net, 19)
    assert net.backends[0].breaker.state == "closed"
    lose(net, 1)
    assert net.backends[0].breaker.state == "open"
    assert isinstance(net.request().error, CircuitOpen)
    net.clock.advance(1.0)
    probe = net.request()
    net.endpoint.accept()
    assert isinstance(net.request().error, CircuitOpen)
    net.endpoint.receive(answer())
    assert probe.result == TEXT
    assert net.backends[0].breaker.state == "closed"


def test_nobody_waits_behind_a_probe_though_the_other_backend_may_be_tried_too():
    net = Network(2, max_in_flight=1, queue=1)
    lost, silent = net.endpoints
    net.request()
    lost.accept()
    lost.lose()
    # The second backend does not accept in time, and the first goes on losing what it is sent.
    net.request()
    net.clock.advance(1.1)
    lost.accept()
    lost.lose()
    lose(net, 18)
    assert [backend.breaker.state for backend in net.backends] == ["open", "open"]
    # Both rests are over, and there is a place for one probe.
    net.clock.advance(1.1)
    assert net.pool.is_available
    probe = net.request()
    assert (len(lost.attempts), len(silent.attempts)) == (0, 1)
    assert isinstance(net.request().error, CircuitOpen)
    assert not net.pool.is_available
    # The silent one is silent again, and the probe goes on to the other.
    net.clock.advance(1.1)
    assert (len(lost.attempts), len(silent.attempts)) == (1, 0)
    assert isinstance(net.request().error, CircuitOpen)
    assert net.pool.waiting_most == 0
    lost.accept()
    lost.receive(answer())
    assert probe.result == TEXT
    assert net.request().pending
    net.check_accounts()


def test_those_who_wait_fail_when_the_last_backend_opens_and_another_is_tried():
    net = Network(2, max_in_flight=1)
    first, last = net.endpoints
    net.request()
    first.refuse()
    last.accept()
    last.receive(answer())
    for _ in range(2):
        net.request()
        refuse_all_of(net, 0.4)
    net.request()
    last.refuse()
    net.clock.advance(0.15)
    assert len(last.attempts) == 1
    net.clock.advance(0.1)
    assert [backend.breaker.state for backend in net.backends] == ["open", "closed"]
    waiting = net.request()
    assert waiting.pending
    last.refuse()
    assert [backend.breaker.state for backend in net.backends] == ["half-open", "open"]
    assert isinstance(waiting.error, CircuitOpen)
    net.check_accounts()


def test_what_a_script_answers_or_how_long_it_takes_opens_no_breaker():
    net = Network(response_timeout=1)
    for _ in range(30):
        outcome = net.request()
        net.endpoint.accept()
        net.endpoint.receive(answer(b"Status: 500\r\n\r\n"))
        assert outcome.result
    for _ in range(30):
        outcome = net.request()
        net.endpoint.accept()
        net.clock.advance(1.2)
        assert isinstance(outcome.error, ResponseTimeout)
    assert net.backends[0].breaker.state == "closed"


def test_a_slow_probe_does_not_keep_others_from_finding_out():
    net = Network()
    lose(net, 20)
    net.clock.advance(1.0)
    slow = net.request()
    net.endpoint.accept()
    net.clock.advance(1.0)
    quick = net.request()
    net.endpoint.accept()
    net.endpoint.receive(answer())
    assert quick.result == TEXT
    assert slow.pending
    assert net.backends[0].breaker.state == "closed"


def test_of_two_backends_the_flapping_one_costs_a_message_per_probe_at_most():
    net = Network(2, queue_deadline=1000)
    lost_at = []
    ejected = None
    for turn in range(2000):
        net.clock.advance(0.05)
        outcome = net.request()
        flapping, steady = net.endpoints
        if flapping.attempts:
            flapping.accept()
            flapping.lose()
        else:
            steady.accept()
            steady.receive(answer())
        if outcome.error:
            lost_at.append(turn)
        if ejected is None and net.backends[0].breaker.is_open:
            ejected = turn
    # 20 messages per second, every other one lost: within two seconds.
    assert ejected is not None
    assert ejected <= 40
    later = [turn for turn in lost_at if turn > ejected]
    assert 0 < len(later) <= (2000 - ejected) / 100
    net.clock.advance(10)
    probe = net.request()
    net.endpoints[0].accept()
    net.endpoints[0].receive(answer())
    assert probe.result == TEXT
    assert net.backends[0].breaker.state == "closed"


def test_kept_connections_to_a_backend_that_is_left_alone_are_not_used_again():
    net = kept(backends=2, max_in_flight=4)
    for _ in range(4):
        net.request()
    for endpoint in net.endpoints:
        endpoint.accept()
        endpoint.accept()
    first, second = net.endpoints
    first.receive(answer(), 0)
    second.receive(answer(), 0)
    second.receive(answer(), 1)
    net.backends[0].breaker.refused(0.0, "gone", None, others=True)
    net.pool.backends._opened(net.backends[0])
    assert first.transports[0].disconnected
    first.receive(answer(), 1)
    assert first.transports[1].disconnected
    assert not any(transport.disconnected for transport in second.transports)
    assert len(net.pool._idle) == 2
    net.check_accounts()


# Kept connections


def kept(**settings):
    return Network(keep_connections=True, **settings)


def test_a_kept_connection_is_used_again():
    net = kept()
    for _ in range(3):
        outcome = net.request()
        if net.endpoint.attempts:
            net.endpoint.accept()
        net.endpoint.receive(answer())
        assert outcome.result == TEXT
        assert repr(net.pool) == "<ConnectionPool default: 0 in flight, 1 idle, 0 waiting>"
    assert net.endpoint.connects == 1
    assert not net.endpoint.transports[0].disconnected


def test_who_waits_gets_the_connection_before_the_caller_is_told():
    net = kept(max_in_flight=1)
    first, second = net.request(b"first"), net.request(b"second")
    written = []
    first.deferred.addCallback(lambda _: written.append(transport.value()))
    transport = net.endpoint.accept()
    net.endpoint.receive(answer())
    assert b"second" in written[0]
    net.endpoint.receive(answer())
    assert second.result == TEXT
    assert net.endpoint.connects == 1


def test_there_are_never_more_connections_than_max_in_flight():
    net = kept(max_in_flight=2)
    outcomes = [net.request() for _ in range(4)]
    for _ in range(2):
        net.endpoint.accept()
    for index in (0, 1, 1, 0):
        assert net.endpoint.attempts == []
        net.endpoint.receive(answer(), index)
    assert all(outcome.result == TEXT for outcome in outcomes)
    assert net.endpoint.connects == 2
    assert repr(net.pool) == "<ConnectionPool default: 0 in flight, 2 idle, 0 waiting>"


def test_the_least_recently_used_connection_is_used_first():
    net = kept()
    for _ in range(2):
        net.request()
        net.endpoint.accept()
    net.endpoint.receive(answer(), 1)
    net.endpoint.receive(answer(), 0)
    net.endpoint.transports[1].clear()
    net.request()
    assert net.endpoint.transports[1].value() != b""


def test_with_workers_of_its_own_a_connection_to_each_is_opened_before_one_is_used_again():
    net = kept(max_in_flight=3, own_workers=True)
    for connects in (1, 2, 3, 3, 3):
        outcome = net.request()
        if net.endpoint.attempts:
            net.endpoint.accept()
        assert net.endpoint.connects == connects
        busy = next(i for i, t in enumerate(net.endpoint.transports) if t.value())
        net.endpoint.receive(answer(), busy)
        net.endpoint.transports[busy].clear()
        assert outcome.result == TEXT


def test_a_worker_that_was_given_up_on_is_not_waited_for_while_another_has_a_connection():
    net = kept(max_in_flight=2, own_workers=True, response_timeout=1)
    for _ in range(2):
        net.request()
        net.endpoint.accept()
    net.endpoint.receive(answer(), 0)
    net.clock.advance(1.2)
    net.endpoint.transports[0].clear()
    net.request()
    assert net.endpoint.attempts == []
    assert net.endpoint.transports[0].value() != b""


def test_with_workers_of_its_own_an_idle_connection_serves_when_no_new_one_can_be_made():
    net = kept(max_in_flight=2, own_workers=True)
    net.request()
    net.endpoint.accept()
    net.endpoint.receive(answer(), 0)
    outcome = net.request()
    net.endpoint.refuse()
    net.clock.advance(0.02)
    net.endpoint.receive(answer(), 0)
    assert outcome.result == TEXT


def test_a_kept_connection_that_dies_while_idle_is_dropped_silently():
    net = kept()
    net.request()
    net.endpoint.accept()
    net.endpoint.receive(answer())
    net.endpoint.lose()
    assert repr(net.pool) == "<ConnectionPool default: 0 in flight, 0 idle, 0 waiting>"
    assert net.backends[0].connections == 0
    outcome = net.request()
    net.endpoint.accept()
    net.endpoint.receive(answer())
    assert outcome.result == TEXT
    assert net.pool.errors == {}


def test_bytes_on_an_idle_connection_drop_it():
    net = kept()
    net.request()
    transport = net.endpoint.accept()
    net.endpoint.receive(answer())
    net.endpoint.receive(stdout(b"late"))
    assert transport.disconnected
    assert repr(net.pool) == "<ConnectionPool default: 0 in flight, 0 idle, 0 waiting>"
    assert net.pool.errors == {}


def test_bytes_after_the_answer_are_counted_and_the_connection_closed():
    net = kept()
    outcome = net.request()
    transport = net.endpoint.accept()
    with capturedLogs() as events:
        net.endpoint.receive(answer() + stdout(b"late"))
    assert [formatEvent(event) for event in events] == ["Bytes after END_REQUEST from backend 0"]
    assert outcome.result == TEXT
    assert net.pool.surplus == 1
    assert transport.disconnected
    assert repr(net.pool) == "<ConnectionPool default: 0 in flight, 0 idle, 0 waiting>"


def test_a_request_on_a_kept_connection_that_dies_without_an_answer_is_not_sent_again():
    net = kept()
    net.request()
    net.endpoint.accept()
    net.endpoint.receive(answer())
    outcome = net.request()
    net.endpoint.lose()
    assert isinstance(outcome.error, ResponseNeverReceived)
    net.advance(5)
    assert net.endpoint.connects == 1
    net.check_accounts()


def test_a_violation_closes_a_kept_connection():
    net = kept()
    outcome = net.request()
    transport = net.endpoint.accept()
    net.endpoint.receive(b"garbage")
    assert isinstance(outcome.error, ProtocolError)
    assert transport.disconnected
    assert repr(net.pool) == "<ConnectionPool default: 0 in flight, 0 idle, 0 waiting>"


def test_a_request_about_to_connect_again_takes_a_connection_that_became_idle():
    net = kept(max_in_flight=2)
    net.request()
    net.endpoint.accept()
    second = net.request()
    net.endpoint.refuse()
    net.endpoint.receive(answer())
    net.clock.advance(0.01)
    net.endpoint.receive(answer())
    assert second.result == TEXT
    assert net.endpoint.connects == 2


# hold, release, stop


def test_while_the_pool_is_held_requests_wait_and_their_deadline_runs():
    net = Network(queue=1)
    net.pool.hold()
    waiting = net.request()
    assert repr(net.pool) == "<ConnectionPool default: 0 in flight, 0 idle, 1 waiting, held>"
    assert isinstance(net.request().error, QueueFull)
    assert net.endpoint.connects == 0
    net.advance(5.2)
    assert isinstance(waiting.error, QueueTimeout)


def test_release_sends_what_waits_up_to_max_in_flight():
    net = Network(max_in_flight=2)
    net.pool.hold()
    for _ in range(3):
        net.request()
    net.pool.release()
    assert net.endpoint.connects == 2
    assert repr(net.pool) == "<ConnectionPool default: 2 in flight, 0 idle, 1 waiting>"


def test_what_was_sent_before_hold_may_still_be_answered_and_its_connection_is_not_kept():
    net = kept()
    outcome = net.request()
    transport = net.endpoint.accept()
    net.pool.hold()
    net.endpoint.receive(answer())
    assert outcome.result == TEXT
    assert transport.disconnected


def test_hold_closes_idle_connections():
    net = kept()
    net.request()
    transport = net.endpoint.accept()
    net.endpoint.receive(answer())
    net.pool.hold()
    assert transport.disconnected
    assert net.backends[0].connections == 0


def test_a_request_refused_while_the_pool_is_held_waits_in_front_of_the_others():
    net = Network(max_in_flight=1)
    refused = net.request(b"refused")
    net.pool.hold()
    net.request(b"later")
    net.endpoint.refuse()
    assert (net.pool.in_flight, net.pool.waiting) == (0, 2)
    net.pool.release()
    assert b"refused" in net.endpoint.accept().value()
    net.endpoint.receive(answer())
    assert refused.result == TEXT
    net.check_accounts()


def test_a_request_that_waits_again_can_be_cancelled_and_then_never_runs():
    net = Network()
    outcome = net.request()
    net.pool.hold()
    net.endpoint.refuse()
    outcome.deferred.cancel()
    net.pool.release()
    assert net.endpoint.attempts == []
    assert net.pool.errors == {"CancelledError": 1}
    net.check_accounts()


def test_its_deadline_still_counts_from_its_arrival():
    net = Network(queue_deadline=5.0)
    refused = net.request()
    net.clock.advance(0.5)
    net.pool.hold()
    net.endpoint.refuse()
    net.clock.advance(4.6)
    assert isinstance(refused.error, QueueTimeout)


def test_a_request_between_two_tries_when_the_pool_is_held_waits():
    net = Network()
    outcome = net.request()
    net.endpoint.refuse()
    net.pool.hold()
    net.clock.advance(0.01)
    assert (net.pool.in_flight, net.pool.waiting) == (0, 1)
    net.pool.release()
    net.endpoint.accept()
    net.endpoint.receive(answer())
    assert outcome.result == TEXT


def test_release_closes_every_breaker():
    net = Network(backends=2)
    net.request()
    net.endpoints[0].refuse()
    net.pool.hold()
    net.pool.release()
    net.request()
    assert net.endpoints[0].connects == 2


def test_stop_without_requests_fires_at_once():
    assert Outcome(Network().pool.stop()).pending is False


def test_stop_refuses_new_requests_and_those_that_wait_and_lets_the_others_finish():
    net = Network(max_in_flight=1)
    running, waiting = net.request(), net.request()
    net.endpoint.accept()
    order = []
    running.deferred.addCallback(lambda _: order.append("answered"))
    stopped = net.pool.stop()
    again = net.pool.stop()
    for deferred in (stopped, again):
        deferred.addCallback(lambda _: order.append("stopped"))
    assert isinstance(waiting.error, PoolStopped)
    assert isinstance(net.request().error, PoolStopped)
    assert repr(net.pool) == "<ConnectionPool default: 1 in flight, 0 idle, 0 waiting, stopped>"
    net.endpoint.receive(answer())
    assert order == ["answered", "stopped", "stopped"]
    net.check_accounts()


def test_stop_closes_idle_connections_and_keeps_none():
    net = kept(max_in_flight=2)
    for _ in range(2):
        net.request()
        net.endpoint.accept()
    net.endpoint.receive(answer(), 0)
    stopped = Outcome(net.pool.stop())
    assert net.endpoint.transports[0].disconnected
    net.endpoint.receive(answer(), 1)
    assert net.endpoint.transports[1].disconnected
    assert not stopped.pending


def test_a_request_that_is_about_to_connect_again_ends_with_stop():
    net = Network()
    outcome = net.request()
    net.endpoint.refuse()
    stopped = Outcome(net.pool.stop())
    assert stopped.pending
    net.clock.advance(0.01)
    assert isinstance(outcome.error, PoolStopped)
    assert not stopped.pending
    net.check_accounts()


def test_a_failed_request_lets_stop_fire_too():
    net = Network()
    net.request()
    net.endpoint.accept()
    stopped = Outcome(net.pool.stop())
    net.endpoint.lose()
    assert not stopped.pending


def test_a_stopped_pool_that_is_released_stays_stopped():
    net = Network()
    net.pool.hold()
    net.pool.stop()
    net.pool.release()
    assert isinstance(net.request().error, PoolStopped)


def test_settings_that_make_no_pool_are_refused():
    with pytest.raises(ValueError, match="backend"):
        ConnectionPool(Clock(), [])
    with pytest.raises(ValueError, match="max_in_flight=0"):
        PoolLimits(max_in_flight=0)
    with pytest.raises(ValueError, match="queue=-1"):
        PoolLimits(queue=-1)


# Any order of events


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: the bounds hold, and each request has one outcome."""

    def __init__(self):
        super().__init__()
        self.net = None
        self.outcomes = []

    @precondition(lambda self: self.net is None)
    @rule(
        keep=st.booleans(),
        backends=st.integers(1, 3),
        max_in_flight=st.integers(1, 3),
        queue=st.integers(0, 3),
    )
    def begin(self, keep, backends, max_in_flight, queue):
        self.net = Network(
            backends, keep_connections=keep, max_in_flight=max_in_flight, queue=queue
        )
        self.max_in_flight, self.queue = max_in_flight, queue

    @precondition(lambda self: self.net)
    @rule(lane=st.sampled_from(Lane))
    def request(self, lane):
        self.outcomes.append(self.net.request(self.name(len(self.outcomes)), lane))

    @staticmethod
    def name(number):
        return b"<request %d>" % number

    @precondition(lambda self: self.net)
    @rule(number=st.integers(0, 50))
    def cancel(self, number):
        if self.outcomes:
            self.outcomes[number % len(self.outcomes)].deferred.cancel()

    @precondition(lambda self: self.net)
    @rule(number=st.integers(0, 2), verdict=st.sampled_from(["accept", "refuse", "busy"]))
    def decide(self, number, verdict):
        endpoint = self.net.endpoints[number % len(self.net.endpoints)]
        if endpoint.attempts:
            if verdict == "accept":
                endpoint.accept()
            else:
                endpoint.refuse(as_php_fpm_reports_a_full_backlog() if verdict == "busy" else None)

    @precondition(lambda self: self.net)
    @rule(
        number=st.integers(0, 100),
        data=st.sampled_from([answer(), answer()[:5], answer() + b"x", b"x", None]),
    )
    def happen(self, number, data):
        protocols = [
            protocol
            for endpoint in self.net.endpoints
            for protocol in endpoint.protocols
            if not protocol.transport.disconnected
        ]
        if protocols:
            protocol = protocols[number % len(protocols)]
            if data is None:
                protocol.transport.disconnected = True
                protocol.connectionLost(None)
            else:
                protocol.dataReceived(data)

    @precondition(lambda self: self.net)
    @rule(seconds=st.sampled_from([0.01, 0.06, 0.3, 1.1, 5.2, 30.2]))
    def advance(self, seconds):
        self.net.clock.advance(seconds)

    @precondition(lambda self: self.net)
    @rule(number=st.integers(0, 2), count=st.integers(10, 25))
    def a_backend_loses_many(self, number, count):
        endpoint = self.net.endpoints[number % len(self.net.endpoints)]
        for _ in range(count):
            self.request(Lane.MESSAGE)
            if endpoint.attempts:
                endpoint.accept()
                endpoint.lose()

    @precondition(lambda self: self.net)
    @rule(hold=st.booleans())
    def hold_or_release(self, hold):
        if hold:
            self.net.pool.hold()
        else:
            self.net.pool.release()

    @invariant()
    def bounds_hold(self):
        if self.net is None:
            return
        pool, net = self.net.pool, self.net
        net.check_accounts()
        assert pool.in_flight <= self.max_in_flight
        # Those refused while the pool is held go back to the queue, whatever its bound.
        for lane in Lane:
            assert pool.waiting_in(lane) <= self.queue + self.max_in_flight
        assert pool.waiting == sum(map(pool.waiting_in, Lane)) <= pool.waiting_most
        open_now = sum(
            not protocol.transport.disconnected
            for endpoint in net.endpoints
            for protocol in endpoint.protocols
        )
        connecting = sum(len(endpoint.attempts) for endpoint in net.endpoints)
        assert open_now + connecting <= self.max_in_flight
        assert sum(backend.connections for backend in net.backends) == open_now + connecting
        assert not (pool._idle and (pool.waiting or pool._held or pool.stopped))
        assert not any(protocol.backend.breaker.is_open for protocol in pool._idle)
        ordinary = pool.backends.all_closed and not pool._held and not pool.stopped
        assert pool._ordinary == ordinary
        if not pool._held:
            assert pool.waiting == 0 or pool.in_flight == self.max_in_flight
            assert pool.waiting == 0 or not pool.backends.all_open
        assert all(self.net.sent(self.name(n)) <= 1 for n in range(len(self.outcomes)))

    def teardown(self):
        if self.net is None:
            return
        net = self.net
        stopped = Outcome(net.pool.stop())
        net.advance(40, step=0.2)
        assert not stopped.pending
        assert net.pool.in_flight == net.pool.waiting == 0
        assert not any(outcome.pending for outcome in self.outcomes)
        assert len(net.pool.timeouts) == 0
        net.check_accounts()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
