"""Streams of a pool: who takes one gets it as it comes, in time, and never too many of them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fastcgi.fakes import Network, Outcome, answer, end, stderr, stdout
from wsgate.fastcgi import (
    FastCGIError,
    ProtocolError,
    Request,
    ResponseCutOff,
    ResponseTimeout,
    StreamsFull,
    StreamStopped,
    StreamTimeout,
)

HEAD = b"head\n\n"
FIRST = stdout(HEAD + b"one")


class Taker:
    """A turn that takes what begins with HEAD as a stream of at most 100 seconds."""

    def __init__(self):
        self.called = False
        self.timeout = 100.0
        self.asked = []
        self.fed = []
        self.delivered = 0
        self.flow = None
        self.response = None
        self.error = None
        self.refuses = None

    def streaming(self, so_far):
        self.asked.append(bytes(so_far))
        if len(so_far) < len(HEAD):
            return None
        if not so_far.startswith(HEAD):
            return False
        self.feed(bytes(so_far[len(HEAD) :]))
        return self

    def feed(self, content):
        if content == self.refuses:
            raise StreamStopped("enough")
        self.fed.append(content)

    def deliver(self, flow):
        self.flow = flow
        self.delivered = len(self.fed)

    def callback(self, response):
        assert self.response is None
        assert self.error is None
        self.response = response

    def errback(self, error):
        assert self.response is None
        assert self.error is None
        self.error = error


def begun(first=FIRST, **settings):
    """A network, and the taker of a stream of which `first` came."""
    network = Network(**{"max_in_flight": 4, "max_streams": 2, **settings})
    return network, begin(network, first)


def begin(network, first=FIRST):
    taker = Taker()
    accepts = not network.pool._idle
    network.pool.ask(Request(b"", b"hello"), taker)
    if accepts:
        network.endpoint.accept()
    network.endpoint.receive(first)
    return taker


def check(network, streams=0, cut=0):
    pool = network.pool
    network.check_accounts()
    assert (pool.streams.open, pool.streams.cut) == (streams, cut)


def test_each_record_is_fed_as_it_comes_and_delivered_after_each_read():
    network, taker = begun()
    assert (taker.fed, taker.delivered) == ([b"one"], 1)
    network.endpoint.receive(stdout(b"two") + stderr(b"note") + stdout(b"three"))
    assert (taker.fed, taker.delivered) == ([b"one", b"two", b"three"], 3)
    check(network, streams=1)
    network.endpoint.receive(stdout(b"four") + end(7))
    assert taker.fed[-1] == b"four"
    assert (taker.response.stderr, taker.response.app_status) == (b"note", 7)
    check(network)
    assert network.pool.streams.begun == 1


def test_an_answer_that_is_no_stream_is_collected_and_asked_about_once():
    network = Network()
    taker = begin(network, stdout(b"plain "))
    network.endpoint.receive(stdout(b"text") + end())
    assert taker.response.stdout == b"plain text"
    assert taker.asked == [b"plain "]
    assert network.pool.streams.begun == 0


def test_a_turn_that_takes_no_streams_gets_its_answer_whole():
    network = Network()
    outcome = Outcome(network.pool.request(Request(b"", b"x")))
    network.endpoint.accept()
    network.endpoint.receive(stdout(HEAD))
    network.endpoint.receive(stdout(b"one") + end())
    assert outcome.result.stdout == HEAD + b"one"


def test_what_comes_whole_in_one_read_is_fed_too_but_takes_no_place():
    network, taker = begun(stdout(HEAD + b"one") + stdout(b"two") + end(), max_streams=0)
    assert taker.fed == [b"one", b"two"]
    assert taker.response is not None
    assert taker.flow is None
    check(network)


def test_one_record_and_its_end_in_one_read_is_an_answer_like_any_other():
    _, taker = begun(answer(HEAD + b"one"))
    assert taker.asked == []
    assert taker.response.stdout == HEAD + b"one"


RECORDS = st.lists(st.binary(min_size=1, max_size=9), max_size=6)


@given(RECORDS, st.lists(st.integers(0, 200), max_size=8))
def test_any_cut_of_the_bytes_feeds_the_same_records(contents, places):
    # A first byte of its own keeps it from being the plainest answer, which is never a stream here.
    data = stderr(b"") + b"".join(map(stdout, [HEAD, *contents])) + end()
    _, whole = begun(data)
    ends = sorted({min(place, len(data)) for place in places} | {len(data)})
    network, taker = begun(data[: ends[0]])
    for a, b in itertools.pairwise(ends):
        network.endpoint.receive(data[a:b])
    assert b"".join(taker.fed) == b"".join(contents)
    assert taker.fed == whole.fed
    assert taker.response is not None
    check(network)


@pytest.mark.parametrize("keep", [True, False])
def test_a_connection_serves_the_next_request_after_a_stream(keep):
    network, taker = begun(keep_connections=keep)
    network.endpoint.receive(end())
    assert taker.response is not None
    assert len(network.pool._idle) == keep
    again = begin(network, answer(b"plain"))
    assert again.response.stdout == b"plain"
    check(network)


def test_a_stream_beyond_max_streams_fails_at_once_and_its_connection_is_closed():
    network, first = begun(max_streams=1)
    second = begin(network)
    assert isinstance(second.error, StreamsFull)
    assert second.delivered == 0
    assert network.endpoint.transports[1].disconnected
    check(network, streams=1)
    network.endpoint.receive(end(), index=0)
    assert first.response is not None
    # The place is free again, and so is the one in flight.
    third = begin(network)
    assert third.delivered == 1
    assert network.pool.in_flight == 1


def test_without_streams_every_stream_is_one_too_many():
    network, taker = begun(max_streams=0)
    assert isinstance(taker.error, StreamsFull)
    check(network)


# --- ends


@pytest.mark.parametrize(
    ("last", "error"),
    [(b"garbage!", ProtocolError), (stdout(b"x", id=2), ProtocolError), (None, ResponseCutOff)],
)
def test_a_stream_that_breaks_is_an_error_and_gives_its_place_back(last, error):
    network, taker = begun()
    if last is None:
        network.endpoint.lose()
    else:
        network.endpoint.receive(last)
    assert isinstance(taker.error, error)
    assert network.pool.in_flight == 0
    check(network, cut=1)


def test_a_sink_that_wants_no_more_ends_the_request():
    network, taker = begun()
    taker.refuses = b"three"
    network.endpoint.receive(stderr(b"note") + stdout(b"two") + stdout(b"three") + stdout(b"four"))
    assert taker.fed == [b"one", b"two"]
    assert isinstance(taker.error, StreamStopped)
    assert taker.error.stderr == b"note"
    assert network.endpoint.transports[0].disconnected
    check(network, cut=1)


def test_a_sink_that_wants_nothing_at_all_ends_the_request():
    network = Network()
    taker = Taker()
    taker.refuses = b"one"
    network.pool.ask(Request(b"", b"x"), taker)
    network.endpoint.accept()
    network.endpoint.receive(stdout(HEAD + b"one"))
    assert isinstance(taker.error, StreamStopped)
    check(network)


def test_a_stream_that_is_stopped_closes_its_connection_and_tells_its_turn():
    network, taker = begun()
    error = StreamStopped("gone")
    taker.flow.stop(error)
    assert taker.error is error
    assert network.endpoint.transports[0].disconnected
    check(network, cut=1)
    # Whatever the application still says is nobody's.
    network.endpoint.receive(stdout(b"more") + end())
    assert taker.fed == [b"one"]


def test_a_stop_gives_the_place_to_who_waits():
    network, taker = begun(max_in_flight=1)
    waiting = network.request(b"waits")
    taker.flow.stop(StreamStopped("gone"))
    network.endpoint.accept()
    network.endpoint.receive(answer(b"served"))
    assert waiting.result.stdout == b"served"
    check(network, cut=1)


def test_a_pool_that_stops_waits_for_its_streams():
    network, taker = begun()
    stopped = Outcome(network.pool.stop())
    network.endpoint.receive(stdout(b"two"))
    assert stopped.pending
    network.endpoint.receive(end())
    assert taker.response is not None
    assert not stopped.pending


def test_a_worker_whose_stream_was_stopped_counts_as_busy_as_one_that_took_too_long():
    network, taker = begun(max_in_flight=2, own_workers=True, keep_connections=True)
    taker.flow.stop(StreamStopped("gone"))
    assert network.pool._given_up == 1


# --- time


def test_the_parts_of_a_stream_come_within_the_response_timeout_of_each_other():
    network, taker = begun(response_timeout=10.0)
    for _ in range(5):
        network.advance(9.5)
        network.endpoint.receive(stdout(b"x"))
    assert taker.error is None
    network.advance(10.2)
    assert isinstance(taker.error, ResponseTimeout)
    check(network, cut=1)


def test_a_stream_lasts_as_long_as_its_sink_allows_and_no_longer():
    network, taker = begun(response_timeout=30.0)
    for _ in range(99):
        network.advance(1.0)
        network.endpoint.receive(stdout(b"x"))
    network.advance(0.9)
    assert taker.error is None
    network.advance(0.3)
    assert isinstance(taker.error, StreamTimeout)
    check(network, cut=1)


def test_a_stream_that_is_over_in_time_leaves_no_deadline_behind():
    network, taker = begun(keep_connections=True)
    network.endpoint.receive(end())
    assert taker.response is not None
    network.advance(200.0, step=1.0)
    assert len(network.pool._idle) == 1
    # The next request has all of its own time.
    again = begin(network, b"")
    network.advance(29.9)
    network.endpoint.receive(answer(b"late"))
    assert again.response.stdout == b"late"


def test_while_it_is_held_nothing_is_read_and_only_the_whole_time_counts():
    network, taker = begun(response_timeout=10.0)
    transport = network.endpoint.transports[0]
    taker.flow.pause()
    assert transport.producerState == "paused"
    network.advance(60.0)
    assert taker.error is None
    taker.flow.resume()
    assert transport.producerState == "producing"
    network.advance(9.9)
    assert taker.error is None
    network.advance(0.4)
    assert isinstance(taker.error, ResponseTimeout)


def test_a_stream_held_for_ever_ends_when_its_time_is_over():
    network, taker = begun(response_timeout=10.0)
    taker.flow.pause()
    network.advance(99.9, step=0.1)
    assert taker.error is None
    network.advance(0.3)
    assert isinstance(taker.error, StreamTimeout)
    check(network, cut=1)


def test_an_end_that_comes_while_it_is_held_leaves_the_connection_reading():
    # TLS hands on what it has decrypted, paused or not.
    network, taker = begun(keep_connections=True)
    taker.flow.pause()
    network.endpoint.receive(stdout(b"two") + end())
    assert taker.response is not None
    assert network.endpoint.transports[0].producerState == "producing"


def test_a_long_request_may_be_answered_by_a_stream_before_it_is_all_sent():
    network = Network(keep_connections=True)
    taker = Taker()
    network.pool.ask(Request(b"", bytes(200_000)), taker)
    transport = network.endpoint.accept()
    network.endpoint.receive(stdout(HEAD) + stdout(b"one"))
    network.endpoint.receive(stdout(b"two"))
    assert taker.fed == [b"", b"one", b"two"]
    network.endpoint.receive(end())
    assert isinstance(taker.response.stderr, bytes)
    # The rest of it must not precede another request.
    assert transport.disconnected
    check(network)


def test_every_error_of_a_stream_says_how_far_it_got():
    assert issubclass(StreamsFull, StreamStopped)
    assert issubclass(StreamTimeout, StreamStopped)
    assert issubclass(StreamStopped, FastCGIError)
