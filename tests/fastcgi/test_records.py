"""wsgate.fastcgi.records: FastCGI 1.0 §3.3."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fastcgi.fakes import record
from wsgate.fastcgi import ProtocolError
from wsgate.fastcgi.records import (
    MAX_CONTENT,
    Record,
    RecordDecoder,
    RecordType,
    encode_record,
    stream_parts,
)

SHAPES = st.tuples(
    st.integers(0, 255),
    st.integers(0, 65535),
    st.binary(max_size=300) | st.sampled_from([bytes(65535), bytes(65528)]),
    st.integers(0, 255),
)


def pieces(data, cuts):
    """`data` cut at `cuts`, empty pieces included."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def test_a_record_is_encoded_as_the_specification_says():
    assert encode_record(RecordType.STDIN, b"abc") == b"\x01\x05\x00\x01\x00\x03\x00\x00abc"
    assert encode_record(4, b"", 258) == b"\x01\x04\x01\x02\x00\x00\x00\x00"


def test_a_record_of_65528_bytes_is_encoded_and_one_more_is_refused():
    assert len(encode_record(5, bytes(MAX_CONTENT))) == 8 + 65528
    with pytest.raises(ValueError, match="65529"):
        encode_record(5, bytes(MAX_CONTENT + 1))


@pytest.mark.parametrize(
    ("size", "lengths"),
    [
        (0, [0]),
        (1, [1, 0]),
        (65527, [65527, 0]),
        (65528, [65528, 0]),
        (65529, [65528, 1, 0]),
        (131056, [65528, 65528, 0]),
        (131057, [65528, 65528, 1, 0]),
    ],
)
def test_a_stream_is_cut_into_full_records_and_ended_by_an_empty_one(size, lengths):
    content = bytes(n % 251 for n in range(size))
    encoded = b"".join(stream_parts(RecordType.STDIN, content))
    records = RecordDecoder().feed(encoded)
    assert [len(r.content) for r in records] == lengths
    assert b"".join(r.content for r in records) == content
    assert {(r.type, r.request_id) for r in records} == {(5, 1)}
    assert len(encoded) == size + 8 * len(lengths)  # no padding anywhere


@given(st.lists(SHAPES, max_size=6), st.lists(st.integers(0), max_size=12))
def test_any_split_of_the_stream_gives_the_same_records(shapes, cuts):
    data = b"".join(record(t, c, id=i, padding=p) for t, i, c, p in shapes)
    decoder = RecordDecoder()
    records = [r for piece in pieces(data, cuts) for r in decoder.feed(piece)]
    assert records == [Record(t, i, c) for t, i, c, _ in shapes]
    assert decoder.pending == 0


@given(st.lists(SHAPES, min_size=1, max_size=3), st.data())
def test_an_incomplete_record_is_kept_and_not_returned(shapes, data):
    encoded = [record(t, c, id=i, padding=p) for t, i, c, p in shapes]
    cut = data.draw(st.integers(0, len(encoded[-1]) - 1))
    decoder = RecordDecoder()
    records = decoder.feed(b"".join(encoded[:-1]) + encoded[-1][:cut])
    assert len(records) == len(shapes) - 1
    assert decoder.pending == cut


def test_a_stream_that_arrives_byte_by_byte_is_decoded():
    data = record(6, b"one", padding=5) + record(7, b"") + record(3, bytes(8))
    decoder = RecordDecoder()
    records = [r for byte in data for r in decoder.feed(bytes([byte]))]
    assert records == [Record(6, 1, b"one"), Record(7, 1, b""), Record(3, 1, bytes(8))]


@pytest.mark.parametrize("padding", range(0, 256, 15))
@pytest.mark.parametrize("size", [0, 1, 65535])
def test_any_padding_and_content_is_taken(size, padding):
    data = record(6, bytes(size), padding=padding)
    decoder = RecordDecoder()
    assert decoder.feed(data[:-1] if len(data) > 8 else b"") == []
    assert decoder.feed(data[-1:] if len(data) > 8 else data) == [Record(6, 1, bytes(size))]


@pytest.mark.parametrize("version", [0, 2, 72, 255])
def test_a_wrong_version_is_an_error_at_its_first_byte(version):
    decoder = RecordDecoder()
    with pytest.raises(ProtocolError, match=f"version {version}"):
        decoder.feed(bytes([version]))
    with pytest.raises(ProtocolError):
        decoder.feed(record(6, b"good"))


@pytest.mark.parametrize("rest", [1, 8, 100])
def test_records_before_a_wrong_version_are_still_returned(rest):
    decoder = RecordDecoder()
    assert decoder.feed(record(6, b"good") + b"\x02" * rest) == [Record(6, 1, b"good")]
    assert isinstance(decoder.violation, ProtocolError)
    with pytest.raises(ProtocolError):
        decoder.feed(b"")


@given(st.lists(st.binary(max_size=2000), max_size=20))
def test_garbage_raises_only_protocol_error_and_never_keeps_more_than_one_record(chunks):
    decoder = RecordDecoder()
    for chunk in chunks:
        try:
            decoder.feed(chunk)
        except ProtocolError:
            break
        assert decoder.pending < 8 + 65535 + 255


def test_a_record_is_shown_without_its_content():
    assert str(Record(6, 1, b"secret")) == "STDOUT (id 1, 6 bytes)"
    assert str(Record(99, 7, b"")) == "type 99 (id 7, 0 bytes)"
