"""wsgate.floods: a flood of lines becomes ten and a number; nothing is lost from the counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent

from wsgate import floods
from wsgate.floods import BURST, MAX_KINDS, WINDOW, CalmLogger, Floods


class Log:
    """A logger, its limit, and the lines it wrote."""

    def __init__(self):
        self.clock = Clock()
        self.events = []
        self.log = CalmLogger(namespace="wsgate", observer=self.events.append)
        self.log.floods = self.floods = Floods()
        self.floods.start(self.clock)

    @property
    def lines(self):
        return [formatEvent(event) for event in self.events]


@pytest.fixture
def it():
    return Log()


def test_a_few_lines_are_all_written(it):
    for number in range(BURST):
        it.log.warn("it is {number}", number=number)
    it.clock.advance(WINDOW)
    assert it.lines == [f"it is {number}" for number in range(BURST)]
    assert it.floods.suppressed == 0


def test_one_more_is_counted_and_told_at_the_end_of_the_window(it):
    for number in range(BURST + 1):
        it.log.warn("it is {number}", number=number)
    it.clock.advance(WINDOW - 0.01)
    assert len(it.lines) == BURST
    it.clock.advance(0.01)
    assert it.lines[BURST:] == [f"1 more like this in the last 10 s: it is {BURST}"]
    assert it.events[-1]["log_level"] is LogLevel.warn
    assert it.floods.suppressed == 1


def test_a_flood_is_ten_lines_and_one_in_each_window(it):
    for _ in range(3):
        for _ in range(80):
            it.log.error("down")
            it.clock.advance(WINDOW / 80)
    assert len(it.lines) == 3 * (BURST + 1)
    assert it.floods.suppressed == 3 * (80 - BURST)


def test_kinds_do_not_hide_each_other(it):
    for _ in range(1000):
        it.log.info("a flood", kind="flood")
    it.log.info("something else")
    it.log.info("a flood of another kind", kind="other")
    assert it.lines[BURST:] == ["something else", "a flood of another kind"]


def test_a_failure_is_of_the_kind_of_its_type(it):
    def fail(error):
        try:
            raise error
        except Exception:
            it.log.failure("connection {id}", id=1)

    for _ in range(BURST + 5):
        fail(ValueError())
    fail(KeyError())
    assert len(it.lines) == BURST + 1
    it.clock.advance(WINDOW)
    assert it.lines[-1] == "5 more like this in the last 10 s: connection 1"


def test_kinds_beyond_the_limit_share_one(it):
    for number in range(MAX_KINDS + 100):
        it.log.info("{number}", number=number, kind=number)
    assert len(it.lines) == MAX_KINDS + BURST
    assert len(it.floods._kinds) == MAX_KINDS + 1
    it.clock.advance(WINDOW)
    assert it.lines[-1].startswith("90 more like this in the last 10 s: ")


def test_without_lines_there_is_no_timer(it):
    assert it.clock.getDelayedCalls() == []
    it.log.info("once")
    assert len(it.clock.getDelayedCalls()) == 1
    it.clock.advance(WINDOW)
    assert it.clock.getDelayedCalls() == []


def test_a_stop_tells_what_was_left_out_and_leaves_no_timer(it):
    for _ in range(BURST + 2):
        it.log.info("again")
    it.floods.stop()
    assert it.lines[-1] == "2 more like this in the last 10 s: again"
    assert it.clock.getDelayedCalls() == []


def test_before_the_start_everything_is_written():
    log = Log()
    log.log.floods = Floods()
    for _ in range(100):
        log.log.info("again")
    assert len(log.lines) == 100


def test_braces_in_an_example_are_not_read_as_a_format(it):
    for _ in range(BURST + 1):
        it.log.info("{text}", text="{more} {window} {text!r}")
    it.clock.advance(WINDOW)
    assert it.lines[-1] == "1 more like this in the last 10 s: {more} {window} {text!r}"


def test_as_a_class_attribute_it_is_one_and_the_same():
    class Thing:
        log = CalmLogger(namespace="wsgate")

    assert Thing.log is Thing().log is Thing.__dict__["log"]
    assert Thing.log.floods is floods.OF_THIS_PROCESS


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 15)), max_size=200))
def test_written_and_suppressed_are_all_there_were(lines):
    it = Log()
    for kind, pause in lines:
        it.log.info("a line", kind=kind)
        it.clock.advance(pause)
    it.floods.stop()
    told = [event["more"] for event in it.events if "more" in event]
    assert len(it.events) - len(told) + sum(told) == len(lines)
    assert sum(told) == it.floods.suppressed
