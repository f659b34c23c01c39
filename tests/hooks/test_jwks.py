"""wsgate.hooks.tokens.jwks: when the server of keys is asked, and what holds until it answers."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsgate.hooks.tokens.jwks import (
    LONGEST,
    PATIENCE,
    PAUSE,
    RETRY,
    SHORTEST,
    USUAL,
    Fetched,
    KeysAway,
    PublishedKeys,
)
from wsgate.hooks.tokens.keys import Key, KeyUnusable
from wsgate.timeouts import Timeouts

STALE = 1000.0
# How late a timeout of `Timeouts` may be.
LATE = 0.3


class Server:
    """Answers when told to; keys are words, and so are their kids."""

    def __init__(self):
        self.clock = Clock()
        self.asked = []
        self.keys = PublishedKeys(
            self.fetch, self.read, Timeouts(self.clock), STALE, "hooks.x.jwks_url"
        )

    def fetch(self):
        self.asked.append(Deferred())
        return self.asked[-1]

    @staticmethod
    def read(body):
        if not body:
            raise KeyUnusable("has no key for RS256")
        return tuple(Key(word, frozenset({"RS256"}), word.decode()) for word in body.split())

    def answer(self, body, max_age=None):
        self.asked[-1].callback(Fetched(body, max_age))

    def fail(self):
        self.asked[-1].errback(OSError("it is away"))

    def find(self, kid="a"):
        results = []
        found = Deferred.fromCoroutine(self.keys.find("RS256", kid))
        found.addCallbacks(
            lambda keys: [key.kid for key in keys], lambda failure: failure.type
        ).addCallback(results.append)
        results.append(found) if not results else None
        return results

    def now(self, kid="a"):
        """What a token finds without waiting."""
        (result,) = self.find(kid)
        assert not isinstance(result, Deferred), "it waits"
        return result


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def filled(server):
    """One that has answered with the keys a and b."""
    server.keys.start()
    server.answer(b"a b")
    return server


def test_it_is_asked_at_the_start(server):
    server.keys.start()
    assert len(server.asked) == 1
    server.answer(b"a b")
    assert server.now("a") == ["a"]
    assert server.now(None) == ["a", "b"]
    assert len(server.asked) == 1


def test_all_who_come_before_the_answer_wait_for_one(server):
    server.keys.start()
    waiting = [server.find(kid) for kid in ("a", "b", "a")]
    assert [len(results) for results in waiting] == [1, 1, 1]
    server.answer(b"a b")
    assert [results[-1] for results in waiting] == [["a"], ["b"], ["a"]]
    assert len(server.asked) == 1


def test_one_who_gives_up_takes_the_answer_from_nobody(server):
    server.keys.start()
    first, second = server.find(), server.find()
    first[0].cancel()
    assert not server.asked[0].called
    server.answer(b"a")
    assert second[-1] == ["a"]


@pytest.mark.parametrize("how", ["fail", "nothing"])
def test_without_keys_a_token_fails_and_the_server_is_asked_again_soon(server, how, logged):
    server.keys.start()
    waiting = server.find()
    server.fail() if how == "fail" else server.answer(b"")
    assert waiting[-1] is KeysAway
    # Nobody waits, and the server has its rest.
    assert server.now() is KeysAway
    server.clock.advance(RETRY - 0.01)
    assert server.now() is KeysAway
    assert len(server.asked) == 1
    server.clock.advance(0.02)
    waiting = server.find()
    assert len(server.asked) == 2
    server.answer(b"a")
    assert waiting[-1] == ["a"]
    (line,) = logged()
    assert line.startswith("hooks.x.jwks_url: ")


def test_an_unknown_key_asks_again_but_seldom(filled):
    filled.clock.advance(PAUSE)
    waiting = [filled.find("new") for _ in range(50)]
    assert len(filled.asked) == 2
    filled.answer(b"a new")
    assert [results[-1] for results in waiting] == [["new"]] * 50
    # Random names now find nothing, and make nobody ask.
    for number in range(1000):
        assert filled.now(f"random{number}") == []
        filled.clock.advance((PAUSE - 0.1) / 1000)
    assert len(filled.asked) == 2
    filled.clock.advance(0.2)
    waiting = filled.find("random")
    assert len(filled.asked) == 3
    filled.answer(b"a")
    assert waiting[-1] == []


def test_known_keys_need_not_wait_for_the_unknown(filled):
    filled.clock.advance(PAUSE)
    filled.find("new")
    assert filled.now("a") == ["a"]


def test_an_unknown_key_waits_a_second_at_most(filled):
    filled.clock.advance(PAUSE)
    waiting = filled.find("new")
    filled.clock.advance(PATIENCE - 0.1)
    assert len(waiting) == 1
    filled.clock.advance(LATE)
    assert waiting[-1] == []
    filled.answer(b"new")
    assert len(waiting) == 2
    assert filled.now("new") == ["new"]


def test_without_keys_a_token_waits_a_second_at_most_too(server):
    server.keys.start()
    waiting = server.find()
    server.clock.advance(PATIENCE + LATE)
    assert waiting[-1] is KeysAway
    server.answer(b"a")
    assert server.now() == ["a"]


def test_an_unknown_key_is_refused_while_the_server_is_away(filled):
    filled.clock.advance(PAUSE)
    waiting = filled.find("new")
    filled.fail()
    assert waiting[-1] == []
    assert filled.now("a") == ["a"]


@pytest.mark.parametrize(
    ("said", "fresh"),
    [(None, USUAL), (0.0, SHORTEST), (59.0, SHORTEST), (61.0, 61.0), (1e9, LONGEST)],
)
def test_an_answer_is_fresh_as_long_as_the_server_says_within_bounds(server, said, fresh):
    server.keys.start()
    server.answer(b"a", said)
    server.clock.advance(fresh - 0.01)
    assert server.now() == ["a"]
    assert len(server.asked) == 1
    server.clock.advance(0.02)
    # Nobody waits: the next ones have the new keys.
    assert server.now() == ["a"]
    assert len(server.asked) == 2
    assert server.now() == ["a"]
    assert len(server.asked) == 2
    server.answer(b"b", said)
    assert server.now("b") == ["b"]


def test_a_key_that_is_taken_away_verifies_nothing_any_more(filled):
    filled.clock.advance(USUAL)
    filled.now("a")
    filled.answer(b"b")
    assert filled.now("a") == []


def test_old_keys_stay_while_the_server_is_away_but_not_for_ever(filled, logged):
    filled.clock.advance(USUAL)
    assert filled.now("a") == ["a"]
    filled.fail()
    assert logged()[0].endswith("it is away; the keys from before stay for now")
    while filled.clock.seconds() < USUAL + STALE - PAUSE:
        filled.clock.advance(PAUSE)
        assert filled.now("a") == ["a"]
        filled.fail()
    filled.clock.rightNow = USUAL + STALE - 0.01
    assert filled.now("a") == ["a"]
    filled.clock.rightNow = USUAL + STALE
    waiting = filled.find("a")
    filled.fail()
    assert waiting[-1] is KeysAway
    filled.clock.advance(RETRY)
    waiting = filled.find("a")
    filled.answer(b"a")
    assert waiting[-1] == ["a"]


def test_a_stop_gives_up_and_says_nothing(server, logged):
    server.keys.start()
    waiting = server.find()
    server.keys.stop()
    assert waiting[-1] is KeysAway
    assert logged() == []
    server.keys.stop()


def test_a_stop_without_a_question_is_nothing(filled):
    filled.keys.stop()
    assert filled.now() == ["a"]


def test_a_server_that_answers_at_once_is_understood():
    server = Server()
    done = Deferred()
    done.callback(Fetched(b"a", None))
    server.keys._fetch = lambda: done
    assert server.now("a") == ["a"]
    assert server.keys.asked == 1
