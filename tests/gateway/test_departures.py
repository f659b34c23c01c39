"""wsgate.gateway.departures and register: PHP hears of every end, however long that takes."""

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from tests.fakes import FakeBook, FakePool
from wsgate import cgi
from wsgate.fastcgi import BackendUnavailable, Lane, PoolStopped, QueueFull, ResponseCutOff
from wsgate.gateway import DepartureLimits, Register, Route
from wsgate.gateway.departures import ENTRY_SIZE
from wsgate.gateway.register import SWEEP_EVERY
from wsgate.gateway.wayout import AHEAD, LONGEST_PAUSE
from wsgate.journal import Entry
from wsgate.journal.sweep import Swept
from wsgate.timeouts import Timeouts

FATAL = b"PHP message: PHP Fatal error: x"


class Counter:
    """A register with one route at `/`."""

    def __init__(self, age=86400.0, backlog=100_000, places=4):
        self.clock = Clock()
        self.clock.advance(1000)
        self.book = FakeBook()
        self.register = Register(
            self.book, Timeouts(self.clock), self.clock.seconds, DepartureLimits(age, backlog)
        )
        self.departures = self.register.departures
        self.pool = FakePool()
        self.pool.max_in_flight = places
        self.route = self.make_route(self.pool)
        self.register.begin()
        self.register.serve({"/": self.route})

    def make_route(self, pool, path="/"):
        script = cgi.Script("/w.php", "/w.php", "/")
        return Route(path=path, script=script, pool=pool, events=frozenset({"disconnect"}))

    def leave(self, *ids, path="/", route=None):
        for number in ids:
            left_at = self.clock.seconds()
            entry = Entry(number, path, number.encode(), accepted=True, left_at=left_at)
            self.departures.add(entry, route)
        self.book.write()

    def wait(self, seconds):
        # The resolution of timeouts comes on top.
        self.clock.advance(seconds + 0.2)
        self.book.write()

    def answer(self, **answer):
        self.pool.answer(**answer)
        self.book.write()

    def fail(self, error):
        self.pool.fail(error)
        self.book.write()

    def asked(self):
        return [request.params for request in self.pool.requests]

    def attempts(self):
        return [params.partition(b"WSGATE_ATTEMPT")[2] for params in self.asked()]


def test_the_journal_knows_of_an_attempt_before_php_does():
    counter = Counter()
    counter.departures.add(Entry("a", "/", b"", left_at=1.0))
    assert counter.book.entries["a"].attempts == 1
    assert counter.asked() == []
    counter.book.write()
    assert counter.pool.lanes == [Lane.DISCONNECT]


def test_at_most_half_of_the_places_are_taken_and_the_order_is_kept():
    counter = Counter(places=4)
    counter.leave("a", "b", "c")
    assert [params[-200:].count(b"ATTEMPT1") for params in counter.asked()] == [1, 1]
    counter.answer()
    assert counter.asked()[2][-200:].count(b"c\x01") == 1
    counter.answer()
    counter.answer()
    assert counter.book.entries == {}
    assert len(counter.departures) == 0


def test_while_php_works_on_some_the_journal_gets_the_next_ones_together():
    counter = Counter(places=2)
    counter.leave(*(f"{number}" for number in range(AHEAD + 2)))
    assert len(counter.asked()) == 1
    attempts = [entry.attempts for entry in counter.book.entries.values()]
    assert attempts == [1] * AHEAD + [0, 0]
    counter.answer()
    assert len(counter.asked()) == 2
    assert counter.book.entries[f"{AHEAD}"].attempts == 1


def test_those_that_were_written_ahead_and_not_sent_have_no_attempt_more():
    counter = Counter(places=2)
    counter.leave("a", "b", "c")
    counter.fail(BackendUnavailable("x"))
    assert [entry.attempts for entry in counter.book.entries.values()] == [0, 0, 0]
    counter.wait(1)
    assert len(counter.asked()) == 2
    counter.leave("d")
    counter.answer()
    counter.register.stop()
    assert sum(entry.attempts for entry in counter.book.entries.values()) == 1


def test_one_that_is_given_up_while_the_journal_writes_is_not_sent():
    counter = Counter(backlog=1)
    counter.departures.add(Entry("a", "/", b"aaa", left_at=1.0))
    counter.departures.add(Entry("b", "/", b"bbb", left_at=1.0))
    counter.book.write()
    assert len(counter.asked()) == 1
    assert b"bbb" in counter.asked()[0]
    assert list(counter.book.entries) == ["b"]


def test_one_place_is_enough():
    counter = Counter(places=1)
    counter.leave("a", "b")
    assert len(counter.asked()) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"header": b"Status: 500"},
        {"header": b"Status: 503"},
        {"stderr": FATAL},
        {"header": b"Status: 404", "stderr": b"Primary script unknown"},
        {"header": b"no header"},
    ],
)
def test_what_php_fails_is_tried_again_with_a_higher_number(answer):
    counter = Counter()
    counter.leave("a")
    with capturedLogs() as events:
        counter.answer(**answer)
    assert formatEvent(events[0]).startswith("disconnect of a is tried again: ")
    assert len(counter.asked()) == 1
    counter.wait(1)
    assert counter.attempts() == [b"1", b"2"]
    counter.answer()
    assert counter.book.entries == {}
    assert counter.departures.retries == 1


def test_so_is_one_whose_answer_was_lost():
    counter = Counter()
    counter.leave("a")
    counter.fail(ResponseCutOff("x"))
    counter.wait(1)
    assert counter.attempts() == [b"1", b"2"]


def test_pauses_double_up_to_a_minute():
    counter = Counter()
    counter.leave("a")
    for pause in (1, 2, 4, 8, 16, 32, 60, 60):
        asked = len(counter.asked())
        counter.fail(ResponseCutOff("x"))
        counter.wait(pause - 0.5)
        assert len(counter.asked()) == asked, pause
        counter.wait(0.3)
        assert len(counter.asked()) == asked + 1, pause


def test_one_that_fails_does_not_hold_up_the_others():
    counter = Counter(places=2)
    counter.leave("a", "b")
    counter.fail(ResponseCutOff("x"))
    assert len(counter.asked()) == 2
    counter.answer()
    assert list(counter.book.entries) == ["a"]


def test_one_that_was_never_sent_keeps_its_number():
    counter = Counter()
    counter.leave("a")
    counter.fail(BackendUnavailable("x"))
    assert counter.book.entries["a"].attempts == 0
    counter.wait(1)
    assert counter.attempts() == [b"1", b"1"]


@pytest.mark.parametrize("error", [BackendUnavailable("x"), QueueFull("x")])
def test_a_php_that_is_not_there_is_asked_by_one_alone(error):
    counter = Counter(places=8)
    counter.leave("a", "b", "c")
    for _ in range(3):
        counter.fail(error)
    assert len(counter.asked()) == 3
    counter.wait(1)
    assert len(counter.asked()) == 4
    counter.fail(error)
    counter.wait(1.5)
    assert len(counter.asked()) == 4
    counter.wait(0.3)
    assert len(counter.asked()) == 5
    counter.answer()
    assert len(counter.asked()) == 7


def test_pauses_for_php_have_a_bound():
    counter = Counter()
    counter.leave("a")
    for _ in range(10):
        counter.fail(BackendUnavailable("x"))
        counter.wait(LONGEST_PAUSE)
    assert len(counter.asked()) == 11


@pytest.mark.parametrize(("waited", "is_dropped"), [(99.0, False), (101.0, True)])
def test_what_is_too_old_is_given_up_counted_and_logged(waited, is_dropped):
    counter = Counter(age=100.0)
    counter.leave("a")
    counter.clock.advance(waited - 0.5)
    with capturedLogs() as events:
        counter.fail(ResponseCutOff("x"))
        counter.wait(1)
    said = [formatEvent(event) for event in events]
    assert (counter.book.entries == {}) == is_dropped
    assert any("gateway.disconnect_age is exceeded" in line for line in said) == is_dropped
    assert counter.departures.outcomes["too old"] == is_dropped


def test_of_too_many_the_oldest_is_given_up_counted_and_logged():
    counter = Counter(backlog=2)
    counter.pool.max_in_flight = 2
    counter.leave("a")
    counter.fail(BackendUnavailable("x"))
    counter.leave("b")
    assert set(counter.book.entries) == {"a", "b"}
    with capturedLogs() as events:
        counter.leave("c")
    assert set(counter.book.entries) == {"b", "c"}
    assert "gateway.disconnect_backlog is exceeded" in formatEvent(events[0])
    assert counter.departures.outcomes["too many"] == 1
    counter.wait(1)
    counter.answer()
    counter.answer()
    assert counter.book.entries == {}
    assert counter.departures.outcomes["delivered"] == 2


def test_of_long_ones_the_oldest_is_given_up_before_they_are_too_many(monkeypatch):
    monkeypatch.setattr("wsgate.gateway.departures.LEAST_SIZE", 0)
    counter = Counter(backlog=3)
    full = 3 * ENTRY_SIZE
    ids = ["a" * (full // 2), "b" * (full - full // 2)]
    counter.leave(*ids)
    assert set(counter.book.entries) == set(ids)
    counter.leave("c")
    assert set(counter.book.entries) == {ids[1], "c"}
    assert counter.departures.outcomes["too many"] == 1


def test_a_few_long_ones_are_no_flood():
    counter = Counter(backlog=2)
    ids = [letter * 3 * ENTRY_SIZE for letter in "ab"]
    counter.leave(*ids)
    assert set(counter.book.entries) == set(ids)


def test_a_second_word_of_the_same_end_is_none():
    counter = Counter()
    counter.leave("a")
    counter.leave("a")
    assert len(counter.asked()) == 1


def test_what_nobody_serves_waits_until_somebody_does():
    counter = Counter()
    counter.leave("a", path="/gone")
    assert counter.asked() == []
    counter.register.serve({"/gone": counter.make_route(counter.pool, "/gone")})
    counter.book.write()
    assert len(counter.asked()) == 1


def test_a_route_that_is_served_no_more_is_asked_as_long_as_its_pool_goes_on():
    counter = Counter(places=2)
    counter.leave("a", "b")
    counter.register.serve({})
    assert counter.departures.is_using_others([])
    assert not counter.departures.is_using_others([counter.pool])
    counter.answer()
    assert len(counter.asked()) == 2
    counter.fail(PoolStopped("x"))
    assert not counter.departures.is_using_others([])
    assert list(counter.book.entries) == ["b"]


def test_what_was_written_ahead_for_a_route_that_is_gone_holds_up_no_stop():
    counter = Counter(places=2)
    counter.leave("a", "b", "c")
    counter.fail(PoolStopped("x"))
    assert [entry.attempts for entry in counter.book.entries.values()] == [0, 0, 0]
    settled = []
    counter.departures.settled().addCallback(settled.append)
    assert settled == [None]


def test_a_route_with_another_pool_is_asked_there():
    counter = Counter(places=2)
    counter.leave("a", "b")
    other = FakePool()
    counter.route.become(counter.make_route(other))
    counter.fail(PoolStopped("x"))
    assert len(other.requests) == 2


def test_settled_is_when_nothing_is_about_to_be_sent():
    counter = Counter(places=2)
    counter.leave("a", "b")
    settled = []
    counter.departures.settled().addCallback(settled.append)
    counter.answer()
    assert settled == []
    counter.answer()
    assert settled == [None]


def test_settled_waits_for_ends_that_conversations_tell_by_themselves():
    counter = Counter()
    counter.departures.begin_elsewhere()
    counter.departures.begin_elsewhere()
    settled = []
    counter.departures.settled().addCallback(settled.append)
    counter.departures.end_elsewhere()
    assert settled == []
    counter.departures.end_elsewhere()
    assert settled == [None]


def test_what_rests_does_not_hold_up_a_stop():
    counter = Counter()
    counter.leave("a", "b")
    counter.fail(ResponseCutOff("x"))
    counter.fail(BackendUnavailable("x"))
    settled = []
    counter.departures.settled().addCallback(settled.append)
    assert settled == [None]


def test_after_a_stop_nothing_is_sent_and_the_journal_keeps_what_comes():
    counter = Counter()
    counter.leave("a")
    settled = []
    counter.departures.settled().addCallback(settled.append)
    counter.register.stop()
    assert settled == [None]
    counter.leave("b")
    counter.fail(ResponseCutOff("x"))
    counter.wait(100)
    assert len(counter.asked()) == 1
    assert set(counter.book.entries) == {"a", "b"}
    assert not counter.book.is_running
    assert counter.clock.getDelayedCalls() == []


def test_what_others_left_behind_is_looked_for_at_the_start_and_then_and_now():
    counter = Counter()
    assert [(set(paths), age) for paths, age, _ in counter.book.swept] == [({"/"}, 86400.0)]
    counter.wait(SWEEP_EVERY)
    assert len(counter.book.swept) == 2


def test_and_told_to_php():
    counter = Counter()
    entry = Entry("a", "/", b"PARAMS", left_at=1.0, attempts=1)
    with capturedLogs() as events:
        counter.book.swept[0][2].callback(Swept([entry], 3, ["/x.db: strange", "/x.db: strange"]))
    counter.book.write()
    said = [formatEvent(event) for event in events]
    assert said[0] == "/x.db: strange; it is left alone"
    assert "of 3 connections" in said[1]
    assert said[2].startswith("1 connections of a process that was ended")
    assert len(said) == 3
    assert counter.attempts() == [b"2"]
    assert counter.departures.outcomes["too old"] == 3


def test_routes_without_disconnect_sweep_nothing():
    counter = Counter()
    plain = counter.make_route(counter.pool, "/plain")
    plain.events = frozenset({"message"})
    counter.register.serve({"/plain": plain})
    assert counter.book.swept[-1][0] == frozenset()
