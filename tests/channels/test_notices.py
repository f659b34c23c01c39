"""wsgate.channels: notices within one process."""

import pytest
from twisted.internet.task import Clock

from tests.deferreds import result
from wsgate.channels import LONGEST_NOTICE, Channels


@pytest.fixture
def channels():
    return Channels(Clock())


def test_who_listens_to_a_topic_hears_its_notices_at_once_until_it_ends_that(channels):
    heard, other = [], []
    end = channels.on_notice("cache:purge", heard.append)
    channels.on_notice("else", other.append)
    assert result(channels.notify("cache:purge", b"/a")) == 1
    end()
    end()
    assert result(channels.notify("cache:purge", b"/b")) == 0
    assert (heard, other) == ([b"/a"], [])


def test_two_may_listen_to_one_topic_and_one_that_fails_harms_nobody(channels):
    heard = []

    def fails(payload):
        raise RuntimeError("no")

    end = channels.on_notice("t", fails)
    channels.on_notice("t", heard.append)
    channels.notify("t", b"1")
    end()
    channels.notify("t", b"2")
    assert heard == [b"1", b"2"]


def test_a_notice_has_as_many_bytes_as_it_may_and_no_more(channels):
    heard = []
    channels.on_notice("t", heard.append)
    channels.notify("t", b"x" * LONGEST_NOTICE)
    with pytest.raises(ValueError, match="8193 bytes; 8192 are the most"):
        channels.notify("t", b"x" * (LONGEST_NOTICE + 1))
    assert len(heard) == 1


@pytest.mark.parametrize("topic", ["", "a b", "ä", "x" * 129, "a\n", "a*"])
def test_a_topic_is_a_plain_name(channels, topic):
    with pytest.raises(ValueError, match="no topic"):
        channels.on_notice(topic, print)
    with pytest.raises(ValueError, match="no topic"):
        channels.notify(topic, b"")
    channels.on_notice("x" * 128, print)


def test_listeners_may_come_and_go_while_they_are_told(channels):
    heard = []

    def first(payload):
        heard.append(payload)
        end()
        channels.on_notice("t", heard.append)

    end = channels.on_notice("t", first)
    channels.notify("t", b"1")
    channels.notify("t", b"2")
    assert heard == [b"1", b"2"]
