"""UTF-8 that comes in pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.utf8 import TextCheck

TEXTS = st.text().map(str.encode)
# Bytes at which UTF-8 turns: ends of ranges, surrogates, overlong forms, beyond U+10FFFF.
EDGES = st.lists(
    st.sampled_from(bytes.fromhex("00 41 7f 80 8f 90 9f a0 bf c1 c2 df e0 e1 ed ef f0 f1 f4 f5 ff"))
).map(bytes)


def judged(pieces):
    check = TextCheck()
    for piece in pieces:
        check.feed(piece)
    return check.is_valid, check.is_whole


def is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.one_of(TEXTS, EDGES), st.lists(st.integers(0, 40)))
def test_any_split_gives_what_the_whole_gives(data, cuts):
    ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    pieces = [data[start:end] for start, end in itertools.pairwise(ends)]
    assert judged(pieces) == judged([data[i : i + 1] for i in range(len(data))])
    assert judged(pieces)[1] == is_utf8(data)


@given(EDGES)
def test_it_is_invalid_one_byte_after_no_continuation_could_mend_it_at_the_latest(data):
    lasts = (b"", b"\x80", b"\x8f", b"\x90", b"\xa0", b"\xbf")
    endings = {a + b + c for a in lasts for b in lasts for c in lasts}
    if any(is_utf8(data + ending) for ending in endings):
        assert judged([data])[0]
    else:
        assert not judged([data, b"\x80"])[0]


@pytest.mark.parametrize("begun", [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98"])
def test_a_character_that_has_only_begun_is_valid_but_not_whole(begun):
    assert judged([b"text", begun]) == (True, False)


def test_after_a_fault_it_stays_invalid():
    assert judged([b"\xff", b"text", b"\xc3\xa9"]) == (False, False)


def test_nothing_at_all_is_whole():
    assert judged([]) == (True, True)
