"""wsgate.turnover: one set of pools takes over from another, on a fake clock, with fake PHPs."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from tests.fastcgi.fakes import REQUEST, FakeEndpoint, Outcome, answer
from wsgate.config import Pool, Route, Settings
from wsgate.fastcgi import Backend, ConnectionPool
from wsgate.reload import NotTaken
from wsgate.turnover import ANSWER_LIMIT, GLANCE, Turnover


class FakePHP:
    """A private PHP that answers, and ends, when the test says so."""

    def __init__(self, pool_name):
        self.pool_name = pool_name
        self.is_answering = False
        self.starts = self.stops = 0
        self.ended = Deferred()

    def startService(self):
        self.starts += 1

    def stopService(self):
        self.stops += 1
        return self.ended


class House:
    """A turnover, and all that was ever made for it."""

    def __init__(self, monkeypatch, **pools):
        self.clock = Clock()
        self.endpoints = []
        self.made = []
        self.privates = []
        self.is_used = False
        self.switched = []
        monkeypatch.setattr("wsgate.turnover.make_pools", self.make)
        self.settings = Settings(pools=pools)
        self.turnover = Turnover(self.clock, self.settings, self.routes())

    def routes(self):
        return [Route(path=f"/{name}", script="/x.php", pool=name) for name in self.settings.pools]

    def make(self, reactor, asked, routes, names=None):
        made, privates = {}, []
        for name in asked.pools if names is None else names:
            endpoint = FakeEndpoint()
            self.endpoints.append(endpoint)
            made[name] = ConnectionPool(reactor, [Backend(name, endpoint)], name=name)
            if asked.pools[name].private:
                privates.append(FakePHP(name))
        self.made += made
        self.privates += privates
        return made, privates

    def change(self, **pools):
        self.settings = replace(self.settings, pools=pools)
        change = self.turnover.change(self.settings, self.routes(), self.switch)
        return Outcome(ensureDeferred(change))

    def switch(self, pools):
        self.switched.append(pools)
        return lambda: self.is_used


FPM, OTHER_FPM = ("tcp:127.0.0.1:9000",), ("tcp:127.0.0.1:9001",)
a, b = Pool(name="a", fastcgi=FPM), Pool(name="b", fastcgi=FPM)
other_a = replace(a, fastcgi=OTHER_FPM)
php = Pool(name="php")
other_php = replace(php, max_in_flight=7)


@pytest.fixture
def house(monkeypatch):
    return lambda **pools: House(monkeypatch, **pools)


def test_only_what_is_new_or_other_is_made(house):
    house = house(a=a, b=b)
    before = house.turnover.pools
    changed = house.change(a=other_a, b=b, c=Pool(name="c", fastcgi=FPM))
    assert not changed.pending
    after = house.turnover.pools
    assert house.made == ["a", "b", "a", "c"]
    assert after["b"] is before["b"]
    assert after["a"] is not before["a"]
    assert house.switched == [after]


def test_what_is_left_out_finishes_what_it_has(house):
    house = house(a=a)
    old = house.turnover.pools["a"]
    outcome = Outcome(old.request(REQUEST))
    house.endpoints[0].accept()
    house.change(a=other_a)
    house.clock.pump([GLANCE] * 5)
    assert not old.stopped
    assert set(house.turnover.every_pool) == {old, house.turnover.pools["a"]}
    house.endpoints[0].receive(answer())
    assert outcome.result.stdout == b"answer"
    with capturedLogs() as logs:
        house.clock.advance(GLANCE)
    assert old.stopped
    assert house.turnover.every_pool == (house.turnover.pools["a"],)
    assert [event["pool"] for event in logs] == ["a"]


def test_it_stays_while_somebody_uses_it(house):
    house = house(a=a)
    old = house.turnover.pools["a"]
    house.is_used = True
    house.change(a=other_a)
    house.clock.pump([GLANCE] * 5)
    assert not old.stopped
    house.is_used = False
    house.clock.advance(GLANCE)
    assert old.stopped


def test_counters_of_pools_that_are_gone_are_kept(house):
    house = house(a=a)
    for later in (other_a, a):
        pool = house.turnover.pools["a"]
        pool.request(REQUEST)
        house.endpoints[-1].accept()
        house.endpoints[-1].receive(answer())
        house.change(a=later)
        house.clock.advance(GLANCE)
    assert house.turnover.past["wsgate_pool_requests_total", "a"] == 2


def test_a_new_php_must_answer_before_anything_changes(house):
    house = house(php=php)
    before = house.turnover.pools
    changed = house.change(php=other_php)
    first, second = house.privates
    assert (second.starts, house.switched) == (1, [])
    house.clock.pump([GLANCE] * 5)
    assert changed.pending
    assert house.turnover.pools is before
    second.is_answering = True
    house.clock.advance(GLANCE)
    assert not changed.pending
    assert house.turnover.privates == [second]
    # The old one ends once its pool is over.
    assert first.stops == 1


def test_one_that_does_not_answer_in_time_changes_nothing_and_is_stopped(house):
    house = house(php=php)
    before = house.turnover.pools
    changed = house.change(php=other_php)
    first, second = house.privates
    house.clock.pump([GLANCE] * round(ANSWER_LIMIT / GLANCE - 1))
    assert second.stops == 0
    house.clock.pump([GLANCE] * 2)
    assert second.stops == 1
    assert changed.pending
    second.ended.callback(None)
    assert isinstance(changed.error, NotTaken)
    assert str(changed.error) == "the new PHP of pool php does not answer"
    assert (house.turnover.pools, house.turnover.privates) == (before, [first])
    assert house.switched == []
    # The settings that failed are not taken for those in place.
    house.change(php=other_php)
    house.privates[2].is_answering = True
    house.clock.advance(GLANCE)
    assert house.turnover.privates == [house.privates[2]]


def test_one_that_cannot_be_started_is_stopped_and_said(house, monkeypatch):
    house = house(php=php)
    monkeypatch.setattr(FakePHP, "startService", lambda _: (_ for _ in ()).throw(OSError("no")))
    changed = house.change(php=other_php)
    house.privates[1].ended.callback(None)
    assert str(changed.error) == "no"


def test_a_switch_that_fails_changes_nothing_and_the_new_php_is_stopped(house):
    house = house(php=php, a=a)
    before = house.turnover.pools
    house.switch = lambda pools: 1 / 0
    changed = house.change(php=other_php, a=other_a)
    first, second = house.privates
    second.is_answering = True
    house.clock.advance(GLANCE)
    second.ended.callback(None)
    assert isinstance(changed.error, ZeroDivisionError)
    assert (first.stops, second.stops) == (0, 1)
    assert (house.turnover.pools, house.turnover.privates) == (before, [first])
    assert set(house.turnover.every_pool) == set(before.values())
    assert not any(pool.stopped for pool in before.values())


def test_a_php_that_stays_is_not_started_again(house):
    house = house(php=php, a=a)
    house.change(php=php, a=other_a)
    (private,) = house.privates
    assert house.turnover.privates == [private]
    assert (private.starts, private.stops) == (0, 0)


def test_at_the_end_every_pool_and_every_php_is_stopped(house):
    house = house(php=php, a=a)
    leaving = house.turnover.pools["a"]
    house.is_used = True
    house.change(php=php, a=other_a)
    house.turnover.stop_pools()
    assert leaving.stopped
    assert all(pool.stopped for pool in house.turnover.pools.values())
    stopped = Outcome(ensureDeferred(house.turnover.stop_privates()))
    assert stopped.pending
    house.privates[0].ended.callback(None)
    assert not stopped.pending


def test_an_old_php_that_has_not_ended_is_stopped_with_the_others(house):
    house = house(php=php)
    house.is_used = True
    house.change(php=other_php)
    first, second = house.privates
    second.is_answering = True
    house.clock.advance(GLANCE)
    assert first.stops == 0
    ensureDeferred(house.turnover.stop_privates())
    assert (first.stops, second.stops) == (1, 1)


def test_a_bug_in_retiring_is_logged_and_no_more(house):
    house = house(a=a)
    house.switch = lambda pools: lambda: 1 / 0
    with capturedLogs() as logs:
        changed = house.change(a=other_a)
    assert not changed.pending
    assert changed.error is None
    assert logs[0]["log_failure"].check(ZeroDivisionError)
