"""Which answers may be given to others, and for how long."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.hooks import Answer
from wsgate.hooks.cache.terms import MOST_NAMES, Terms, directives, terms_of


def answer(*headers, payload=b"7", **more):
    return Answer(payload, headers=headers, **more)


def terms(cache_control, *headers, **more):
    return terms_of(answer(("cache-control", cache_control), *headers, **more))


PUBLIC = ("cache-control", "public, max-age=60")


# -- what must never be given to another


@pytest.mark.parametrize(
    "said",
    [
        "",
        "max-age=60",
        "s-maxage=60",
        "public",
        "private, max-age=60",
        "public, private, max-age=60",
        'public, private="x-name", max-age=60',
        "public, max-age=60, no-store",
        "public, max-age=60, NO-STORE",
        "public, max-age=60, no-cache",
        'public, max-age=60, no-cache="set-cookie"',
        "public, max-age=60, no-store=1",
        "public, max-age",
        "public, max-age=",
        "public, max-age=-1",
        "public, max-age=+60",
        "public, max-age=6 0",
        "public, max-age=60s",
        "public, max-age=1e3",
        "public, max-age=\u0664",
        "public, max-age=60.5",
        "public, max-age=60, max-age=61",
        "public, max-age=0",
        "public, s-maxage=0, max-age=60",
        "public, s-maxage=x, max-age=60",
        "public max-age=60",
        "public; max-age=60",
        'public, max-age="60',
        'x="public, max-age=60"',
        'public, max-age=60, x="\\',
        "public, max-age=60, =",
    ],
)
def test_without_a_clear_word_that_it_is_public_and_for_how_long_it_is_nobody_elses(said):
    assert terms(said) is None


@pytest.mark.parametrize(
    "field",
    [
        ("set-cookie", "session=1"),
        ("wsgate-user", "42"),
        ("wsgate-set", "a=b"),
        ("wsgate-close", "4000 bye"),
        ("wsgate-subscribe", "room"),
        ("wsgate-stream", "lines"),
        ("wsgate-something-new", "1"),
        ("vary", "*"),
        ("vary", "Cookie, *"),
        ("vary", "Wsgate-Unknown"),
        ("vary", "Wsgate-Var-"),
        ("vary", "Wsgate-Var"),
        ("vary", "Wsgate-Users"),
        ("vary", "Wsgate-Param-1"),
        ("vary", "Coo kie"),
        ("vary", "Cookie; x"),
        ("vary", ", ".join(f"x-{n}" for n in range(MOST_NAMES + 1))),
    ],
)
def test_what_is_done_to_one_connection_or_cannot_be_told_apart_is_nobody_elses(field):
    assert terms_of(answer(PUBLIC)) is not None
    assert terms_of(answer(PUBLIC, field)) is None
    assert terms_of(answer(field, PUBLIC)) is None


@pytest.mark.parametrize("status", [201, 203, 206, 300, 302, 304, 400, 401, 403, 404, 410, 500])
def test_another_status_than_200_or_204_is_nobody_elses(status):
    assert terms_of(answer(PUBLIC, status=status)) is None


def test_actions_and_streams_are_nobody_elses():
    assert terms_of(answer(PUBLIC, actions=object())) is None
    assert terms_of(answer(PUBLIC, payload=None)) is None


def test_an_answer_about_which_php_complains_is_nobody_elses():
    assert terms_of(answer(PUBLIC, is_clean=False)) is None


def test_a_word_against_it_counts_in_a_second_field_too():
    assert terms_of(answer(PUBLIC, ("cache-control", "no-store"))) is None
    assert terms_of(answer(("cache-control", "public"), ("cache-control", "max-age=9"))) is not None


# -- for how long


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("public, max-age=60", Terms(60, 60, 60)),
        ("PUBLIC,MAX-AGE=60", Terms(60, 60, 60)),
        ("  public ,, max-age=60\t,", Terms(60, 60, 60)),
        ('public, max-age="60"', Terms(60, 60, 60)),
        ("public, max-age=60, max-age=60", Terms(60, 60, 60)),
        ("public, max-age=60, s-maxage=5", Terms(5, 5, 5)),
        ("public, s-maxage=5", Terms(5, 5, 5)),
        ("public, max-age=60, immutable, x-new=1", Terms(60, 60, 60)),
        ("public, max-age=5, stale-while-revalidate=10", Terms(5, 15, 5)),
        ("public, max-age=5, stale-if-error=20", Terms(5, 5, 25)),
        ("public, max-age=0, stale-while-revalidate=10", Terms(0, 10, 0)),
        ("public, s-maxage=5, stale-while-revalidate=10", Terms(5, 15, 5)),
        ("public, max-age=5, stale-if-error=20, must-revalidate", Terms(5, 5, 5)),
        ("public, max-age=5, stale-while-revalidate=20, proxy-revalidate", Terms(5, 5, 5)),
        ("public, max-age=5, stale-if-error=x", Terms(5, 5, 5)),
        ("public, max-age=99999999999999999999", Terms(2**31, 2**31, 2**31)),
        ('public, max-age=60, x="a, no-store"', Terms(60, 60, 60)),
    ],
)
def test_the_seconds_are_those_of_rfc_9111_and_rfc_5861(said, wanted):
    assert terms(said) == wanted


def test_an_answer_of_nothing_may_be_given_again():
    assert terms("public, max-age=60", payload=None, status=204) == Terms(60, 60, 60)


@pytest.mark.parametrize(
    ("age", "fresh"), [("10", 50), ("10, 20", 50), ("x", 60), ("-5", 60), ("", 60), ("59", 1)]
)
def test_the_age_it_came_with_counts(age, fresh):
    assert terms("public, max-age=60", ("age", age)) == Terms(fresh, fresh, fresh)


def test_what_came_too_old_is_not_kept_unless_it_may_be_given_stale():
    assert terms("public, max-age=60", ("age", "60")) is None
    late = terms("public, max-age=60, stale-if-error=10", ("age", "60"))
    assert late == Terms(0, 0, 10)


def test_vary_is_in_order_and_without_what_php_never_sees():
    field = ("vary", "Wsgate-User, COOKIE,, Accept-Encoding, Wsgate-Var-my_Lang, cookie")
    wanted = ("cookie", "wsgate-user", "wsgate-var-my_lang")
    assert terms("public, max-age=60", field).vary == wanted


# -- the parser


@given(st.text(alphabet='public,= "\\max-age0123\t', max_size=60))
def test_any_text_is_read_or_refused(text):
    found = directives(text)
    assert found is None or all(name == name.lower() for name in found)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True),
        st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8),
        max_size=5,
    )
)
def test_what_is_written_by_the_grammar_is_read_as_it_was_meant(wanted):
    def quoted(value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    parts = [name if value is None else f"{name}={quoted(value)}" for name, value in wanted.items()]
    assert directives(", ".join(parts)) == wanted


@pytest.mark.parametrize(
    "text", [" " * 32000 + "=", '"' * 32000, 'a="' + "\\a" * 16000, "a" * 32000 + "="]
)
def test_a_long_field_takes_no_long_time(text):
    began = time.process_time()
    assert directives(text) is None
    assert time.process_time() - began < 1
