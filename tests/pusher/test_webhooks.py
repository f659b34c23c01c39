"""wsgate.pusher.webhooks: batches, tries, and what is not told."""

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsgate.fastcgi import BackendUnavailable, Response
from wsgate.pusher.app import WEBHOOKS, App
from wsgate.pusher.cache import Cache
from wsgate.pusher.signatures import signature
from wsgate.pusher.webhooks import (
    MOST_BYTES_IN_BATCH,
    MOST_BYTES_WAITING,
    MOST_WAITING,
    RETRIES,
    Webhooks,
)
from wsgate.timeouts import Timeouts


class Script:
    """What a script was asked; `status` is what it answers, None: nothing yet, 0: it is away."""

    def __init__(self):
        self.asked = []
        self.status = 200
        self.pending = None

    def __call__(self, body, signed):
        assert signed == signature(b"secret", body)
        self.asked.append(json.loads(body))
        if self.status is None:
            self.pending = Deferred()
            return self.pending
        result = Deferred()
        if self.status:
            result.callback(answer(self.status))
        else:
            result.errback(BackendUnavailable("away"))
        return result

    @property
    def names(self):
        return [event["name"] for asked in self.asked for event in asked["events"]]


def answer(status, stderr=b""):
    return Response(b"Status: %d X\r\nContent-Type: text/plain\r\n\r\n" % status, stderr, 0, False)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def script():
    return Script()


@pytest.fixture
def webhooks(clock, script):
    app = App(id="3", key="key", secret=b"secret", webhooks=frozenset(sum(WEBHOOKS.values(), ())))
    return Webhooks(lambda: app, Timeouts(clock), script, lambda: 1.5)


def balance(webhooks):
    counts = webhooks.counts
    return counts.gathered, counts.told, counts.dropped


def test_events_of_a_moment_are_one_batch(webhooks, script, clock):
    webhooks.tell("channel_occupied", channel="a")
    webhooks.tell("member_added", channel="presence-a", user_id="1")
    assert script.asked == []
    clock.advance(0.2)
    assert script.asked == [
        {
            "time_ms": 1500,
            "events": [
                {"name": "channel_occupied", "channel": "a"},
                {"name": "member_added", "channel": "presence-a", "user_id": "1"},
            ],
        }
    ]
    assert balance(webhooks) == (2, 2, 0)


def test_one_batch_is_under_way_at_a_time_and_has_a_hundred_events(webhooks, script, clock):
    script.status = None
    for number in range(250):
        webhooks.tell("client_event", event=f"client-{number}")
    clock.advance(0.2)
    clock.advance(1)
    assert [len(asked["events"]) for asked in script.asked] == [100]
    for size in (100, 50):
        script.pending.callback(answer(204))
        clock.advance(0.2)
        assert len(script.asked[-1]["events"]) == size
    assert [event["event"] for asked in script.asked for event in asked["events"]] == [
        f"client-{number}" for number in range(250)
    ]


def test_long_events_make_a_batch_that_php_takes(webhooks, script, clock):
    data = "x" * (MOST_BYTES_IN_BATCH // 4)
    for number in range(8):
        webhooks.tell("client_event", event=f"client-{number}", data=data)
    webhooks.tell("client_event", event="client-8", data=data * 5)
    for _ in range(5):
        clock.advance(0.2)
    assert [len(asked["events"]) for asked in script.asked] == [3, 3, 2, 1]
    assert balance(webhooks) == (9, 9, 0)


def test_what_clients_say_fills_no_memory_while_the_script_is_away(webhooks, script, clock):
    script.status = None
    about = {"event": "client-x", "data": "x" * 100_000}
    fit = MOST_BYTES_WAITING // len(
        json.dumps({"name": "client_event", **about}, separators=(",", ":"))
    )
    for _ in range(fit + 3):
        webhooks.tell("client_event", **about)
    assert balance(webhooks) == (fit + 3, 0, 3)
    clock.advance(0.2)
    script.status = 200
    script.pending.callback(answer(200))
    for _ in range(fit):
        clock.advance(0.2)
    assert balance(webhooks) == (fit + 3, fit, 3)
    webhooks.tell("client_event", **about)
    clock.advance(0.2)
    assert balance(webhooks) == (fit + 4, fit + 1, 3)


def test_only_what_was_asked_for_is_told(clock, script):
    app = App(id="3", key="key", secret=b"secret", webhooks=frozenset({"cache_miss"}))
    webhooks = Webhooks(lambda: app, Timeouts(clock), script, lambda: 0)
    webhooks.tell("client_event")
    webhooks.ends("channel_vacated", "a")
    webhooks.tell("cache_miss", channel="cache-a")
    clock.advance(10)
    assert script.names == ["cache_miss"]


@pytest.mark.parametrize("status", [0, 404, 500, 302])
def test_a_batch_that_is_not_taken_is_sent_again_until_five_minutes_are_over(
    webhooks, script, clock, status
):
    script.status = status
    webhooks.tell("cache_miss")
    clock.advance(0.2)
    for tries, pause in enumerate(RETRIES, 1):
        assert len(script.asked) == tries
        clock.advance(pause + 0.2)
    clock.advance(600)
    assert len(script.asked) == len(RETRIES) + 1
    assert sum(RETRIES) == 300
    assert balance(webhooks) == (1, 0, 1)
    script.status = 200
    webhooks.tell("cache_miss")
    clock.advance(0.2)
    assert balance(webhooks) == (2, 1, 1)


def test_what_comes_meanwhile_keeps_its_place(webhooks, script, clock):
    script.status = 500
    webhooks.tell("client_event", event="1")
    clock.advance(0.2)
    webhooks.tell("client_event", event="2")
    script.status = 200
    clock.advance(1.2)
    assert [event["event"] for event in script.asked[-1]["events"]] == ["1", "2"]


def test_a_script_that_dies_has_not_taken_it(webhooks, script, clock):
    script.status = None
    webhooks.tell("cache_miss")
    clock.advance(0.2)
    script.pending.callback(answer(200, b"PHP message: PHP Fatal error:  no"))
    assert balance(webhooks) == (1, 0, 0)
    assert webhooks.counts.failures == 1


def test_more_events_than_may_wait_are_dropped_and_counted(webhooks, script, clock):
    script.status = 0
    for _ in range(MOST_WAITING + 1):
        webhooks.tell("cache_miss")
    assert balance(webhooks) == (MOST_WAITING + 1, 0, 1)


def test_a_page_that_is_loaded_anew_is_not_told_of(webhooks, script, clock):
    webhooks.begins("channel_occupied", "a", channel="a")
    clock.advance(1)
    webhooks.ends("channel_vacated", "a", channel="a")
    clock.advance(2.8)
    webhooks.begins("channel_occupied", "a", channel="a")
    clock.advance(10)
    assert script.names == ["channel_occupied"]
    webhooks.ends("channel_vacated", "a", channel="a")
    clock.advance(3.2)
    clock.advance(0.2)
    assert script.names == ["channel_occupied", "channel_vacated"]


def test_when_too_many_have_just_ended_more_are_told_at_once(webhooks, script, clock):
    for number in range(MOST_WAITING):
        webhooks.ends("channel_vacated", str(number), channel=str(number))
    clock.advance(0.2)
    assert script.asked == []
    webhooks.ends("channel_vacated", "one more", channel="one more")
    clock.advance(0.2)
    assert [event["channel"] for event in script.asked[0]["events"]] == ["one more"]


def test_the_last_event_of_a_channel_is_kept_for_half_an_hour():
    cache = Cache()
    cache.keep("cache-a", b"1", 0)
    cache.keep("cache-a", b"2", 10)
    assert cache.find("cache-a", 10 + 1800) == b"2"
    assert cache.find("cache-a", 10 + 1801) is None
    assert cache.find("cache-b", 0) is None


def test_the_oldest_events_go_when_there_are_too_many_or_too_long_ones():
    cache = Cache(most=2, most_bytes=10)
    for channel in "abc":
        cache.keep(channel, b"1", 0)
    assert [cache.find(channel, 0) for channel in "abc"] == [None, b"1", b"1"]
    cache.keep("d", b"x" * 10, 0)
    assert [cache.find(channel, 0) for channel in "bcd"] == [None, None, b"x" * 10]
