"""Sessions in Redis and memcached: which keys are asked for, and what may come back."""

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from wsgate.hooks.errors import HookFailed
from wsgate.hooks.session.stored import in_store
from wsgate.stores import StoreAway

ID = "abcdefghij0123456789ABCDEF"


class Redis:
    kind = "redis"

    def __init__(self, answer=b""):
        self.answer = answer
        self.asked = []

    def ask(self, *words):
        self.asked.append(words)
        return fail(self.answer) if isinstance(self.answer, Exception) else succeed(self.answer)


class Memcached:
    kind = "memcached"

    def __init__(self, answer=None):
        self.answer = answer
        self.asked = []

    def get(self, key):
        self.asked.append(key)
        return fail(self.answer) if isinstance(self.answer, Exception) else succeed(self.answer)


def looked_up(store, prefix=None, session=ID):
    outcome = []
    source = in_store(store, prefix, 100)
    Deferred.fromCoroutine(source.look_up(session)).addBoth(outcome.append)
    (found,) = outcome
    return getattr(found, "value", found)


@pytest.mark.parametrize(
    ("prefix", "key"), [(None, f"PHPREDIS_SESSION:{ID}"), ("shop:", f"shop:{ID}")]
)
def test_redis_is_asked_for_no_more_of_a_session_than_may_be(prefix, key):
    store = Redis(b"user_id|i:42;")
    assert looked_up(store, prefix) == b"user_id|i:42;"
    assert store.asked == [("GETRANGE", key, 0, 100)]


@pytest.mark.parametrize(("prefix", "key"), [(None, f"memc.sess.key.{ID}"), ("s.", f"s.{ID}")])
def test_memcached_is_asked_by_the_key_of_php(prefix, key):
    store = Memcached(b"user_id|i:42;")
    assert looked_up(store, prefix) == b"user_id|i:42;"
    assert store.asked == [key]


def test_without_a_session_there_is_nothing():
    assert not looked_up(Redis())
    assert not looked_up(Memcached())


def test_a_key_that_memcached_cannot_have_is_no_session():
    store = Memcached(b"user_id|i:42;")
    assert looked_up(store, "x", "a" * 249)
    assert looked_up(store, "x", "a" * 250) is None
    assert len(store.asked) == 1


@pytest.mark.parametrize("kind", [Redis, Memcached])
def test_a_session_is_as_long_as_may_be_and_not_longer(kind):
    assert looked_up(kind(b"x" * 100)) == b"x" * 100
    assert "max_size" in str(looked_up(kind(b"x" * 101)))


@pytest.mark.parametrize("kind", [Redis, Memcached])
@pytest.mark.parametrize("answer", [StoreAway("store cache is away"), 7])
def test_what_is_no_session_is_a_failure_of_the_hook(kind, answer):
    found = looked_up(kind(answer))
    assert isinstance(found, HookFailed)
    assert ID not in str(found)
