"""wsgate.pusher.presence: a large channel hears of a member in slices of the reactor's time."""

import json

import pytest
from twisted.internet.task import Clock

from tests.channels.test_fanout import SlowMember, finish, turn
from wsgate.channels import Channels
from wsgate.channels.fanout import SLICE
from wsgate.pusher.app import App
from wsgate.pusher.application import Application
from wsgate.pusher.roster import Person

ROOM = "presence-hall"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def hall(clock, monkeypatch):
    """An application, and 50 connections of one user in a presence channel."""
    monkeypatch.setattr("wsgate.channels.fanout.AT_A_TIME", 2)
    channels = Channels(clock)
    application = Application(App(id="1", key="k", secret=b"s"), channels, clock.seconds)
    crowd = [SlowMember(f"c{number}", clock, []) for number in range(50)]
    for one in crowd:
        channels.add(one)
        application.subscribe(one, ROOM, Person("ann", None))
        one.got.clear()
    finish(clock)
    return channels, application, crowd


def come(clock, hall, user):
    channels, application, _ = hall
    one = SlowMember(user, clock, [])
    channels.add(one)
    application.subscribe(one, ROOM, Person(user, None))
    return one


def events(member):
    return [json.loads(event)["event"] for event in member.got]


def test_no_turn_takes_longer_than_a_slice_and_a_few_receivers(clock, hall):
    began = clock.seconds()
    bob = come(clock, hall, "bob")
    assert clock.seconds() - began < SLICE + 0.004
    while clock.getDelayedCalls():
        assert turn(clock) < SLICE + 0.004
    assert all(events(one) == ["pusher_internal:member_added"] for one in hall[2])
    assert events(bob) == ["pusher_internal:subscription_succeeded"]


def test_who_comes_and_goes_is_told_in_that_order(clock, hall):
    channels, application, crowd = hall
    bob = come(clock, hall, "bob")
    channels.remove(bob)
    application.forget(bob)
    finish(clock)
    told = ["pusher_internal:member_added", "pusher_internal:member_removed"]
    assert all(events(one) == told for one in crowd)


def test_whoever_has_left_meanwhile_hears_nothing_more(clock, hall):
    _, application, crowd = hall
    come(clock, hall, "bob")
    assert not crowd[-1].got
    application.unsubscribe(crowd[-1], ROOM)
    finish(clock)
    assert crowd[-1].got == []
    assert events(crowd[-2]) == ["pusher_internal:member_added"]
