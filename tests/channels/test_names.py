"""wsgate.channels.names: what channels and users may be called."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.channels import OF_DIALECT, ChannelError, check_channel, check_user, is_plain_channel


@pytest.mark.parametrize("name", ["a", "room-1", "private-x_=@,.;:9", "x" * 164])
def test_a_name_in_pushers_alphabet_is_a_channels(name):
    assert check_channel(name) == name


@pytest.mark.parametrize("name", ["", "x" * 165, "a b", "a\n", "ä", "a/b", "a\x00", "٣"])
def test_any_other_name_is_refused_in_one_line(name):
    with pytest.raises(ChannelError, match="is no name for a channel; write 1 to 164") as caught:
        check_channel(name)
    assert len(str(caught.value).splitlines()) == 1


def test_what_separates_in_a_header_is_not_plain():
    assert is_plain_channel("room.1:x@y=z")
    for name in ("a,b", "a;b", "", "a b"):
        assert not is_plain_channel(name)


@pytest.mark.parametrize("user", ["42", "jane doe", "Zoë", "x" * 128])
def test_a_user_is_printable(user):
    assert check_user(user) == user


@pytest.mark.parametrize(
    "user", ["", "x" * 129, "a\n", "\x1b[1m", "\udc80", "\u202e", OF_DIALECT + "42"]
)
def test_any_other_user_is_refused(user):
    with pytest.raises(ChannelError, match="printable"):
        check_user(user)


@given(st.text())
def test_an_error_can_always_be_logged_and_sent(name):
    for check in (check_channel, check_user):
        with suppress(ChannelError):
            check(name)
            continue
        with pytest.raises(ChannelError) as caught:
            check(name)
        assert str(caught.value).isprintable()
