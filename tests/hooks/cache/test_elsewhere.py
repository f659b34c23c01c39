"""A cache with a store behind its memory, whatever the store does."""

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import capturedLogs, formatEvent

from tests.hooks.cache.asked import Around
from tests.hooks.cache.clients import Client
from wsgate.hooks.cache.elsewhere import MemcachedShelf, RedisShelf
from wsgate.hooks.cache.purging import MARK_SIZE


class FakeShelf:
    """A store that answers at once; `mood` is what it does instead."""

    def __init__(self):
        self.values = {}
        self.asked = 0
        self.is_up = True
        self.mood = None

    def get(self, keys):
        return self._do(lambda: [self.values.get(key) for key in keys])

    def set(self, key, value, seconds):
        assert seconds >= 0
        return self._do(lambda: self.values.__setitem__(key, value))

    def add(self, key, value):
        return self._do(lambda: self.values.setdefault(key, value))

    def _do(self, does):
        self.asked += 1
        return succeed(does()) if self.mood is None else self.mood()


def two(**options):
    """Two gateways with one store."""
    shelf = FakeShelf()
    one = Around(shelf, **options)
    other = Around(shelf, **options)
    return shelf, one, other


def test_what_one_gateway_has_asked_another_need_not_ask():
    _, one, other = two()
    one.ask()
    one.php_says(b"7", "public, max-age=60")
    assert other.ask().payload == b"7"
    assert other.runs == 0
    assert other.counts == {"hit": 1}
    assert other.ask().was_at_once
    other.clock.advance(60)
    one.clock.advance(60)
    assert not other.ask().is_over


def test_many_equal_messages_look_once_into_the_store():
    shelf, one, other = two()
    one.ask()
    one.php_says(b"7")
    asked = shelf.asked
    waits = Deferred()
    shelf.mood = lambda: waits
    said = [other.ask() for _ in range(100)]
    assert shelf.asked == asked + 1
    shelf.mood = None
    mark, *_, value = shelf.values.values()
    waits.callback([mark, value])
    assert {one.payload for one in said} == {b"7"}


def test_variants_are_found_and_those_of_another_user_are_not():
    _, one, other = two()
    vary = ("vary", "Wsgate-User")
    one.ask(Client(user="a"))
    one.php_says(b"of a", "public, max-age=60", vary)
    assert other.ask(Client(user="a")).payload == b"of a"
    fresh = Around(one_shelf(one))
    assert not fresh.ask(Client(user="b")).is_over
    assert not fresh.ask(Client()).is_over


def one_shelf(around):
    return around.cache._elsewhere._shelf


def test_a_stale_one_is_given_and_asked_for_anew():
    _, one, other = two()
    said = "public, max-age=10, stale-while-revalidate=20"
    one.ask()
    one.php_says(b"old", said)
    other.clock.advance(15)
    assert other.ask().payload == b"old"
    assert other.runs == 1
    other.php_says(b"new", said)
    assert other.ask().payload == b"new"


def test_a_stale_one_is_there_when_php_fails():
    _, one, other = two()
    one.ask()
    one.php_says(b"old", "public, max-age=10, stale-if-error=20")
    other.clock.advance(15)
    said = other.ask()
    assert not said.is_over
    other.php_fails(OSError())
    assert said.payload == b"old"


def test_a_purge_holds_for_all_gateways_with_the_store_and_those_to_come():
    shelf, one, other = two()
    one.ask()
    one.php_says(b"old")
    other.purge()
    assert not other.ask().is_over
    assert not Around(shelf).ask().is_over


def test_what_was_asked_before_a_purge_is_not_stored_for_good():
    shelf, one, other = two()
    one.ask()
    other.purge()
    one.php_says(b"old")
    assert not Around(shelf).ask().is_over


def test_a_mark_that_was_lost_brings_nothing_purged_back():
    shelf, one, _ = two()
    one.ask()
    one.php_says(b"old")
    for key in [key for key in shelf.values if "mark:" in key]:
        del shelf.values[key]
    assert not Around(shelf).ask().is_over


@pytest.mark.parametrize("garbage", [b"", b"x", bytes(MARK_SIZE), bytes(1000), "text", 7, []])
def test_garbage_is_nothing_and_mends_itself(garbage):
    shelf, one, _ = two()
    one.ask()
    one.php_says(b"7")
    for key in shelf.values:
        shelf.values[key] = garbage
    other = Around(shelf)
    said = other.ask()
    assert not said.is_over
    other.php_says(b"8")
    assert said.payload == b"8"
    assert Around(shelf).ask().payload == b"8"


@pytest.mark.parametrize("answer", [None, [], [None], [None] * 3, b"x", 7])
def test_a_store_that_answers_something_else_knows_nothing(answer):
    shelf = FakeShelf()
    shelf.mood = lambda: succeed(answer)
    around = Around(shelf)
    said = around.ask()
    around.php_says(b"7")
    assert said.payload == b"7"


def test_a_store_that_is_away_costs_nobody_anything_but_a_look_now_and_then():
    shelf = FakeShelf()
    shelf.mood = lambda: fail(OSError("away"))
    around = Around(shelf)
    for number in range(100):
        said = around.ask(payload=b"%d" % number)
        around.php_says(b"7", "private")
        assert said.payload == b"7"
    assert shelf.asked == 1
    around.clock.advance(1)
    around.ask(payload=b"x")
    around.ask(payload=b"y")
    assert shelf.asked == 2
    around.clock.advance(1)
    around.ask(payload=b"z")
    assert shelf.asked == 2
    assert around.counts["store_failed"] == 2
    shelf.mood = None
    around.clock.advance(1)
    around.ask(payload=b"back")
    around.ask(payload=b"again")
    assert shelf.asked > 4


def test_a_store_that_is_known_to_be_away_is_not_asked_and_not_counted():
    shelf, one, other = two()
    one.ask()
    one.php_says(b"7")
    shelf.is_up, asked = False, shelf.asked
    said = other.ask()
    other.php_says(b"8", "private")
    assert said.payload == b"8"
    assert shelf.asked == asked
    assert not other.counts["store_failed"]
    shelf.is_up = True
    assert Around(shelf).ask().payload == b"7"


def purged_while_away():
    """Two gateways, of which one was told of a purge while their store was away; now it is back."""
    shelf, one, other = two()
    one.ask()
    one.php_says(b"old")
    shelf.is_up = False
    one.purge()
    shelf.is_up = True
    return one, other


def test_a_purge_is_told_to_a_store_that_was_away_as_soon_as_it_is_back():
    one, other = purged_while_away()
    assert not one.ask().is_over
    assert not other.ask().is_over


def test_a_store_that_says_nothing_is_waited_for_no_longer_than_the_setting():
    shelf = FakeShelf()
    shelf.mood = Deferred
    around = Around(shelf)
    said = [around.ask() for _ in range(10)]
    assert around.runs == 0
    around.clock.pump([0.05] * 5)
    assert around.runs == 1
    around.php_says(b"7")
    assert {one.payload for one in said} == {b"7"}
    assert around.counts["store_failed"] == 1
    another = around.ask(payload=b"another")
    assert around.runs == 2
    assert not another.is_over


def test_a_purge_that_the_store_did_not_hear_of_is_told_to_it_before_it_is_read_again():
    shelf, one, other = two()
    one.ask()
    one.php_says(b"old")
    shelf.mood = lambda: fail(OSError("away"))
    one.purge()
    shelf.mood = None
    assert not one.ask().is_over
    one.clock.advance(1)
    assert not one.ask(payload=b"another").is_over
    assert not other.ask().is_over


def test_a_purge_that_the_store_did_not_hear_of_is_told_to_it_at_the_end_if_it_is_back():
    one, other = purged_while_away()
    with capturedLogs() as logs:
        Deferred.fromCoroutine(one.cache.stop())
    assert not logs
    assert not other.ask().is_over


@pytest.mark.parametrize("is_up", [False, True])
def test_a_purge_that_never_reaches_the_store_is_told_of_at_the_end(is_up):
    shelf, one, _ = two()
    shelf.mood = lambda: fail(OSError("away"))
    one.purge()
    shelf.is_up = is_up
    with capturedLogs() as logs:
        Deferred.fromCoroutine(one.cache.stop())
    (event,) = logs
    assert "a purge of /prices has not reached the store" in formatEvent(event)


def test_without_a_purge_the_end_asks_the_store_nothing():
    shelf, one, _ = two()
    with capturedLogs() as logs:
        Deferred.fromCoroutine(one.cache.stop())
    assert (len(logs), shelf.asked) == (0, 0)


def test_the_client_that_asked_may_leave_while_the_store_is_asked():
    shelf, one, _ = two()
    waits = Deferred()
    shelf.mood = lambda: waits
    own, waiting = one.ask(), one.ask()
    own.waits.cancel()
    shelf.mood = None
    waits.callback([None, None])
    assert own.asked == []
    assert len(waiting.asked) == 1
    one.php_says(b"7")
    assert waiting.payload == b"7"


class Words:
    """Redis, as far as what it is told."""

    def __init__(self):
        self.told = []

    def ask(self, *words):
        self.told.append(words)
        return succeed([None] * (len(words) - 1) if words[0] == "MGET" else "OK")


def test_redis_is_told_when_a_value_ends_and_a_mark_never_does():
    store = Words()
    shelf = RedisShelf(store)
    shelf.set("a", b"v", 1.5)
    shelf.set("m", b"v", 0)
    shelf.add("m", b"v")
    shelf.get(["a", "m"])
    assert store.told == [
        ("SET", "a", b"v", "PX", "1500"),
        ("SET", "m", b"v"),
        ("SET", "m", b"v", "NX"),
        ("MGET", "a", "m"),
    ]


class Memcached:
    """memcached, as far as what it is told."""

    def __init__(self):
        self.told = []

    def set(self, key, value, expire=0):
        self.told.append((key, expire))
        return succeed(None)


def test_memcached_is_never_told_to_keep_an_answer_for_ever():
    store = Memcached()
    shelf = MemcachedShelf(store)
    shelf.set("a", b"v", 0.2)
    shelf.set("a", b"v", 2.0)
    shelf.set("m", b"v", 0)
    assert store.told == [("a", 1), ("a", 2), ("m", 0)]
