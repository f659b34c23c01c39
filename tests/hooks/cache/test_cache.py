"""What a cache gives to whom, and how often PHP is asked for it."""

import pytest
from twisted.internet.defer import CancelledError, Deferred

from tests.hooks.cache.asked import Around, answer
from tests.hooks.cache.clients import Client
from wsgate.hooks import Answer, Close, NotToBeAsked, Refuse
from wsgate.hooks.cache.flight import AT_ONCE
from wsgate.hooks.cache.hook import QUIET_FOR, RETRY_WITHIN
from wsgate.hooks.cache.known import PERSONAL_FOR
from wsgate.hooks.cache.purging import MARK_SIZE, TOPIC
from wsgate.hooks.errors import MessageRefused


@pytest.fixture
def around():
    return Around()


class Broken(Exception):
    """PHP failed."""


# -- never an answer of one to another


def user(name):
    return Client(name, user=name, fields=[("cookie", f"session={name}")])


@pytest.mark.parametrize(
    "said",
    [
        answer(b"of a", "private, max-age=60"),
        answer(b"of a", "max-age=60"),
        Answer(b"of a"),
        answer(b"of a", "public, max-age=60", ("set-cookie", "session=a")),
        answer(b"of a", "public, max-age=60", ("vary", "Cookie")),
        answer(b"of a", "public, max-age=60", ("vary", "Wsgate-User")),
        answer(b"of a", "public, max-age=60", ("vary", "*")),
        answer(b"of a", "public, max-age=60", ("vary", "Wsgate-Whatever")),
        answer(b"of a", "public, max-age=60", ("wsgate-user", "a")),
        answer(b"of a", "public, max-age=60", actions="a close"),
    ],
)
def test_an_answer_that_is_one_users_reaches_no_other_be_it_before_or_after_it_came(around, said):
    own = around.ask(user("a"))
    waiting = around.ask(user("b"))
    around.questions.pop(0).callback(said)
    assert own.answer is said
    assert not waiting.is_over
    later = around.ask(user("c"))
    assert not later.is_over
    around.php_says(b"of b", "private")
    around.php_says(b"of c", "private")
    assert (waiting.payload, later.payload) == (b"of b", b"of c")


def test_an_option_keeps_users_apart_whatever_the_script_says():
    around = Around(vary=("wsgate-user",))
    around.ask(user("a"))
    waiting = around.ask(user("b"))
    around.php_says(b"of a")
    assert not waiting.is_over
    around.php_says(b"of b")
    assert around.ask(user("a")).payload == b"of a"
    assert around.ask(user("b")).payload == b"of b"
    assert around.runs == 2


def test_who_becomes_another_user_while_php_works_leaves_nothing_for_either(around):
    vary = ("vary", "Wsgate-User")
    client = Client()
    around.ask(client)
    client.user = "a"
    around.php_says(b"of whom?", "public, max-age=60", vary)
    for asking in (Client(), user("a")):
        assert not around.ask(asking).is_over


def test_who_became_another_user_while_waiting_does_not_get_what_the_former_would(around):
    vary = ("vary", "Wsgate-User")
    around.ask(user("a"))
    waiting_client = user("a")
    waiting = around.ask(waiting_client)
    waiting_client.user = "b"
    around.php_says(b"of a", "public, max-age=60", vary)
    assert not waiting.is_over
    around.php_says(b"of b", "public, max-age=60", vary)
    assert waiting.payload == b"of b"


def test_variables_that_change_in_place_are_seen_too(around):
    client = Client(variables={"LANG": "de"})
    around.ask(client)
    client.variables["LANG"] = "en"
    around.php_says(b"guten Tag", "public, max-age=60", ("vary", "Wsgate-Var-Lang"))
    assert not around.ask(Client(variables={"LANG": "en"})).is_over
    assert not around.ask(Client(variables={"LANG": "de"})).is_over


def test_what_answers_vary_on_is_never_forgotten_while_one_is_kept(around):
    around.ask(user("a"))
    around.php_says(b"of a", "public, max-age=60", ("vary", "Wsgate-User"))
    around.ask(user("b"))
    around.php_says(b"of b, says the script, is for all", "public, max-age=90")
    assert around.ask(user("a")).payload == b"of a"
    around.clock.advance(61)
    around.ask(user("a"))
    assert around.runs == 3


def test_an_answer_that_comes_to_vary_on_more_is_found_by_all_of_it(around):
    around.ask(Client(fields=[("accept-language", "de")]))
    around.php_says(b"1", "public, max-age=60", ("vary", "Accept-Language"))
    english = {"fields": [("accept-language", "en")], "user": "a"}
    around.ask(Client(**english))
    around.php_says(b"2", "public, max-age=60", ("vary", "Wsgate-User"))
    assert around.ask(Client(**english)).payload == b"2"
    assert not around.ask(Client(**english | {"user": "b"})).is_over
    assert not around.ask(Client(**english | {"fields": []})).is_over


def test_a_failure_that_asks_for_a_close_closes_nobody_else(around):
    error = Broken()
    error.close = Close(4001)
    own, waiting = around.ask(), around.ask()
    around.php_fails(error)
    assert own.error is error
    assert not waiting.is_over
    around.php_says(b"7")
    assert waiting.payload == b"7"


def test_who_is_refused_by_a_hook_behind_is_refused_alone(around):
    error = MessageRefused(Refuse(429))
    own, waiting = around.ask(), around.ask()
    around.php_fails(error)
    assert own.error is error
    around.php_says(b"7")
    assert waiting.payload == b"7"


# -- hits


def test_the_same_message_is_answered_at_once_and_without_php_while_it_is_fresh(around):
    first = around.ask(Client("1"))
    assert not first.is_over
    around.php_says(b"7", "public, max-age=60", ("content-type", "text/plain"))
    assert first.answer.headers[1] == ("content-type", "text/plain")
    around.clock.advance(59.9)
    again = around.ask(Client("2"))
    assert again.was_at_once
    assert again.answer == Answer(b"7")
    around.clock.advance(0.1)
    assert not around.ask(Client("3")).is_over
    assert around.runs == 2
    assert around.counts["hit"] == 1
    assert around.counts["missed"] == 1


def test_a_hit_is_as_binary_as_it_was_and_may_be_nothing_at_all(around):
    around.ask(payload=b"image")
    around.php_says(memoryview(b"\xff"), is_binary=True)
    assert around.ask(payload=b"image").answer == Answer(b"\xff", True)
    around.ask(payload=b"seen")
    around.php_says(None, status=204)
    assert around.ask(payload=b"seen").answer == Answer(None, status=204)


def test_the_time_that_php_takes_counts_as_age(around):
    own, waiting = around.ask(), around.ask()
    around.clock.advance(60)
    around.php_says(b"7", "public, max-age=60")
    assert own.payload == waiting.payload == b"7"
    assert not around.ask().is_over


def test_what_is_past_its_end_leaves_the_memory_without_being_asked_for(around):
    around.ask()
    around.php_says(b"7", "public, max-age=5")
    assert around.cache._memory.size
    around.clock.pump([0.5] * 20)
    assert around.cache._memory.size == 0
    assert len(around.timeouts) == 0


def test_a_message_of_the_longest_size_is_kept_and_one_past_it_passes(around):
    around.ask(payload=bytes(1024))
    around.php_says(b"7")
    assert around.ask(payload=bytes(1024)).payload == b"7"
    around.ask(payload=bytes(1025))
    around.php_says(b"8")
    assert not around.ask(payload=bytes(1025)).is_over
    assert around.counts["passed"] == 2


def test_an_answer_too_large_to_keep_still_answers_all_who_wait(around):
    waiting = [around.ask() for _ in range(3)]
    around.php_says(bytes(1025))
    assert [len(one.payload) for one in waiting] == [1025] * 3
    assert not around.ask().is_over


def test_of_the_query_only_what_the_setting_names_makes_a_difference():
    around = Around(query=("room",))
    around.ask(Client(target="/prices?room=1&token=a"))
    around.php_says(b"7")
    assert around.ask(Client(target="/prices?token=b&room=1")).payload == b"7"
    assert not around.ask(Client(target="/prices?room=2&token=a")).is_over
    assert not around.ask(Client(target="/prices?room=1&room%00=2")).is_over


# -- in company


def test_a_thousand_equal_messages_at_once_ask_php_once(around):
    said = [around.ask(Client(str(number))) for number in range(1000)]
    assert around.runs == 1
    around.php_says(b"7")
    assert sum(one.is_over for one in said) == AT_ONCE
    around.clock.pump([0] * 4)
    assert [one.payload for one in said] == [b"7"] * 1000
    assert around.runs == 1
    assert around.counts == {"missed": 1, "coalesced": 999, "stored": 1}


def test_a_personal_answer_lets_those_who_wait_ask_at_once_and_later_ones_not_wait(around):
    said = [around.ask() for _ in range(10)]
    around.php_says(b"mine", "private")
    assert around.runs == 10
    said.append(around.ask())
    assert around.runs == 11
    for number in range(10):
        around.php_says(b"%d" % number, "private")
    assert [one.payload for one in said] == [b"mine", *(b"%d" % n for n in range(10))]


def test_after_a_personal_answer_one_that_is_public_is_kept_again(around):
    around.ask()
    around.php_says(b"mine", "private")
    around.ask()
    around.php_says(b"7")
    assert around.ask().payload == b"7"


def test_a_personal_answer_is_remembered_for_its_time_and_no_longer(around):
    around.ask()
    around.php_says(b"mine", "private")
    around.clock.advance(PERSONAL_FOR)
    around.ask()
    around.ask()
    assert around.runs == 2


def test_those_with_other_values_wait_for_one_of_their_own(around):
    vary = ("vary", "Accept-Language")
    said = {
        language: [around.ask(Client(fields=[("accept-language", language)])) for _ in range(5)]
        for language in ("de", "en", "fr")
    }
    assert around.runs == 1
    around.php_says(b"de", "public, max-age=60", vary)
    assert around.runs == 3
    around.php_says(b"en", "public, max-age=60", vary)
    around.php_says(b"fr", "public, max-age=60", vary)
    assert around.runs == 3
    for language, answers in said.items():
        assert {one.payload for one in answers} == {language.encode()}


def test_the_one_who_asked_may_leave_and_the_others_get_the_answer(around):
    own, waiting = around.ask(), around.ask()
    own.waits.cancel()
    assert isinstance(own.error, CancelledError)
    around.php_says(b"7")
    assert waiting.payload == b"7"
    assert around.ask().payload == b"7"


def test_one_who_waits_may_leave_and_is_not_asked_about(around):
    own, leaving, waiting = around.ask(), around.ask(), around.ask()
    leaving.waits.cancel()
    around.php_says(b"mine", "private")
    assert around.runs == 2
    around.php_says(b"7")
    assert (own.payload, waiting.payload) == (b"mine", b"7")


# -- failures


def test_a_failure_is_tried_once_more_and_then_all_who_wait_get_it(around):
    said = [around.ask() for _ in range(1000)]
    around.php_fails(Broken("first"))
    around.clock.pump([0] * 5)
    assert [str(one.error) for one in said if one.is_over] == ["first"]
    assert around.runs == 2
    around.php_fails(Broken("second"))
    around.clock.pump([0] * 5)
    assert [str(one.error) for one in said] == ["first"] + ["second"] * 999
    assert around.runs == 2


def test_a_second_try_that_succeeds_is_for_all_who_wait(around):
    said = [around.ask() for _ in range(10)]
    around.php_fails(Broken())
    around.php_says(b"7")
    assert [one.payload for one in said] == [None] + [b"7"] * 9


def test_a_failure_that_took_long_is_for_all_who_wait(around):
    said = [around.ask() for _ in range(10)]
    around.clock.advance(RETRY_WITHIN)
    around.php_fails(Broken())
    assert all(isinstance(one.error, Broken) for one in said)
    assert around.runs == 1


def test_a_failure_is_not_remembered(around):
    around.ask()
    around.php_fails(Broken())
    again = around.ask()
    around.php_says(b"7")
    assert again.payload == b"7"


def test_what_php_was_not_asked_about_says_nothing_to_others(around):
    own, waiting = around.ask(), around.ask()
    around.php_fails(NotToBeAsked())
    assert isinstance(own.error, NotToBeAsked)
    around.php_says(b"7")
    assert waiting.payload == b"7"


# -- stale answers


STALE = "public, max-age=10, stale-while-revalidate=20"


def test_a_stale_answer_comes_at_once_and_one_new_one_is_asked_for(around):
    around.ask()
    around.php_says(b"old", STALE)
    around.clock.advance(10)
    said = [around.ask() for _ in range(100)]
    assert all(one.was_at_once and one.payload == b"old" for one in said)
    assert around.runs == 2
    around.php_says(b"new", STALE)
    assert around.ask().payload == b"new"
    assert around.counts["stale"] == 100
    assert around.counts["revalidated"] == 1


def test_past_the_time_to_revalidate_all_wait_for_the_new_one(around):
    around.ask()
    around.php_says(b"old", STALE)
    around.clock.advance(30)
    assert not around.ask().is_over


def test_a_new_answer_that_is_personal_puts_an_end_to_the_stale_one(around):
    around.ask()
    around.php_says(b"old", STALE)
    around.clock.advance(10)
    around.ask()
    around.php_says(b"mine", "private")
    assert not around.ask().is_over


def test_a_new_answer_that_fails_is_asked_for_again_after_a_pause(around):
    around.ask()
    around.php_says(b"old", STALE)
    around.clock.advance(10)
    around.ask()
    around.php_fails(Broken())
    assert around.ask().payload == b"old"
    assert around.runs == 2
    around.clock.advance(QUIET_FOR)
    assert around.ask().payload == b"old"
    assert around.runs == 3


IF_ERROR = "public, max-age=10, stale-if-error=20"


def test_while_php_fails_the_stale_answer_is_given_and_php_asked_now_and_then(around):
    around.ask()
    around.php_says(b"old", IF_ERROR)
    around.clock.advance(10)
    said = [around.ask() for _ in range(3)]
    assert not said[0].is_over
    around.php_fails(Broken())
    assert [one.payload for one in said] == [b"old"] * 3
    assert around.ask().was_at_once
    assert around.runs == 2
    around.clock.advance(QUIET_FOR)
    again = around.ask()
    around.php_says(b"new", IF_ERROR)
    assert again.payload == b"new"
    assert around.counts["stale"] == 4


def test_past_its_time_a_failure_is_a_failure(around):
    around.ask()
    around.php_says(b"old", IF_ERROR)
    around.clock.advance(29.9)
    late = around.ask()
    around.clock.advance(0.1)
    around.php_fails(Broken())
    assert isinstance(late.error, Broken)


def test_a_stale_answer_of_one_user_is_no_others_when_php_fails(around):
    vary = ("vary", "Wsgate-User")
    around.ask(user("a"))
    around.php_says(b"of a", IF_ERROR, vary)
    around.clock.advance(10)
    own, other = around.ask(user("a")), around.ask(user("b"))
    assert around.runs == 3
    around.php_fails(Broken())
    around.php_fails(Broken())
    assert own.payload == b"of a"
    assert isinstance(other.error, Broken)


# -- purge


def test_what_was_asked_before_a_purge_is_not_given_to_who_asks_after_it(around):
    around.ask(payload=b"kept")
    around.php_says(b"old")
    before = around.ask()
    around.purge()
    after = around.ask()
    assert around.runs == 3
    around.php_says(b"old")
    assert before.payload == b"old"
    assert not after.is_over
    around.php_says(b"new")
    assert after.payload == around.ask().payload == b"new"
    assert not around.ask(payload=b"kept").is_over


def test_a_failure_after_a_purge_brings_no_stale_answer_back(around):
    around.ask()
    around.php_says(b"old", IF_ERROR)
    around.clock.advance(10)
    asked = around.ask()
    around.purge()
    around.php_fails(Broken())
    assert isinstance(asked.error, Broken)


def test_the_purge_of_another_route_is_not_ours(around):
    around.ask()
    around.php_says(b"7")
    around.purge("/other")
    assert around.ask().payload == b"7"
    around.purge("/prices")
    assert not around.ask().is_over


@pytest.mark.parametrize("notice", [b"", bytes(MARK_SIZE - 1), bytes(MARK_SIZE) + b"/\xff"])
def test_a_notice_that_is_none_purges_nothing(around, notice):
    around.ask()
    around.php_says(b"7")
    around.channels.notify(TOPIC, notice)
    assert around.ask().payload == b"7"


def test_what_may_have_been_purged_while_the_bus_was_away_is_forgotten(around):
    around.ask()
    around.php_says(b"7")
    around.channels._notices.missed()
    assert not around.ask().is_over


def test_a_stopped_cache_leaves_nothing_behind(around):
    around.ask()
    around.php_says(b"7")
    Deferred.fromCoroutine(around.cache.stop())
    assert len(around.timeouts) == 0
    assert around.cache._memory.size == 0
    assert not around.channels._notices.topics()
