"""wsgate.hooks.signed_url: connections that come with a signed URL."""

import pytest
from twisted.internet.task import Clock

from tests.hooks.connections import FakeConnection
from tests.hooks.services import made_services
from wsgate.config.errors import OptionError
from wsgate.config.tokens import SignedUrlOptions
from wsgate.hooks import Hook, Refuse
from wsgate.hooks.signed_url import make
from wsgate.hooks.tokens.urls import signature

NOW = 1_800_000_000
KEY = b"0123456789abcdefghijklmnopqrstuv"


class Place:
    def __init__(self, path):
        self.path = path
        self.clock = Clock()
        self.counted = []

    def make(self, content=KEY, **options):
        self.path.write_bytes(content)
        self.path.chmod(0o600)
        services = made_services(
            self.clock,
            lambda _hook, outcome: self.counted.append(outcome),
            name="ticket",
            wall=lambda: NOW + self.clock.seconds(),
        )
        self.hook = make(services, SignedUrlOptions(key_file=str(self.path), **options))
        return self

    def client(self, query, key=KEY, path="/chat"):
        signed = f"{query}&signature={signature(key, path, query)}"
        return FakeConnection(self.clock, path=path, query=signed)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "key")


GOOD = f"user=42&expires={NOW + 60}"


def test_who_comes_with_a_signed_url_comes_in(place):
    client = place.make().client(GOOD)
    assert place.hook.on_connect(client) is None
    assert client.user is None
    assert place.counted == ["let_in"]


def test_who_does_not_is_refused_and_not_told_why(place, logged):
    place.make()
    for client in (
        place.client(GOOD, key=KEY[::-1]),
        place.client(f"expires={NOW}"),
        place.client(f"expires={NOW + 3601}"),
        FakeConnection(query=GOOD),
        FakeConnection(query=place.client(GOOD).query_string + "&x=1"),
        FakeConnection(path="/other", query=place.client(GOOD).query_string),
    ):
        assert place.hook.on_connect(client) == Refuse(403, "refused")
    assert place.counted == []
    assert all(
        line.startswith("hooks.ticket: 192.0.2.1 refused (c1): the URL: ") for line in logged()
    )
    assert not any("signature=" in line or "user" in line for line in logged())


def test_the_longest_lifetime_is_a_setting(place):
    far = f"expires={NOW + 3600}"
    assert place.make().hook.on_connect(place.client(far)) is None
    far = f"expires={NOW + 10**8}"
    assert place.hook.on_connect(place.client(far)).status == 403
    assert place.make(max_lifetime=0.0).hook.on_connect(place.client(far)) is None


def test_a_parameter_may_be_the_user(place):
    place.make(user_parameter="user")
    client = place.client(GOOD)
    assert place.hook.on_connect(client) is None
    assert client.user == "42"
    for query in ("", "user=&", "user=1&user=2&", "user=%0a&", "user=%ff&", "User=1&"):
        client = place.client(f"{query}expires={NOW + 60}")
        assert place.hook.on_connect(client) == Refuse(403, "refused"), query
        assert client.user is None


def test_the_connection_may_end_with_the_url(place):
    client = place.make().client(GOOD)
    place.hook.on_connect(client)
    assert len(client.timeouts) == 0
    client = place.make(close_at_expiry=True).client(GOOD)
    place.hook.on_connect(client)
    place.clock.advance(59.9)
    assert client.closed is None
    place.clock.advance(0.3)
    assert client.closed == (4401, "URL expired")


def test_keys_are_exchanged_one_after_the_other(place):
    new = KEY[::-1]
    place.make()
    assert place.hook.on_connect(place.client(GOOD, key=new)).status == 403
    place.path.write_bytes(new + b"\n" + KEY + b"\n")
    for key in (KEY, new):
        assert place.hook.on_connect(place.client(GOOD, key=key)) is None
    place.path.write_bytes(new + b"\n")
    assert place.hook.on_connect(place.client(GOOD)).status == 403


@pytest.mark.parametrize("content", [b"", KEY[:-1], b"a" * 99, KEY + b"\nweak", b"two words" * 9])
def test_a_weak_key_is_an_error_at_the_start(place, content):
    with pytest.raises(OptionError) as caught:
        place.make(content)
    assert caught.value.option == "key_file"


def test_it_has_nothing_to_do_with_messages(place):
    assert type(place.make().hook).on_message is Hook.on_message
