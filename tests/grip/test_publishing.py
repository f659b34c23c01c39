"""wsgate.grip.publishing: /publish/, who may use it, and what it says."""

import json
import time
from base64 import b64encode

import jwt
import pytest
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from tests.fakes import FakeMember
from wsgate.channels import ChannelError, Channels
from wsgate.control.answers import Asked, Refusal, answer
from wsgate.grip.keys import KeyFile
from wsgate.grip.publishing import Publishers, publishing
from wsgate.timeouts import Timeouts

SECRET, OTHER = "the secret of one route", "the secret of another route"


def token(key, **claims):
    claims = {"iss": "me", "exp": time.time() + 600, **claims}
    return "Bearer " + jwt.encode(claims, key.ljust(32), "HS256")


class Stage:
    def __init__(self, tmp_path):
        self.clock = Clock()
        self.channels = Channels(self.clock)
        self.publishers = Publishers(
            [(self.key(tmp_path, SECRET), "one-"), (self.key(tmp_path, OTHER), "two-")]
        )
        self.endpoints = publishing(lambda: self.channels, self.publishers, Timeouts(self.clock))

    @staticmethod
    def key(folder, secret):
        path = folder / f"{len(secret)}.key"
        encoded = b64encode(secret.ljust(32).encode()).decode()
        path.write_text(f"base64:{encoded}")
        return KeyFile(str(path))

    def member(self, name, *rooms):
        one = FakeMember(name)
        self.channels.add(one)
        for room in rooms:
            self.channels.subscribe(one, room)
        return one

    def publish(
        self, *items, authorization="", accept="*/*", path="/publish/", body=None, may_all=True
    ):
        body = json.dumps({"items": items}).encode() if body is None else body
        asked = Asked("POST", path, accept, body, authorization=authorization, may_all=may_all)
        results = []
        given = answer(self.endpoints, asked)
        if not hasattr(given, "status"):
            deferred = given if isinstance(given, Deferred) else ensureDeferred(given)
            deferred.addBoth(results.append)
            (given,) = results
        return given


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def item(content, channel="a", **fields):
    return {"channel": channel, "formats": {"ws-message": {"content": content}}, **fields}


def test_what_is_published_reaches_the_subscribers(stage):
    one, two = stage.member("1", "a"), stage.member("2", "a", "b=2Fc")
    given = stage.publish(item("x"), item("y", "b/c"))
    assert (given.status, given.body, given.content_type) == (
        200,
        b"Published\n",
        "text/plain; charset=utf-8",
    )
    assert given.headers == (("X-Wsgate-Delivered", "3"),)
    assert (one.got, two.got) == ([b"x"], [b"x", b"y"])


def test_a_close_reaches_them_too(stage):
    one = stage.member("1", "a")
    close = {"action": "close", "code": 4000, "reason": "over"}
    given = stage.publish({"channel": "a", "formats": {"ws-message": close}})
    assert one.got == [(4000, "over")]
    assert dict(given.headers)["X-Wsgate-Delivered"] == "1"


def test_hints_and_formats_for_http_are_taken_and_do_nothing(stage):
    one = stage.member("1", "a")
    given = stage.publish(
        {"channel": "a", "formats": {"http-stream": {"content": "x"}}},
        {"channel": "a", "formats": {"ws-message": {"action": "hint"}}},
    )
    assert given.status == 200
    assert one.got == []


@pytest.mark.parametrize(
    ("accept", "body"),
    [
        ("", b"Published\n"),
        ("text/plain, application/json", b"Published\n"),
        ("application/json", b'{"message":"Published"}\n'),
        ("application/json;q=0.9, text/html", b'{"message":"Published"}\n'),
    ],
)
def test_the_answer_is_json_for_whoever_wants_nothing_else(stage, accept, body):
    assert stage.publish(item("x"), accept=accept).body == body


def test_the_path_may_end_without_a_slash(stage):
    assert stage.publish(item("x"), path="/publish").status == 200
    assert stage.publish(item("x"), path="/publish/x").status == 404


def test_what_is_wrong_is_said_and_nothing_is_published(stage):
    one = stage.member("1", "a")
    for items, text in [
        ([item("x"), item(5)], b"items[1]: content is not a text\n"),
        ([item("x"), item("y", "x" * 165)], None),
    ]:
        given = stage.publish(*items)
        assert given.status == 400
        assert text in (None, given.body)
    assert stage.publish(body=b"{").status == 400
    assert one.got == []


def test_where_nobody_can_be_reached_it_says_so(stage):
    def nobody():
        raise Refusal(503, "not here")

    stage.endpoints = publishing(nobody, stage.publishers, Timeouts(stage.clock))
    given = stage.publish(item("x"))
    assert isinstance(given.value, Refusal)


def test_whoever_signs_with_a_routes_key_reaches_that_routes_channels(stage):
    one, two, plain = stage.member("1", "one-a"), stage.member("2", "two-a"), stage.member("3", "a")
    stage.publish(item("x"), authorization=token(SECRET))
    stage.publish(item("y"), authorization=token(OTHER))
    stage.publish(item("z"), authorization="Bearer the-token-of-the-interface")
    assert (one.got, two.got, plain.got) == ([b"x"], [b"y"], [b"z"])


@pytest.mark.parametrize("late", [token(SECRET, exp=1), token("a key of before"), ""])
def test_a_proof_that_ends_before_the_body_comes_opens_no_channels_of_others(stage, late):
    """It was judged with the header; then its time was over, or the key exchanged."""
    everything = stage.member("1", "a", "one-a", "two-a")
    given = stage.publish(item("x"), authorization=late, may_all=False)
    assert given.status == 401
    assert everything.got == []


@pytest.mark.parametrize(
    ("authorization", "proved"),
    [
        (token(SECRET), True),
        (token(SECRET).replace("Bearer", "bearer"), True),
        (token(SECRET, exp=1), False),
        (token("somebody else's secret"), False),
        (token(SECRET).replace("Bearer", "Basic"), False),
        (f"Bearer {SECRET.ljust(32)}", False),
        ("Bearer ", False),
        ("", False),
    ],
)
def test_only_a_signed_token_that_holds_proves_a_publisher(stage, authorization, proved):
    assert stage.publishers.are_proved_by(authorization) is proved
    assert all(endpoint.proof(authorization) is proved for endpoint in stage.endpoints)


def test_items_with_an_id_come_once_and_in_order(stage):
    one = stage.member("1", "a")
    stage.publish(item("1", id="1"), item("3", id="3", **{"prev-id": "2"}))
    stage.publish(item("1", id="1"))
    assert one.got == [b"1"]
    stage.publish(item("2", id="2", **{"prev-id": "1"}))
    assert one.got == [b"1", b"2", b"3"]


def test_an_item_whose_predecessor_never_comes_is_delivered_later(stage):
    one = stage.member("1", "a")
    stage.publish(item("1", id="1"), item("3", id="3", **{"prev-id": "2"}))
    stage.clock.advance(5.2)
    assert one.got == [b"1", b"3"]


def test_more_than_goes_out_is_refused_for_now(stage):
    published = []

    def publish(channel, message):
        if published:
            raise ChannelError("too much waits", "publish_backlog")
        published.append(message.payload)
        return succeed(1)

    stage.channels.publish = publish
    with capturedLogs():
        given = stage.publish(item("x"), item("y"), item("z"))
    assert (given.status, given.body) == (503, b"too much waits\n")
    assert given.headers == (("Retry-After", "1"),)
    assert published == [b"x"]


def test_a_key_that_is_exchanged_holds_at_once_and_a_bad_one_changes_nothing(tmp_path):
    path = tmp_path / "k"
    path.write_text("a" * 32)
    file = KeyFile(str(path))
    assert file.key.secret == b"a" * 32
    path.write_text("b" * 33)
    assert file.key.secret == b"b" * 33
    path.write_text("short")
    with capturedLogs() as logs:
        assert file.key.secret == b"b" * 33
        assert file.key.secret == b"b" * 33
    assert len(logs) == 1
    path.unlink()
    assert file.key.secret == b"b" * 33


def test_a_query_is_passed_over(stage):
    member = stage.member("1", "room")
    item = {"channel": "room", "formats": {"ws-message": {"content": "x"}}}
    body = json.dumps({"items": [item]}).encode()
    asked = Asked("POST", "/publish/", body=body, query="a=1", may_all=True)
    ensureDeferred(answer(stage.endpoints, asked))
    assert member.got == [b"x"]
