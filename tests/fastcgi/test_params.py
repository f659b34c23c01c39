"""wsgate.fastcgi.params: FastCGI 1.0 §3.4."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.fastcgi import decode_params, encode_pair, encode_pairs_record, encode_params
from wsgate.fastcgi.records import MAX_CONTENT, RecordDecoder, RecordType

NAMES = st.binary(min_size=1, max_size=200)
VALUES = st.binary(max_size=300) | st.sampled_from([bytes(40000), bytes(65000)])


def decode(content):
    """The pairs of one record, read as PHP reads them: a pair that is not whole is an error."""
    pairs, offset = [], 0
    while offset < len(content):
        lengths = []
        for _ in range(2):
            if content[offset] < 128:
                lengths.append(content[offset])
                offset += 1
            else:
                lengths.append(int.from_bytes(content[offset : offset + 4], "big") & 0x7FFFFFFF)
                offset += 4
        name, offset = content[offset : offset + lengths[0]], offset + lengths[0]
        value, offset = content[offset : offset + lengths[1]], offset + lengths[1]
        assert (len(name), len(value)) == tuple(lengths)
        pairs.append((name, value))
    return pairs


def test_short_lengths_take_one_byte_and_long_ones_four():
    assert encode_params([(b"A", b"bc")]) == b"\x01\x04\x00\x01\x00\x05\x00\x00\x01\x02Abc"
    assert encode_params([(b"A", bytes(127))])[8:10] == b"\x01\x7f"
    assert encode_params([(b"A", bytes(128))])[8:13] == b"\x01\x80\x00\x00\x80"
    assert encode_params([(b"N" * 127, b"")])[8:10] == b"\x7f\x00"
    assert encode_params([(b"N" * 128, b"")])[8:13] == b"\x80\x00\x00\x80\x00"


def test_no_pairs_are_no_bytes():
    assert encode_params([]) == b""


def test_the_longest_pair_fills_a_record_and_one_byte_more_is_refused():
    longest = MAX_CONTENT - 1 - 4 - 1
    assert len(encode_params([(b"A", bytes(longest))])) == 8 + MAX_CONTENT
    with pytest.raises(ValueError, match=r"b'A' takes 65529 bytes"):
        encode_params([(b"A", bytes(longest + 1))])


def test_an_empty_name_is_refused():
    with pytest.raises(ValueError, match="name"):
        encode_params([(b"", b"value")])


def test_pairs_that_fill_a_record_exactly_take_one_record_and_one_more_begins_the_next():
    half = (b"A", bytes(MAX_CONTENT // 2 - 1 - 4 - 1))
    assert len(RecordDecoder().feed(encode_params([half, half]))) == 1
    records = RecordDecoder().feed(encode_params([half, half, (b"B", b"")]))
    assert [decode(r.content) for r in records] == [[half, half], [(b"B", b"")]]


@given(st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=12))
def test_a_record_of_single_pairs_is_the_same_as_all_at_once(pairs):
    one_by_one = b"".join(encode_pair(name, value) for name, value in pairs)
    assert encode_pairs_record(one_by_one) == (encode_params(pairs) or encode_pairs_record(b""))


def test_a_record_of_pairs_holds_65528_bytes_and_no_more():
    assert len(encode_pairs_record(bytes(MAX_CONTENT))) == 8 + MAX_CONTENT
    with pytest.raises(ValueError, match="65529"):
        encode_pairs_record(bytes(MAX_CONTENT + 1))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12))
def test_every_record_holds_whole_pairs_and_all_come_back_in_order(pairs):
    records = RecordDecoder().feed(encode_params(iter(pairs)))
    assert all(r.type == RecordType.PARAMS and r.request_id == 1 for r in records)
    assert all(0 < len(r.content) <= MAX_CONTENT for r in records)
    assert [pair for r in records for pair in decode(r.content)] == pairs


@given(st.dictionaries(st.binary(min_size=1, max_size=200), st.binary(max_size=70), max_size=20))
def test_what_was_encoded_can_be_read(pairs):
    long = {b"LONG": b"x" * 65000, b"OTHER": b"y" * 300}
    records = encode_params(pairs.items()) + encode_params(long.items())
    assert decode_params(records) == pairs | long
    assert decode_params(b"") == {}
