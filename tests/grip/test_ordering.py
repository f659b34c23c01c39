"""wsgate.grip.ordering: items that have an id come once, and in the order they say."""

import pytest
from twisted.internet.task import Clock

from wsgate.grip.ordering import HELD, MOST_HELD, MOST_KNOWN, REMEMBERED, Ordering
from wsgate.grip.publish import Item
from wsgate.timeouts import Timeouts


class Stage:
    def __init__(self):
        self.clock = Clock()
        self.delivered = []
        self.ordering = Ordering(Timeouts(self.clock), self.delivered.append)

    def offer(self, id=None, prev=None, channel="a"):
        self.ordering.offer(Item(channel, None, id, prev))

    @property
    def ids(self):
        return [item.id for item in self.delivered]


@pytest.fixture
def stage():
    return Stage()


def test_items_without_an_id_pass(stage):
    stage.offer()
    stage.offer()
    assert stage.ids == [None, None]


def test_an_id_passes_once_a_minute_and_channel(stage):
    stage.offer("1")
    stage.offer("1")
    stage.offer("1", channel="b")
    assert stage.ids == ["1", "1"]
    stage.clock.advance(REMEMBERED)
    stage.offer("1")
    assert stage.ids == ["1", "1", "1"]


def test_an_item_waits_for_the_one_before_it(stage):
    stage.offer("1")
    stage.offer("4", "3")
    stage.offer("3", "2")
    assert stage.ids == ["1"]
    stage.offer("2", "1")
    assert stage.ids == ["1", "2", "3", "4"]
    assert stage.ordering.held == 0
    stage.clock.advance(HELD + 1)
    assert stage.ids == ["1", "2", "3", "4"]


def test_where_nothing_is_known_of_a_channel_nothing_waits(stage):
    stage.offer("7", "6")
    assert stage.ids == ["7"]


def test_an_item_waits_no_longer_than_five_seconds(stage):
    stage.offer("1")
    stage.offer("3", "2")
    stage.clock.advance(HELD - 0.1)
    assert stage.ids == ["1"]
    stage.clock.advance(0.3)
    assert stage.ids == ["1", "3"]
    stage.offer("4", "3")
    assert stage.ids == ["1", "3", "4"]


def test_what_waits_is_not_taken_twice(stage):
    stage.offer("1")
    stage.offer("3", "2")
    stage.offer("3", "2")
    assert stage.ordering.held == 1
    stage.offer("2", "1")
    assert stage.ids == ["1", "2", "3"]


def test_two_that_name_the_same_one_before_them_are_both_delivered(stage):
    stage.offer("1")
    stage.offer("3", "2")
    stage.offer("x", "2")
    assert stage.ids == ["1", "x"]


def test_one_more_than_may_wait_is_delivered_at_once(stage):
    stage.offer("first")
    for number in range(MOST_HELD):
        stage.offer(f"{number}", f"before {number}")
    assert stage.ids == ["first"]
    stage.offer("one more", "missing")
    assert stage.ids == ["first", "one more"]


def test_what_is_known_is_bounded(stage):
    for number in range(MOST_KNOWN + 1):
        stage.offer("1", channel=str(number))
    stage.delivered.clear()
    stage.offer("1", channel="0")
    stage.offer("1", channel=str(MOST_KNOWN))
    assert [item.channel for item in stage.delivered] == ["0"]
