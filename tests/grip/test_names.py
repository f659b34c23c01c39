"""wsgate.grip.names: any text is a channel, and no two are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.channels import ChannelError
from wsgate.grip.names import channel_name


@pytest.mark.parametrize(
    ("name", "prefix", "channel"),
    [
        ("room1", "", "room1"),
        ("room1", "app-", "app-room1"),
        ("a_b-c@d,e.f:h", "", "a_b-c@d,e.f:h"),
        ("a;b", "", "a=3Bb"),
        ("room/1", "", "room=2F1"),
        ("a=b", "", "a=3Db"),
        ("ü", "", "=C3=BC"),
        ("\ud800", "", "=ED=A0=80"),
    ],
)
def test_names(name, prefix, channel):
    assert channel_name(name, prefix) == channel


@pytest.mark.parametrize("name", ["", "x" * 165, "/" * 55])
def test_a_name_is_neither_empty_nor_too_long(name):
    with pytest.raises(ChannelError):
        channel_name(name)
    assert len(channel_name("/" * 54 + "xx")) == 164


@given(st.text(min_size=1, max_size=13), st.text(min_size=1, max_size=13))
def test_different_names_are_different_channels(one, other):
    assert (channel_name(one) == channel_name(other)) == (one == other)
