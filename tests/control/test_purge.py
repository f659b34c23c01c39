"""wsgate.control.purge: what is told to caches, and to who asks for it."""

import json

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from wsgate.channels import Channels
from wsgate.control.answers import Answer, Asked, answer
from wsgate.control.purge import purging
from wsgate.hooks.cache.purging import LONGEST_ROUTE, MARK_SIZE, TOPIC, read


@pytest.fixture
def channels():
    return Channels(Clock())


def ask(channels, query="", method="DELETE"):
    given = answer(purging(lambda: channels), Asked(method, "/cache", query=query))
    if not isinstance(given, Answer):
        found = []
        ensureDeferred(given).addCallback(found.append)
        (given,) = found
    return given.status, json.loads(given.body)


def heard(channels):
    notices = []
    channels.on_notice(TOPIC, lambda notice: notices.append(read(notice)))
    return notices


def test_all_routes_are_purged_unless_one_is_named(channels):
    notices = heard(channels)
    assert ask(channels) == (200, {"reached": 1})
    assert ask(channels, "route=/prices") == (200, {"reached": 1})
    assert ask(channels, "route=%2Fa%20b%2F%C3%A9") == (200, {"reached": 1})
    assert [purge.route for purge in notices] == ["", "/prices", "/a b/é"]
    assert len({purge.mark for purge in notices}) == 3
    assert {len(purge.mark) for purge in notices} == {MARK_SIZE}


def test_without_a_cache_nobody_is_reached(channels):
    assert ask(channels) == (200, {"reached": 0})


def test_a_route_of_the_longest_length_is_one_and_one_past_it_is_none(channels):
    assert ask(channels, "route=/" + "a" * (LONGEST_ROUTE - 1))[0] == 200
    assert ask(channels, "route=/" + "a" * LONGEST_ROUTE)[0] == 400


@pytest.mark.parametrize("query", ["route=prices", "route=", "routes=/prices", "route=/a&route=/b"])
def test_what_names_no_route_purges_nothing(channels, query):
    notices = heard(channels)
    assert ask(channels, query)[0] == 400
    assert not notices


def test_nothing_else_can_be_done_there(channels):
    assert ask(channels, method="GET")[0] == 405
