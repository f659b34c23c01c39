"""wsgate.control.push: what each request does, and what it is refused for."""

import json
from collections import Counter
from urllib.parse import urlencode

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, fail
from twisted.internet.task import Clock

from tests.fakes import FakeMember
from wsgate.channels import BusAway, BusUnanswered, ChannelError, ChannelLimits, Channels
from wsgate.control.answers import Answer, Asked, Refusal, answer
from wsgate.control.push import push

ONE, TWO, NOBODY = "1" * 32, "2" * 32, "f" * 32
GONE = (404, "no such connection, or it is gone")


class Desk:
    """The endpoints over real channels with two connections: ONE and TWO."""

    def __init__(self):
        self.clock = Clock()
        self.channels = Channels(self.clock)
        self.pushed = Counter()
        self.one, self.two = FakeMember(ONE), FakeMember(TWO)
        for member in (self.one, self.two):
            self.channels.add(member)
        self.endpoints = push(lambda: self.channels, self.pushed)

    def answer(self, method, path, query="", body=b"", content_type=""):
        asked = Asked(method, path, body=body, query=query, content_type=content_type)
        given = answer(self.endpoints, asked)
        if isinstance(given, Answer):
            return given
        found = []
        later = given if isinstance(given, Deferred) else ensureDeferred(given)
        later.addErrback(lambda failure: failure.trap(Refusal) and failure.value.answer)
        later.addCallback(found.append)
        self.clock.advance(1.0)
        return found[0]

    def ask(self, method, path, query="", body=b"", content_type=""):
        """Status and what was told; of an error its reason."""
        given = self.answer(method, path, query, body, content_type)
        told = json.loads(given.body)
        return given.status, told["error"]["reason"] if "error" in told else told


@pytest.fixture
def desk():
    return Desk()


# -- connections


def test_a_message_goes_to_one_connection(desk):
    assert desk.ask("POST", f"/connections/{ONE}", body=b"hi") == (200, {"delivered": 1})
    assert (desk.one.got, desk.two.got) == ([b"hi"], [])
    assert desk.pushed == {"connection": 1}


def test_a_gone_connection_is_404_for_everything(desk):
    path = f"/connections/{NOBODY}"
    assert desk.ask("GET", path) == GONE
    assert desk.ask("POST", path, body=b"hi") == GONE
    assert desk.ask("DELETE", path) == GONE
    assert desk.ask("PUT", f"{path}/channels/a") == GONE
    assert desk.ask("DELETE", f"{path}/channels/a") == GONE
    assert desk.pushed == {}


def test_a_connection_that_takes_nothing_any_more_is_gone(desk):
    desk.one.takes = False
    assert desk.ask("POST", f"/connections/{ONE}", body=b"hi") == GONE


@pytest.mark.parametrize(
    "id", ["", "1", ONE[1:], ONE + "1", "G" * 32, "A" * 32, "%2e%2e", "1" * 9999]
)
def test_what_is_no_id_is_a_connection_that_is_not_there(desk, id):
    reason = "no such connection: an id has 32 hexadecimal digits"
    assert desk.ask("GET", f"/connections/{id}") == (404, reason)


def test_what_is_known_of_a_connection(desk):
    assert desk.ask("GET", f"/connections/{ONE}") == (200, desk.one.info())


def test_a_connection_is_closed_with_code_and_reason(desk):
    path = f"/connections/{ONE}"
    assert desk.ask("DELETE", path) == (200, {"closed": 1})
    assert desk.ask("DELETE", path, "code=4000&reason=all+of+it%21") == (200, {"closed": 1})
    assert desk.one.got == [(1000, ""), (4000, "all of it!")]


@pytest.mark.parametrize("code", ["1000", "1001", "1011", "1014", "3000", "4999"])
def test_codes_that_may_be_sent(desk, code):
    assert desk.ask("DELETE", "/users/u", f"code={code}")[0] == 200


@pytest.mark.parametrize(
    "code",
    ["", "0", "999", "1004", "1005", "1006", "1015", "2999", "5000", "04000", "+4000", "\uff14000"],
)
def test_codes_that_may_not_be_sent(desk, code):
    for path in (f"/connections/{ONE}", "/users/u"):
        status, reason = desk.ask("DELETE", path, urlencode({"code": code}))
        assert status == 400
        assert reason.startswith("parameter code: ")
    assert desk.one.got == []


def test_a_reason_fits_a_close_frame(desk):
    path = f"/connections/{ONE}"
    assert desk.ask("DELETE", path, "reason=" + "x" * 123)[0] == 200
    assert desk.ask("DELETE", path, "reason=" + "%C3%A4" * 61)[0] == 200
    for bad in ("x" * 124, "%C3%A4" * 62, "a%0Ab", "%00", "%7f"):
        status, reason = desk.ask("DELETE", path, f"reason={bad}")
        assert (status, reason) == (
            400,
            "parameter reason: not 123 bytes or less of printable UTF-8",
        )


# -- channels


def test_subscribing_is_idempotent_and_so_is_its_end(desk):
    path = f"/connections/{ONE}/channels/room"
    for _ in range(2):
        assert desk.ask("PUT", path) == (200, {"channel": "room", "subscribed": True})
    assert desk.ask("POST", "/channels/room", body=b"x") == (200, {"delivered": 1})
    for _ in range(2):
        assert desk.ask("DELETE", path) == (200, {"channel": "room", "subscribed": False})
    assert desk.ask("POST", "/channels/room", body=b"x") == (200, {"delivered": 0})
    assert desk.one.got == [b"x"]
    assert desk.pushed == {"channel": 2}


def test_too_many_channels_are_409(desk):
    desk.channels.limits = ChannelLimits(channels_per_connection=1)
    assert desk.ask("PUT", f"/connections/{ONE}/channels/a")[0] == 200
    status, reason = desk.ask("PUT", f"/connections/{ONE}/channels/b")
    assert status == 409
    assert "limits.channels_per_connection" in reason


def test_one_connection_may_be_left_out(desk):
    for id in (ONE, TWO):
        desk.ask("PUT", f"/connections/{id}/channels/room")
    assert desk.ask("POST", "/channels/room", f"except={ONE}", b"x") == (200, {"delivered": 1})
    assert (desk.one.got, desk.two.got) == ([], [b"x"])
    status, reason = desk.ask("POST", "/channels/room", "except=me", b"x")
    assert (status, reason[:17]) == (400, "parameter except:")


def test_who_listens_to_a_channel(desk):
    empty = {"channel": "room", "subscribers": 0}
    assert desk.ask("GET", "/channels/room") == (200, empty)
    assert desk.ask("GET", "/channels/room", "users=1") == (200, {**empty, "users": []})
    for id, member in ((ONE, desk.one), (TWO, desk.two)):
        desk.ask("PUT", f"/connections/{id}/channels/room")
        desk.channels.bind_user(member, "jane")
    both = {"channel": "room", "subscribers": 2}
    assert desk.ask("GET", "/channels/room", "users=0") == (200, both)
    assert desk.ask("GET", "/channels/room", "users=1") == (200, {**both, "users": ["jane"]})
    assert desk.ask("GET", "/channels/room", "users=yes")[0] == 400


def test_a_channel_may_have_any_character_of_its_alphabet(desk):
    name = "a-Z_9=@,.;:"
    assert desk.ask("PUT", f"/connections/{ONE}/channels/a-Z_9=@,.;%3A")[0] == 200
    assert desk.one.channels == {name}
    assert desk.ask("GET", f"/channels/{name}")[1]["subscribers"] == 1


@pytest.mark.parametrize("name", ["", "a%20b", "%C3%A4", "a%2Fb", "a%0d%0ab", "%00", "x" * 165])
def test_what_is_no_channel_is_400(desk, name):
    for method, path in (
        ("GET", f"/channels/{name}"),
        ("POST", f"/channels/{name}"),
        ("PUT", f"/connections/{ONE}/channels/{name}"),
        ("DELETE", f"/connections/{ONE}/channels/{name}"),
    ):
        status, reason = desk.ask(method, path)
        assert status == 400
        assert "is no name for a channel" in reason


def test_a_longest_channel(desk):
    assert desk.ask("GET", "/channels/" + "x" * 164)[0] == 200


def test_more_than_goes_out_is_503_and_says_when_to_come_again(desk):
    def publish(*_, **__):
        raise ChannelError("too much waits", "publish_backlog")

    desk.channels.publish = publish
    given = desk.answer("POST", "/channels/room", body=b"x")
    assert (given.status, given.headers) == (503, (("Retry-After", "1"),))
    assert desk.pushed == {}


# -- users


def test_a_message_goes_to_all_connections_of_a_user(desk):
    assert desk.ask("POST", "/users/J%C3%A4ne%2FD", body=b"x") == (200, {"delivered": 0})
    for member in (desk.one, desk.two):
        desk.channels.bind_user(member, "Jäne/D")
    assert desk.ask("POST", "/users/J%C3%A4ne%2FD", body=b"x") == (200, {"delivered": 2})
    assert desk.ask("DELETE", "/users/J%C3%A4ne%2FD", "code=4001") == (200, {"closed": 2})
    assert desk.one.got == desk.two.got == [b"x", (4001, "")]
    assert desk.pushed == {"user": 2}


@pytest.mark.parametrize("user", ["", "a%0Ab", "%00", "x" * 129, "%E2%80%AE"])
def test_what_is_no_user_is_400(desk, user):
    for method in ("POST", "DELETE"):
        status, reason = desk.ask(method, f"/users/{user}")
        assert status == 400
        assert "is no name for a user" in reason


# -- messages


@pytest.mark.parametrize(
    ("content_type", "is_binary"),
    [
        ("", False),
        ("text/plain", False),
        ("text/plain; charset=UTF-8", False),
        ("application/json", False),
        ("application/x-www-form-urlencoded", False),
        ("application/octet-stream", True),
        ("image/svg+xml", True),
        ("Application/Octet-Stream ;a=b", True),
    ],
)
def test_a_message_is_text_or_binary_as_an_answer_of_php_would_be(desk, content_type, is_binary):
    messages = []
    desk.one.push = lambda message: messages.append(message) or True
    desk.ask("POST", f"/connections/{ONE}", body=b"x", content_type=content_type)
    assert [message.is_binary for message in messages] == [is_binary]


@pytest.mark.parametrize(
    "content_type", ["text", "text/", "/", "text/plain, text/html", "a b/c", "text/plain;\x00"]
)
def test_what_is_no_media_type_is_415(desk, content_type):
    asked = desk.ask("POST", f"/connections/{ONE}", body=b"x", content_type=content_type)
    assert asked == (415, "Content-Type is no media type; write one like text/plain")
    assert desk.one.got == []


def test_a_text_that_is_not_utf8_is_400_and_says_where(desk):
    reason = (
        "the body is text by its Content-Type but not UTF-8 at byte 3; "
        "send Content-Type: application/octet-stream for binary"
    )
    for path in (f"/connections/{ONE}", "/channels/a", "/users/u"):
        assert desk.ask("POST", path, body=b"\xc3\xa4x\xff") == (400, reason)
    octets = "application/octet-stream"
    assert desk.ask("POST", f"/connections/{ONE}", "", b"\xff", octets) == (200, {"delivered": 1})


def test_an_empty_body_is_an_empty_message(desk):
    assert desk.ask("POST", f"/connections/{ONE}") == (200, {"delivered": 1})
    assert desk.one.got == [b""]


def test_nothing_of_what_was_asked_stands_raw_in_an_answer(desk):
    evil = "%0d%0aSet-Cookie:%20a=b%0d%0a%0d%0a%3Cscript%3E"
    for path, query in (
        (f"/users/{evil}", ""),
        (f"/channels/{evil}", ""),
        (f"/connections/{evil}", ""),
        (f"/{evil}", ""),
        ("/users/u", f"{evil}=1"),
        ("/users/u", f"code={evil}"),
    ):
        given = desk.answer("DELETE", path, query)
        assert given.status in (400, 404, 405)
        assert b"\r" not in given.body
        assert given.body.count(b"\n") == 1
        assert given.content_type == "application/json"
        assert given.headers in ((), (("Allow", "GET, HEAD, POST"),))


# -- where nobody can be asked


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (BusAway("the bus is away"), 503, (("Retry-After", "1"),)),
        (BusUnanswered("no other node answered"), 504, ()),
    ],
)
def test_a_bus_that_is_away_is_503_and_one_that_does_not_answer_504(desk, error, status, headers):
    desk.channels.publish = lambda *_, **__: fail(error)
    given = desk.answer("POST", "/channels/room", body=b"x")
    assert (given.status, given.headers) == (status, headers)
    assert json.loads(given.body)["error"]["reason"] == str(error)
    assert desk.pushed == {}


def test_without_channels_the_reason_is_told():
    desk = Desk()

    def nowhere():
        raise Refusal(503, "not here")

    desk.endpoints = push(nowhere, desk.pushed)
    assert desk.ask("POST", f"/connections/{ONE}", body=b"x") == (503, "not here")
    assert desk.ask("GET", "/channels/room") == (503, "not here")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (f"/connections/{ONE}", "DELETE, GET, HEAD, POST"),
        (f"/connections/{ONE}/channels/a", "DELETE, PUT"),
        ("/channels/a", "GET, HEAD, POST"),
        ("/users/u", "DELETE, POST"),
    ],
)
def test_other_methods_are_405_and_say_which_are_allowed(desk, path, allowed):
    for method in ("OPTIONS", "PATCH", "TRACE", "post"):
        given = desk.answer(method, path)
        assert (given.status, given.headers) == (405, (("Allow", allowed),))
