"""Who comes in with a session, what PHP is told of it, and who may stay."""

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from tests.hooks.connections import FakeConnection
from tests.hooks.services import made_services
from wsgate.config.session import SessionOptions
from wsgate.hooks.errors import HookFailed
from wsgate.hooks.hook import Refuse
from wsgate.hooks.session.hook import CHECKS_AT_ONCE, SessionHook

ID = "abcdefghij0123456789ABCDEF"
REFUSED = Refuse(403, "not logged in")


class Saved:
    """A source of sessions that gives what it is told, or fails with it."""

    def __init__(self, data=None):
        self.data = data
        self.asked = []
        self.at_once = 0
        self.waits = False
        self.waiting = []
        self.stops = 0

    def stop(self):
        self.stops += 1

    async def look_up(self, session):
        self.asked.append(session)
        if self.waits:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        if isinstance(self.data, Exception):
            raise self.data
        return self.data


class Place:
    def __init__(self):
        self.clock = Clock()
        self.saved = Saved()
        self.counted = []
        self.services = made_services(
            self.clock,
            lambda name, outcome: self.counted.append(f"{name} {outcome}"),
            name="login",
        )

    def hook(self, **options):
        return SessionHook(self.services, SessionOptions(**options), self.saved)

    def client(self, cookie=ID):
        cookies = {} if cookie is None else {"PHPSESSID": cookie}
        return FakeConnection(clock=self.clock, cookies=cookies)

    def comes(self, hook, client):
        """What the hook says, or the error it fails with."""
        outcome = []
        Deferred.fromCoroutine(hook.on_connect(client)).addBoth(outcome.append)
        (said,) = outcome
        return getattr(said, "value", said)

    def later(self, seconds):
        # Timeouts come in tenths of a second.
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)


@pytest.fixture
def place():
    return Place()


def test_a_client_with_a_session_comes_in_and_php_is_told(place):
    place.saved.data = b'user_id|i:42;name|s:3:"Ann";cart|a:1:{s:5:"items";i:3;}secret|s:1:"x";'
    client = place.client()
    hook = place.hook(fields=("user_id", "cart.items", "missing"), user_field="user_id")
    assert place.comes(hook, client) is None
    assert client.params == {"WSGATE_SESSION_USER_ID": "42", "WSGATE_SESSION_CART_ITEMS": "3"}
    assert client.user == "42"
    assert place.saved.asked == [ID]
    assert place.counted == ["login let_in"]


@pytest.mark.parametrize("cookie", [None, "", "../../etc/passwd", "%00" * 22, "x" * 300])
def test_without_a_good_cookie_nothing_is_looked_up(place, cookie):
    client = place.client(cookie)
    assert place.comes(place.hook(required=("user_id",)), client) == REFUSED
    assert place.comes(place.hook(fields=("user_id",), user_field="user_id"), client) is None
    assert place.saved.asked == []
    assert client.params == {}
    assert client.user is None
    assert place.counted == ["login without"]


@pytest.mark.parametrize("data", [None, b"", b"other|i:1;", b"user_id|N;", b"user_id|b:0;"])
def test_without_what_is_required_nobody_comes_in(place, data):
    place.saved.data = data
    client = place.client()
    assert place.comes(place.hook(required=("user_id",), fields=("other",)), client) == REFUSED
    assert client.params == {}


@pytest.mark.parametrize("data", [None, b"", b"other|i:1;"])
def test_where_nothing_is_required_guests_come_in(place, data):
    place.saved.data = data
    client = place.client()
    assert place.comes(place.hook(fields=("user_id",), user_field="user_id"), client) is None
    assert client.user is None
    assert client.params == {}


def test_an_object_satisfies_what_is_required_and_is_told_to_nobody(place):
    place.saved.data = b'user|O:1:"P":1:{s:2:"id";i:9;}'
    client = place.client()
    hook = place.hook(required=("user",), fields=("user", "user.id"), user_field="user")
    assert place.comes(hook, client) is None
    assert client.params == {}
    assert client.user is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (HookFailed("the store is away"), "the store is away"),
        (b"user_id|i:42", "session.serialize_handler = php"),
        (b"\0\0\0\2\x14\1\x11\7user_id\6*", "igbinary"),
        (b'user_id|s:1:"\xe4";', "not UTF-8"),
        (b'user_id|s:1:"\n";', "cannot be told to PHP"),
    ],
)
def test_what_cannot_be_known_is_a_failure_of_the_hook(place, data, why):
    place.saved.data = data
    said = place.comes(place.hook(fields=("user_id",)), place.client())
    assert isinstance(said, HookFailed)
    assert why in str(said)
    assert ID not in str(said)


def test_other_names_of_the_cookie_are_looked_for(place):
    client = FakeConnection(cookies={"PHPSESSID": "a" * 26, "__Host-sid": ID})
    place.comes(place.hook(cookie="__Host-sid"), client)
    assert place.saved.asked == [ID]


# -- clients that are in


def watched(place, **options):
    place.saved.data = b"user_id|i:42;seen|i:1;"
    hook = place.hook(check_interval=60.0, user_field="user_id", **options)
    client = place.client()
    assert place.comes(hook, client) is None
    return client


def test_a_client_stays_as_long_as_its_session_does(place):
    client = watched(place, fields=("seen",))
    place.saved.data = b"user_id|i:42;seen|i:2;"
    place.later(61)
    assert client.closed is None
    assert client.params == {"WSGATE_SESSION_SEEN": "2"}
    place.later(60)
    assert len(place.saved.asked) == 3
    place.saved.data = None
    place.later(61)
    assert client.closed == (4401, "logged out")
    place.later(200)
    assert len(place.saved.asked) == 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "logged out"),
        (b"", "logged out"),
        (b"user_id|i:42;", "logged out"),
        (b"seen|i:1;user_id|i:43;", "another user"),
        (b"seen|i:1;", "another user"),
    ],
)
def test_who_logs_out_or_is_another_user_is_closed(place, data, reason):
    client = watched(place, required=("seen",))
    place.saved.data = data
    place.later(59)
    assert client.closed is None
    place.later(2)
    assert client.closed == (4401, reason)
    assert place.counted[-1] == "login logged_out"


@pytest.mark.parametrize("data", [HookFailed("the store is away"), b"garbage"])
def test_a_store_that_is_away_closes_nobody(place, data):
    client = watched(place)
    place.saved.data = data
    place.later(61)
    assert client.closed is None
    assert place.counted[-1] == "login check_failed"
    place.saved.data = None
    place.later(61)
    assert client.closed == (4401, "logged out")


def test_what_cannot_be_told_any_more_closes_nobody(place):
    client = watched(place, fields=("seen",))
    place.saved.data = b'user_id|i:42;seen|s:1:"\n";'
    place.later(61)
    assert client.closed is None
    place.saved.data = None
    place.later(61)
    assert client.closed == (4401, "logged out")


def test_without_an_interval_nothing_is_looked_up_again(place):
    place.saved.data = b"user_id|i:42;"
    assert place.comes(place.hook(), place.client()) is None
    assert len(place.clock.getDelayedCalls()) == 0


def test_guests_are_not_looked_up_again(place):
    hook = place.hook(check_interval=60.0)
    assert place.comes(hook, place.client()) is None
    assert len(place.clock.getDelayedCalls()) == 0


def test_few_sessions_are_looked_up_again_at_a_time(place):
    place.saved.data = b"user_id|i:42;"
    hook = place.hook(check_interval=60.0)
    for _ in range(CHECKS_AT_ONCE + 2):
        place.comes(hook, place.client())
    place.saved.waits = True
    place.later(61)
    assert len(place.saved.waiting) == CHECKS_AT_ONCE
    place.saved.waiting[0].callback(None)
    assert len(place.saved.waiting) == CHECKS_AT_ONCE + 1
    # Who comes in does not wait for them.
    place.saved.waits = False
    assert place.comes(hook, place.client()) is None


def test_a_hook_that_stops_lets_go_of_its_source(place):
    place.hook().stop()
    assert place.saved.stops == 1


def test_a_check_that_a_stop_has_cut_off_is_no_failure(place):
    client = watched(place)
    asked = len(place.saved.asked)
    place.saved.data = CancelledError()
    place.later(61)
    assert len(place.saved.asked) == asked + 1
    assert client.closed is None
    assert "login check_failed" not in place.counted
