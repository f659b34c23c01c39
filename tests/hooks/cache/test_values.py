"""Answers as bytes in a store."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.hooks import Answer
from wsgate.hooks.cache.purging import MARK_SIZE
from wsgate.hooks.cache.values import AHEAD, Stored, read, write

KEY = bytes(32)
MARK = b"m" * MARK_SIZE
STORED = Stored(MARK, 100.0, 10.0, 20.0, 30.0)

times = st.floats(0, 1e6)
answers = st.one_of(
    st.builds(lambda text: Answer(text.encode()), st.text()),
    st.builds(lambda payload: Answer(payload, True), st.binary()),
    st.just(Answer(None, False, 204)),
    st.just(Answer(b"", False, 204)),
)


@given(answers, times, times, times)
def test_what_was_written_is_read(answer, fresh, revalidating, failing):
    stored = Stored(MARK, 100.0, fresh, revalidating, failing, answer)
    assert read(KEY, write(KEY, stored), 100.0) == stored


def test_names_are_read_too():
    stored = STORED._replace(names=("cookie", "wsgate-user"))
    assert read(KEY, write(KEY, stored), 100.0) == stored


@given(answers, st.data())
def test_one_byte_that_is_another_makes_it_nothing(answer, data):
    value = bytearray(write(KEY, STORED._replace(answer=answer)))
    place = data.draw(st.integers(0, len(value) - 1))
    value[place] ^= data.draw(st.integers(1, 255))
    assert read(KEY, bytes(value), 100.0) is None


@given(answers, st.data())
def test_what_is_cut_off_or_longer_is_nothing(answer, data):
    value = write(KEY, STORED._replace(answer=answer))
    cut = data.draw(st.integers(0, len(value) - 1))
    assert read(KEY, value[:cut], 100.0) is None
    assert read(KEY, value + b"x", 100.0) is None


def test_the_value_of_another_key_is_nothing():
    value = write(KEY, STORED._replace(answer=Answer(b"of another")))
    assert read(b"\1" * 32, value, 100.0) is None


@given(st.none() | st.binary() | st.text() | st.integers() | st.lists(st.none()))
def test_anything_else_is_nothing(value):
    assert read(KEY, value, 100.0) is None


@pytest.mark.parametrize(
    "stored",
    [
        STORED._replace(answer=Answer(b"\xff")),
        STORED._replace(answer=Answer(b"x", status=500)),
        STORED._replace(answer=Answer(None)),
        STORED._replace(answer=Answer(b"x"), fresh=nan),
        STORED._replace(answer=Answer(b"x"), failing=inf),
        STORED._replace(answer=Answer(b"x"), asked=100.1 + AHEAD),
        STORED._replace(names=("b", "a")),
        STORED._replace(names=("*",)),
        STORED._replace(names=("a", "a")),
        STORED._replace(names=("a b",)),
        STORED._replace(names=tuple(f"a{n:02}" for n in range(17))),
        STORED,
    ],
)
def test_what_no_gateway_would_have_written_is_nothing(stored):
    assert read(KEY, write(KEY, stored), 100.0) is None


def test_a_stored_answer_is_as_old_as_unix_time_says():
    stored = STORED._replace(answer=Answer(b"x"))
    kept = stored.kept(now=5000.0, wall=104.0)
    assert (kept.fresh, kept.revalidating, kept.failing) == (5006.0, 5016.0, 5026.0)
    assert stored.kept(now=5000.0, wall=90.0).fresh == 5010.0
