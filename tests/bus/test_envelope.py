import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.bus.envelope import (
    LONGEST_NAME,
    LONGEST_NUMBER,
    Envelope,
    EnvelopeError,
    Kind,
    decode,
    encode,
    is_connection_id,
)

hexes = st.binary(min_size=4, max_size=4).map(bytes.hex)
ids = st.binary(min_size=16, max_size=16).filter(any).map(bytes.hex)
envelopes = st.builds(
    Envelope,
    st.sampled_from(Kind),
    hexes,
    st.integers(0, LONGEST_NUMBER),
    st.text(max_size=200),
    st.binary(),
    st.booleans(),
    st.none() | ids,
)


@given(envelopes)
def test_an_envelope_comes_out_as_it_went_in(envelope):
    assert decode(encode(envelope)) == envelope


@given(st.binary())
def test_any_other_bytes_are_an_envelope_or_an_envelope_error(data):
    try:
        envelope = decode(data)
    except EnvelopeError:
        return
    assert encode(envelope) == data


@given(envelopes, st.data())
def test_a_changed_byte_is_never_another_kind_of_error(envelope, data):
    raw = bytearray(encode(envelope))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(EnvelopeError):
        decode(bytes(raw))


@given(envelopes, st.integers(0, 30))
def test_one_that_is_cut_off_before_its_payload_is_no_envelope(envelope, size):
    whole = encode(envelope)
    head = len(whole) - len(envelope.payload)
    with pytest.raises(EnvelopeError):
        decode(whole[: min(size, head - 1)])


def test_a_name_may_have_its_most_bytes_and_no_more():
    assert decode(encode(Envelope(Kind.SEND_TO_USER, "0" * 8, 0, "x" * LONGEST_NAME)))
    with pytest.raises(EnvelopeError):
        encode(Envelope(Kind.SEND_TO_USER, "0" * 8, 0, "x" * (LONGEST_NAME + 1)))


@pytest.mark.parametrize("node", ["", "0" * 7, "0" * 9, "G" * 8, "ABCDEF01"])
def test_a_node_is_eight_hex_digits(node):
    with pytest.raises(EnvelopeError):
        encode(Envelope(Kind.MESSAGE, node))


@pytest.mark.parametrize("number", [-1, LONGEST_NUMBER + 1])
def test_a_number_has_its_range(number):
    with pytest.raises(EnvelopeError):
        encode(Envelope(Kind.REPLY, "0" * 8, number))


def test_another_version_is_named():
    raw = b"\x02" + encode(Envelope(Kind.MESSAGE, "0" * 8))[1:]
    with pytest.raises(EnvelopeError, match="version 2; this wsgate knows 1"):
        decode(raw)


def test_half_a_surrogate_pair_cannot_be_sent():
    with pytest.raises(EnvelopeError):
        encode(Envelope(Kind.SEND_TO_USER, "0" * 8, 0, "\ud800"))


def test_what_is_no_connection_leaves_nobody_out():
    assert decode(encode(Envelope(Kind.MESSAGE, "0" * 8, except_id="nobody"))).except_id is None


def test_a_reply_has_the_number_of_its_request():
    asked = Envelope(Kind.CONNECTION_INFO, "0" * 8, 7, "a" * 32)
    reply = asked.reply("1" * 8, {"user": "ä"})
    assert (reply.kind, reply.node, reply.number) == (Kind.REPLY, "1" * 8, 7)
    assert json.loads(reply.payload) == {"user": "ä"}


def test_connection_ids_are_told_from_other_text():
    assert is_connection_id("0123456789abcdef" * 2)
    assert not is_connection_id("0123456789ABCDEF" * 2)
    assert not is_connection_id("0" * 33)
