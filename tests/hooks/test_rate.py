"""The hook rate: whom it counts, and what it says."""

import asyncio
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsgate.channels import Channels
from wsgate.channels.tokens import Taken
from wsgate.config import ConfigError
from wsgate.config.errors import OptionError
from wsgate.config.hooks import Raw, named_hooks
from wsgate.config.rate import RateOptions, count_and_seconds
from wsgate.hooks import Close, Message, Refuse, Services
from wsgate.hooks.making import make_hook
from wsgate.hooks.rate.make import make
from wsgate.timeouts import Timeouts


class Client:
    """A connection, as far as this hook looks at it."""

    def __init__(self, address="192.0.2.1", user=None, id="1"):
        self.remote_address = address
        self.user = user
        self.id = id
        self.memory = {}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rate(clock):
    """Makes a hook of this process alone."""

    def make(**options):
        raws = {
            name: Raw(value, "/", name, lambda value, name=name: f"hooks.calm.{name} = {value!r}")
            for name, value in {"use": "rate", **options}.items()
        }
        named = named_hooks({"calm": raws}, [])["calm"]
        services = Services(
            reactor=clock,
            wall=clock.seconds,
            timeouts=Timeouts(clock),
            channels=Channels(clock),
            stores={},
            count=lambda *_: None,
        )
        return make_hook(named, services, "/")

    return make


def says(hook, client):
    return hook.on_message(client, Message("m", b"x", False, None))


def test_as_many_as_the_burst_pass_and_one_more_is_told_when_to_come_again(rate, clock):
    hook, client = rate(rate="20/min", burst=3), Client()
    assert [says(hook, client) for _ in range(3)] == [None] * 3
    assert says(hook, client) == Refuse(429, "too many messages, try again in 3 s")
    clock.advance(2.5)
    assert says(hook, client) == Refuse(429, "too many messages, try again in 1 s")
    clock.advance(0.5)
    assert says(hook, client) is None
    assert hook.on_connect(client) is None


def test_a_connect_too_many_is_refused_with_retry_after(rate):
    hook, client = rate(rate="1/min", of="connects"), Client()
    assert hook.on_connect(client) is None
    refused = hook.on_connect(client)
    assert refused == Refuse(
        429, "too many connections, try again in 60 s", (("Retry-After", "60"),)
    )
    assert [says(hook, client) for _ in range(9)] == [None] * 9


def test_connects_and_messages_may_take_from_the_same(rate):
    hook, client = rate(rate="2/h", of="both"), Client()
    assert (hook.on_connect(client), says(hook, client)) == (None, None)
    assert says(hook, client).status == hook.on_connect(client).status == 429


def test_a_user_is_one_client_wherever_it_is_and_strangers_count_by_address(rate):
    hook = rate(rate="1/h")
    ann, elsewhere = Client("192.0.2.1", "ann"), Client("192.0.2.2", "ann")
    assert (says(hook, ann), says(hook, elsewhere).status) == (None, 429)
    assert says(hook, Client("192.0.2.1", "bob")) is None
    stranger = Client("192.0.2.1")
    assert (says(hook, stranger), says(hook, stranger).status) == (None, 429)
    # Nobody becomes an address by calling itself so.
    assert says(hook, Client("192.0.2.9", "192.0.2.1")) is None


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_addresses_of_ipv6_count_by_their_64(rate, one, other, is_same):
    hook = rate(rate="1/h", by="address")
    assert says(hook, Client(one, "ann")) is None
    assert (says(hook, Client(other, "bob")) is not None) == is_same


def test_whoever_has_no_address_counts_by_connection_and_may_connect(rate):
    hook = rate(rate="1/h", by="address", of="both")
    one, other = Client("unix:", id="1"), Client("unix:", id="2")
    assert [hook.on_connect(one) for _ in range(3)] == [None] * 3
    assert (says(hook, one), says(hook, one).status, says(hook, other)) == (None, 429, None)


def test_a_connection_counts_by_itself(rate):
    hook = rate(rate="1/h", by="connection")
    one, other = Client(user="ann", id="1"), Client(user="ann", id="2")
    assert (says(hook, one), says(hook, other)) == (None, None)
    assert (says(hook, one).status, hook.on_connect(one)) == (429, None)


def test_so_many_refusals_in_a_row_close_the_connection_and_one_less_does_not(rate, clock):
    hook, client = rate(rate="1/s", close_after=3), Client()
    assert says(hook, client) is None
    assert [says(hook, client).status for _ in range(2)] == [429, 429]
    clock.advance(1)
    assert says(hook, client) is None
    assert [type(says(hook, client)) for _ in range(3)] == [Refuse, Refuse, Close]


def test_two_on_a_route_do_not_know_of_each_other(rate):
    calm, strict = rate(rate="5/s"), rate(rate="1/s")
    client = Client()
    assert (says(calm, client), says(strict, client)) == (None, None)
    assert (says(calm, client), says(strict, client).status) == (None, 429)


def test_who_has_a_token_here_waits_for_nothing_else_for_the_bus():
    """Asked for through channels that are shared; see test_rate_parts for what becomes of it."""
    clock = Clock()
    asked = []

    def take(ask):
        asked.append((ask, Deferred()))
        return asked[-1][1]

    services = Services(
        name="calm",
        route="/chat",
        reactor=clock,
        wall=clock.seconds,
        timeouts=Timeouts(clock),
        channels=SimpleNamespace(is_shared=True, take=take),
        stores={},
        count=lambda *what: None,
    )
    hook = make(services, RateOptions(rate="10/s"))
    first = says(hook, Client(user="ann"))
    assert asyncio.iscoroutine(first)
    ask, answer = asked.pop()
    assert (ask.key, ask.rate, ask.burst, ask.need) == ("calm /chat u/ann", 10.0, 10, 1)
    answer.callback(Taken(1, 1, 0.0))
    with pytest.raises(StopIteration) as told:
        first.send(None)
    assert told.value.value is None
    assert says(hook, Client(user="ann")) is None
    assert not asked
    hook.stop()
    assert not clock.getDelayedCalls() or not len(services.timeouts)


# -- settings


@pytest.mark.parametrize(
    ("written", "means"),
    [("10/s", (10, 1)), ("100 / min", (100, 60)), ("9999999/h", (9999999, 3600))],
)
def test_a_rate_is_a_number_per_unit(rate, written, means):
    rate(rate=written)
    assert count_and_seconds(written.replace(" ", "")) == means


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, "needs hooks.calm.rate too"),
        ({"rate": 10}, "hooks.calm.rate = 10: not a text"),
        ({"rate": "0/s"}, "hooks.calm.rate = '0/s': not a rate; write a number"),
        ({"rate": "10000000/s"}, "not a rate"),
        ({"rate": "1/s\n"}, "control character"),
        ({"rate": "1/d"}, "not a rate"),
        ({"rate": "1/s", "burst": 0}, "hooks.calm.burst = 0: out of range"),
        ({"rate": "1/s", "by": "adress"}, "hooks.calm.by = 'adress': write"),
        ({"rate": "1/s", "by": "connection", "of": "both"}, "a connection connects once"),
        ({"rate": "1/s", "max_keys": 99}, "out of range"),
    ],
)
def test_what_is_wrong_in_the_settings_is_said_in_one_line(rate, options, error):
    with pytest.raises((ConfigError, OptionError)) as told:
        rate(**options)
    assert error in str(told.value)
    assert "\n" not in str(told.value)
