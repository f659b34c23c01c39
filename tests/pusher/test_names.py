"""wsgate.pusher.names and socketid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.fakes import FakeMember
from wsgate.channels import ChannelError, Channels, check_channel, check_user
from wsgate.channels.names import is_plain_channel
from wsgate.grip.names import channel_name
from wsgate.pusher import names
from wsgate.pusher.socketid import connection_id_of, socket_id_of


@pytest.mark.parametrize("name", ["a", "foo-bar_1=@,.;", "private-encrypted-x", "x" * 164])
def test_names_of_the_alphabet_up_to_164_characters_are_channels(name):
    assert names.is_channel(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 165,
        "a b",
        "a/b",
        "a:b",
        "é",
        "a\n",
        "#a",
        "#server-to-user-1",
        "a\x00",
        "private-*",
    ],
)
def test_other_names_are_not(name):
    assert not names.is_channel(name)


def test_a_users_channel_is_known_by_its_name():
    assert names.user_of("#server-to-user-42") == "42"
    assert names.user_of(names.channel_of_user("a@b.c")) == "a@b.c"
    for name in ("#server-to-user-", "#server-to-user-a b", "server-to-user-1", "42"):
        assert names.user_of(name) is None


@pytest.mark.parametrize(
    ("name", "private", "presence", "encrypted", "cache", "client_events"),
    [
        ("chat", False, False, False, False, False),
        ("private-x", True, False, False, False, True),
        ("presence-x", True, True, False, False, True),
        ("private-encrypted-x", True, False, True, False, False),
        ("cache-x", False, False, False, True, False),
        ("private-cache-x", True, False, False, True, True),
        ("presence-cache-x", True, True, False, True, True),
        ("private-encrypted-cache-x", True, False, True, True, False),
        ("privatex", False, False, False, False, False),
    ],
)
def test_the_prefix_says_the_kind(name, private, presence, encrypted, cache, client_events):
    assert names.is_private(name) is private
    assert names.is_presence(name) is presence
    assert names.is_encrypted(name) is encrypted
    assert names.is_cache(name) is cache
    assert names.takes_client_events(name) is client_events


@given(st.binary(min_size=16, max_size=16))
def test_a_socket_id_is_two_numbers_and_leads_back_to_its_connection(raw):
    socket_id = socket_id_of(raw.hex())
    first, second = socket_id.split(".")
    assert first.isdigit()
    assert second.isdigit()
    assert connection_id_of(socket_id) == raw.hex()


@pytest.mark.parametrize(
    "text", ["", "1", "1.", ".1", "1.2.3", "-1.2", "1.2 ", "1e3.2", f"{1 << 64}.1", "٣.٣", "1.2\n"]
)
def test_what_is_no_socket_id_leads_nowhere(text):
    assert connection_id_of(text) is None


def test_a_number_of_64_bits_is_still_one():
    assert connection_id_of(f"0.{(1 << 64) - 1}") == "0" * 16 + "f" * 16


APP = st.text("a1_-", min_size=1, max_size=64)
CHANNEL = st.one_of(
    st.text("ab1;,.=-_@", min_size=1, max_size=164),
    st.text("ab1;,.", min_size=1).map("#server-to-user-".__add__),
).filter(lambda name: names.is_channel(name) or names.user_of(name) is not None)


@given(APP, CHANNEL)
def test_no_answer_of_a_script_and_no_name_in_grip_reaches_an_applications_channel(app, channel):
    for inner in (names.inner(app, channel), names.of_nodes(app)):
        assert check_channel(inner) == inner
        assert not is_plain_channel(inner)
        assert ";" not in _in_grip(inner)


def _in_grip(name):
    try:
        return channel_name(name)
    except ChannelError:
        return ""


USER = st.text("ab1;,.=-_@", min_size=1, max_size=128).filter(names.is_user)


@given(APP, USER, APP, USER)
def test_applications_users_are_each_of_their_own_and_no_script_can_name_them(app, user, other, of):
    inner = names.inner_user(app, user)
    assert (inner == names.inner_user(other, of)) is ((app, user) == (other, of))
    with pytest.raises(ChannelError):
        check_user(inner)
    channels, member = Channels(Clock()), FakeMember("1")
    channels.add(member)
    channels.bind_user(member, inner)
    assert member.user == inner


@given(APP, CHANNEL, APP, CHANNEL)
def test_applications_channels_are_each_of_their_own(app, channel, other, another):
    same = (app, channel) == (other, another)
    assert (names.inner(app, channel) == names.inner(other, another)) is same
    assert names.inner(app, channel) != names.of_nodes(other)
