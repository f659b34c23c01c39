"""wsgate.fastcgi.queue: one timer for all who wait, and nobody waits longer for that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.fastcgi.fakes import REQUEST
from wsgate.fastcgi.queue import Queue
from wsgate.fastcgi.unsent import Lane, Unsent
from wsgate.timeouts import Timeouts


class Waiting:
    """A queue on a clock, and who left it because of the time, with that time."""

    def __init__(self):
        self.clock = Clock()
        self.timeouts = Timeouts(self.clock)
        self.over = []
        self.queue = Queue(self.timeouts, 1000, "test", self.timed_out)

    def timed_out(self, unsent):
        self.over.append((unsent, self.clock.seconds()))

    def add(self, seconds, lane=Lane.MESSAGE, *, in_front=False):
        unsent = Unsent(REQUEST, Deferred(), self.clock.seconds() + seconds, lane)
        if in_front:
            self.queue.put_back(unsent)
        else:
            assert self.queue.offer(unsent)
        return unsent

    def advance(self, seconds):
        for _ in range(round(seconds * 100)):
            self.clock.advance(0.01)


@pytest.fixture
def waiting():
    return Waiting()


def test_a_request_leaves_at_its_deadline_and_not_before(waiting):
    unsent = waiting.add(5)
    waiting.advance(4.99)
    assert waiting.over == []
    waiting.advance(0.12)
    assert [left for left, _ in waiting.over] == [unsent]
    assert waiting.queue.count == 0
    assert len(waiting.timeouts) == 0


def test_all_who_wait_share_one_timer(waiting):
    for _ in range(50):
        waiting.add(5)
        waiting.advance(0.01)
    assert len(waiting.timeouts) == 1
    while waiting.queue.count:
        waiting.queue.take()
    assert len(waiting.timeouts) == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0.01, 0.3, 2]),
            st.sampled_from(list(Lane)),
            st.sampled_from([None, None, 0.0, 0.5, 4.9]),
        ),
        max_size=12,
    )
)
def test_each_leaves_within_a_tenth_of_a_second_of_its_deadline(comers):
    waiting = Waiting()
    everybody = []
    for pause, lane, in_front in comers:
        waiting.advance(pause)
        if in_front is None:
            everybody.append(waiting.add(5, lane))
        else:
            everybody.append(waiting.add(in_front, lane, in_front=True))
    waiting.advance(5.3)
    assert {id(unsent) for unsent, _ in waiting.over} == {id(unsent) for unsent in everybody}
    for unsent, when in waiting.over:
        assert unsent.deadline - 1e-6 <= when <= unsent.deadline + 0.12
    assert len(waiting.timeouts) == 0


def test_who_comes_while_others_leave_has_a_deadline_of_its_own(waiting):
    first, second = waiting.add(1), waiting.add(1.5)
    waiting.queue._on_timeout = lambda unsent: (waiting.timed_out(unsent), waiting.add(9))
    waiting.advance(1.7)
    assert [unsent for unsent, _ in waiting.over] == [first, second]
    waiting.advance(9)
    assert len(waiting.over) == 3


def test_who_is_withdrawn_because_another_leaves_is_not_told(waiting):
    first, second = waiting.add(1), waiting.add(1)

    def withdraw_the_other(unsent):
        waiting.timed_out(unsent)
        waiting.queue.remove(second)

    waiting.queue._on_timeout = withdraw_the_other
    waiting.advance(1.2)
    assert [unsent for unsent, _ in waiting.over] == [first]
