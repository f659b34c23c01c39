import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.bus.interface import Entry, Position, Stretch
from wsgate.bus.wire import (
    Saying,
    Splitter,
    What,
    at_of,
    encode,
    pack,
    split_at,
    stretch_from_json,
    stretch_to_json,
)

sayings = st.builds(
    Saying,
    st.sampled_from(What),
    st.text(max_size=50),
    st.binary(max_size=200),
    st.integers(0, 0xFFFFFFFF),
)


@given(st.lists(sayings, max_size=5), st.data())
def test_what_is_said_is_heard_however_it_is_cut(said, data):
    raw = b"".join(map(encode, said))
    splitter, heard = Splitter(), []
    while raw:
        size = data.draw(st.integers(1, len(raw)))
        heard += splitter.feed(raw[:size])
        raw = raw[size:]
    assert heard == said


@given(st.binary())
def test_other_bytes_are_sayings_or_a_value_error(data):
    with contextlib.suppress(ValueError):
        list(Splitter().feed(data))


def test_a_length_beyond_the_longest_is_not_waited_for():
    with pytest.raises(ValueError, match="not what a worker"):
        list(Splitter().feed(b"\xff" * 4 + bytes((What.SEND,)) + bytes(6)))


@given(st.integers(0, 10**15 - 1), st.binary())
def test_a_position_before_a_message_is_read_again(offset, data):
    position = Position("ab12", offset)
    assert split_at(at_of(position) + data) == (position, data)


@given(st.lists(st.tuples(st.integers(1, 1000), st.binary()), max_size=5))
def test_a_stretch_goes_through_json(entries):
    stretch = Stretch(Position("ab", 9), tuple(Entry(*entry) for entry in entries))
    assert stretch_from_json(json.loads(pack(stretch_to_json(stretch)))) == stretch
