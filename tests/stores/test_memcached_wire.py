"""wsgate.stores.memcached_wire: what is asked, and answers however TCP cuts them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.stores import memcached_wire as wire

KEYS = st.text(
    st.characters(min_codepoint=0x21, exclude_characters="\x7f", codec="utf-8"),
    min_size=1,
    max_size=60,
)


@pytest.mark.parametrize(
    "key",
    ["", "a b", "a\r\nflush_all", "a\nb", "\0", "\x7f", "\ud800", "x" * 251, "é" * 126],
)
def test_what_is_no_key_is_never_sent(key):
    for request in (
        lambda: wire.get(key),
        lambda: wire.delete(key),
        lambda: wire.store("set", key, b"", 0),
    ):
        with pytest.raises(ValueError, match="a key of memcached"):
            request()


def test_a_key_may_have_as_many_bytes_as_memcached_takes():
    assert wire.get("x" * 250) == b"get " + b"x" * 250 + b"\r\n"
    assert wire.get("é" * 125) == b"get " + "é".encode() * 125 + b"\r\n"


def test_values_and_times_are_taken_up_to_their_bounds():
    assert wire.store("set", "k", b"v", 2592000) == b"set k 0 2592000 1\r\nv\r\n"
    for seconds in (-1, 2592001):
        with pytest.raises(ValueError, match="30 days"):
            wire.store("set", "k", b"v", seconds)
    wire.store("add", "k", bytes(wire.LARGEST_VALUE), 0)
    with pytest.raises(ValueError, match="longer"):
        wire.store("add", "k", bytes(wire.LARGEST_VALUE + 1), 0)


ANSWERS = st.one_of(
    st.tuples(st.just("value"), KEYS, st.none() | st.binary(max_size=300)),
    st.tuples(st.just("stored"), KEYS, st.just(True)),
    st.tuples(st.just("added"), KEYS, st.booleans()),
    st.tuples(st.just("deleted"), KEYS, st.booleans()),
    st.tuples(st.just("version"), KEYS, st.just(True)),
    st.tuples(st.just("stored"), KEYS, st.just(wire.Refused("SERVER_ERROR out of memory"))),
)
WORDS = {
    "version": {True: b"VERSION 1.6"},
    "stored": {True: b"STORED"},
    "added": {True: b"STORED", False: b"NOT_STORED"},
    "deleted": {True: b"DELETED", False: b"NOT_FOUND"},
}


def as_sent(due, key, answer):
    if isinstance(answer, wire.Refused):
        return answer.why.encode() + b"\r\n"
    if due != "value":
        return WORDS[due][answer] + b"\r\n"
    if answer is None:
        return b"END\r\n"
    return b"VALUE %b 7 %d\r\n%b\r\nEND\r\n" % (key.encode(), len(answer), answer)


@given(st.lists(ANSWERS, max_size=8), st.data())
def test_answers_are_read_however_they_are_cut(answers, data):
    reader = wire.Reader()
    for due, key, _ in answers:
        reader.expect(due, key.encode())
    stream = b"".join(as_sent(*answer) for answer in answers)
    got = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        got += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert got == [answer for _, _, answer in answers]


@given(st.sampled_from(["version", "value", "stored", "added", "deleted"]), st.binary())
def test_whatever_comes_is_an_answer_or_nonsense(due, data):
    reader = wire.Reader()
    reader.expect(due, b"k")
    try:
        answers = reader.feed(data)
    except wire.Nonsense:
        return
    assert len(answers) <= 1


@pytest.mark.parametrize(
    ("due", "data"),
    [
        ("value", b"STORED\r\n"),
        ("value", b"VALUE other 0 1\r\nv\r\nEND\r\n"),
        ("value", b"VALUE k 0 1\r\nv\r\nVALUE k 0 1\r\nv\r\nEND\r\n"),
        ("value", b"VALUE k 0 1\r\nvvv\r\nEND\r\n"),
        ("value", b"VALUE k 0 -1\r\n"),
        ("value", b"VALUE k 0 %d\r\n" % (wire.LARGEST_VALUE + 1)),
        ("value", b"VALUE k 0 9999999999\r\n"),
        ("stored", b"ERROR\r\n"),
        ("stored", b"CLIENT_ERROR bad data chunk\r\n"),
        ("stored", b"STORED\n"),
        ("deleted", b"HTTP/1.1 400 Bad Request\r\n"),
        ("version", b"x" * 2048),
        ("version", b"VERSION 1\r\nVERSION 1\r\n"),
    ],
)
def test_nonsense_is_told(due, data):
    reader = wire.Reader()
    reader.expect(due, b"k")
    with pytest.raises(wire.Nonsense):
        reader.feed(data)


def test_a_value_may_be_as_long_as_the_bound():
    reader = wire.Reader()
    reader.expect("value", b"k")
    value = bytes(wire.LARGEST_VALUE)
    reader.feed(b"VALUE k 0 %d\r\n" % len(value))
    assert reader.feed(value + b"\r\nEND\r\n") == [value]
