"""Who has more connections than another, by a clock of the test's."""

import os

import pytest

from wsgate.workers.balance import STALE, Balance, make_memory


class Hall:
    """Three workers and their clock, which stands at a time after all have been absent."""

    def __init__(self):
        self.now = 1000.0
        descriptor = make_memory(3)
        self.workers = [Balance(descriptor, index, lambda: self.now) for index in range(3)]
        os.close(descriptor)

    def ahead(self):
        return [worker.is_ahead() for worker in self.workers]


@pytest.fixture
def hall():
    return Hall()


def test_nobody_is_ahead_of_those_that_are_absent(hall):
    hall.workers[0].tell(5)
    assert hall.ahead() == [False, False, False]


def test_who_has_more_than_another_is_ahead(hall):
    for worker, connections in zip(hall.workers, (2, 1, 2), strict=True):
        worker.tell(connections)
    assert hall.ahead() == [True, False, True]
    hall.workers[1].tell(2)
    assert hall.ahead() == [False, False, False]


def test_who_has_said_nothing_for_a_while_counts_no_more(hall):
    hall.workers[0].tell(9)
    hall.workers[1].tell(0)
    hall.now += STALE - 0.1
    assert hall.workers[0].is_ahead()
    hall.now += 0.1
    assert not hall.workers[0].is_ahead()


def test_it_works_without_memfd(monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    hall = Hall()
    hall.workers[0].tell(1)
    hall.workers[2].tell(0)
    assert hall.ahead() == [True, False, False]
