"""wsgate.websocket.frames: messages as frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.websocket.frames import encode_fragments, encode_message


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65535, b"\x82\x7e\xff\xff"),
        (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_the_length_is_written_in_its_shortest_form(size, header):
    assert encode_message(2, b"x" * size, 2**20) == header + b"x" * size


def test_a_message_of_the_fragment_size_is_one_frame_and_a_longer_one_is_more():
    assert encode_message(1, b"abcd", 4) == b"\x81\x04abcd"
    assert encode_message(1, b"abcde", 4) == b"\x01\x04abcd\x80\x01e"


def test_only_the_first_frame_is_marked_as_compressed():
    assert encode_message(1, b"abcde", 4, rsv1=True) == b"\x41\x04abcd\x80\x01e"


def frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        first, size, at = data[0], data[1], 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        found.append((first, data[at : at + size]))
        data = data[at + size :]
    return found


@given(st.binary(max_size=2000), st.integers(1, 700), st.sampled_from([1, 2]))
def test_the_frames_hold_the_message_and_none_is_longer_than_asked(payload, size, opcode):
    sent = frames(encode_message(opcode, payload, size))
    assert b"".join(piece for _, piece in sent) == payload
    assert all(len(piece) <= size for _, piece in sent)
    assert [first & 0x0F for first, _ in sent] == [opcode] + [0] * (len(sent) - 1)
    assert [bool(first & 0x80) for first, _ in sent] == [False] * (len(sent) - 1) + [True]


@given(st.binary(min_size=1, max_size=2000), st.integers(1, 700), st.integers(1, 1500))
def test_chunks_joined_are_the_message_and_hold_whole_frames(payload, fragment, chunk):
    chunks = list(encode_fragments(1, payload, fragment, chunk))
    assert b"".join(chunks) == b"".join(encode_fragments(1, payload, fragment, len(payload)))
    for made in chunks:
        carried = sum(len(piece) for _, piece in frames(made))
        assert carried <= max(chunk, fragment)
