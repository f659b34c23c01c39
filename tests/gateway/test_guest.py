"""wsgate.gateway.guest and guesting: who comes, what hooks may do with it, who leaves."""

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from tests.gateway.hooked import Visitor
from wsgate.channels import Message
from wsgate.fastcgi import QueueFull
from wsgate.gateway import Accepted, ChainLimits, RefusedByBackend, failure_of
from wsgate.hooks import Hook, HookFailed, Refuse

ALL = ("connect", "message", "disconnect")


class Doing(Hook):
    """Does what the test wants at a connect, and notes who leaves."""

    def __init__(self, act=lambda _: None):
        self.act = act
        self.left = []
        self.connection = None

    def on_connect(self, connection):
        self.connection = connection
        return self.act(connection)

    def on_disconnect(self, connection, code, reason):
        assert connection is self.connection
        self.left.append((code, reason))


class Slow(Hook):
    def __init__(self):
        self.words = []
        self.cancelled = 0

    async def on_connect(self, connection):
        word = Deferred(self._cancel)
        self.words.append(word)
        return await word

    def _cancel(self, _word):
        self.cancelled += 1


def connection_of(**options):
    """A connection that is in, and its visitor."""
    hook = Doing()
    visitor = Visitor(hook, **options).enter()
    return hook.connection, visitor


# -- who comes


def test_a_client_whom_all_let_pass_is_in():
    visitor = Visitor(Doing(), Doing()).knock()
    assert visitor.results == [Accepted((), "v1")]
    assert visitor.chain.connections == 1


def test_php_is_asked_after_the_hooks_and_sees_what_they_have_set():
    def act(connection):
        connection.set_param("REMOTE_USER", "ann")
        connection.bind_user("42")

    visitor = Visitor(Doing(act), events=ALL).knock()
    visitor.book.write()
    assert visitor.params[b"WSGATE_EVENT"] == b"connect"
    assert visitor.params[b"REMOTE_USER"] == b"ann"
    assert visitor.params[b"WSGATE_USER"] == b"42"
    visitor.pool.answer()
    assert visitor.results == [Accepted((), "v1")]


def test_one_that_is_refused_is_never_php_s():
    visitor = Visitor(Doing(lambda _: Refuse(401, "no")), second := Doing(), events=ALL).knock()
    assert isinstance(visitor.error, RefusedByBackend)
    assert (visitor.error.status, visitor.error.body) == (401, b"No\n")
    assert second.connection is None
    assert not visitor.asked
    assert not visitor.book.entries
    assert visitor.chain.connections == 0
    assert visitor.outcomes == {("hook0", "refused"): 1}


def test_a_refusal_with_a_header_of_the_client_s_making_has_it_not():
    evil = (("X-Who", "a\r\nSet-Cookie: b=c"),)
    with capturedLogs() as logs:
        visitor = Visitor(Doing(lambda _: Refuse(401, "no", evil))).knock()
    assert [name for name, _ in visitor.error.headers] == ["Content-Type"]
    assert "the header 'X-Who' may not be sent" in formatEvent(logs[0])


@pytest.mark.parametrize("word", [False, True, 403, "no"])
@pytest.mark.parametrize("passes", [False, True])
def test_what_is_no_word_lets_nobody_in(word, passes):
    visitor = Visitor(Doing(lambda _: word), passes=passes).knock()
    assert isinstance(visitor.error, HookFailed)


def test_a_hook_that_fails_lets_nobody_in():
    visitor = Visitor(Doing(lambda _: 1 / 0)).knock()
    row = failure_of(visitor.error)
    assert (row.status, row.reason) == (503, "not available, try again later")
    assert visitor.outcomes == {("hook0", "failed"): 1}


def test_where_the_route_says_so_it_lets_in():
    visitor = Visitor(Doing(lambda _: 1 / 0), passes=True).knock()
    assert visitor.results == [Accepted((), "v1")]


def test_one_that_says_nothing_in_time_has_failed():
    visitor = Visitor(slow := Slow(), limits=ChainLimits(timeout=1.0)).knock()
    visitor.clock.advance(1.0)
    assert not visitor.results
    visitor.wait(0.2)
    assert isinstance(visitor.error, HookFailed)
    assert slow.cancelled == 1
    assert visitor.outcomes == {("hook0", "timeout"): 1}


def test_a_client_that_leaves_meanwhile_cancels_the_hook():
    visitor = Visitor(slow := Slow(), second := Doing(), events=ALL).knock()
    visitor.leave()
    assert slow.cancelled == 1
    assert second.connection is None
    assert not second.left
    assert not visitor.book.entries
    assert visitor.chain.connections == 0


def test_a_hook_may_take_another_subprotocol():
    visitor = Visitor(Doing(lambda c: c.take_subprotocol("v2")), events=ALL).knock()
    visitor.book.write()
    assert visitor.params[b"WSGATE_SUBPROTOCOL"] == b"v2"
    visitor.pool.answer()
    assert visitor.results == [Accepted((), "v2")]


def test_also_one_that_has_set_a_param_before_and_php_may_still_choose():
    def act(connection):
        connection.set_param("APP_A", "1")
        connection.take_subprotocol("v2")
        assert connection.subprotocol == "v2"

    visitor = Visitor(Doing(act), events=ALL).knock()
    visitor.book.write()
    assert visitor.params[b"WSGATE_SUBPROTOCOL"] == b"v2"
    visitor.pool.answer(header=b"Sec-WebSocket-Protocol: v1")
    assert visitor.results == [Accepted((), "v1")]
    visitor.peer.channels.add(visitor.conversation)
    visitor.conversation.opened()
    visitor.say("a")
    assert visitor.params[b"WSGATE_SUBPROTOCOL"] == b"v1"
    assert visitor.params[b"APP_A"] == b"1"


def test_a_subprotocol_that_was_not_offered_or_comes_late_is_refused():
    connection, _ = connection_of()
    with pytest.raises(ValueError, match="not offered"):
        connection.take_subprotocol("v3")
    with pytest.raises(ValueError, match="in on_connect"):
        connection.take_subprotocol("v2")


def test_what_is_wanted_before_the_101_is_done_behind_it():
    def act(connection):
        connection.subscribe("news")
        assert connection.send("welcome")

    visitor = Visitor(Doing(act)).knock()
    assert not visitor.said
    visitor.peer.channels.add(visitor.conversation)
    visitor.conversation.opened()
    assert visitor.said == [("push", b"welcome", False)]
    assert visitor.conversation.channels == {"news"}


# -- what a hook sees


def test_the_handshake():
    connection, _ = connection_of()
    assert connection.id == "id"
    assert connection.route == "/"
    assert connection.path == "/chat"
    assert connection.query_string == "token=a%20b&x=%ff&token=second"
    assert connection.remote_address == "192.0.2.7"
    assert not connection.is_secure
    assert connection.offered_subprotocols == ("v1", "v2")
    assert connection.subprotocol == "v1"
    assert connection.header("Host") == "example.com"
    assert connection.header("nothing") is connection.header("ü€") is None
    assert connection.headers("COOKIE") == ("a=1; token=abc", "b=2")
    assert connection.cookie("token") == "abc"
    assert connection.cookie("b") == "2"
    assert connection.cookie("Token") is None
    assert connection.query("token") == "a b"
    assert connection.query("x") is connection.query("y") is None


def test_it_remembers_and_php_never_sees_it():
    connection, visitor = connection_of()
    connection.memory["seen"] = 1
    visitor.say("a")
    assert connection.memory == {"seen": 1}
    assert b"seen" not in visitor.pool.requests[-1].params


# -- what PHP is told


def test_a_param_goes_with_every_event():
    connection, visitor = connection_of(events=ALL)
    visitor.pool.answer()
    connection.set_param("APP_ROLE", "admin")
    visitor.say("a")
    assert visitor.params[b"APP_ROLE"] == b"admin"
    assert b"APP_ROLE" in visitor.book.entries["id"].params
    visitor.pool.answer()
    visitor.leave()
    visitor.book.write()
    assert visitor.params[b"WSGATE_EVENT"] == b"disconnect"
    assert visitor.params[b"APP_ROLE"] == b"admin"


def test_an_empty_value_takes_it_away():
    connection, visitor = connection_of()
    connection.set_param("APP_ROLE", "admin")
    connection.set_param("APP_ROLE", "")
    connection.set_param("APP_OTHER", "")
    assert connection.params == {}
    visitor.say("a")
    assert b"APP_ROLE" not in visitor.params


def test_params_have_room_up_to_the_limit():
    connection, visitor = connection_of(limits=ChainLimits(param_bytes=10))
    hits = []
    visitor.peer.channels.hit = hits.append
    connection.set_param("ABC", "1234567")
    with pytest.raises(ValueError, match=r"no room in limits.hook_param_bytes"):
        connection.set_param("ABC", "12345678")
    assert connection.params == {"ABC": "1234567"}
    assert hits == ["hook_param_bytes"]


@pytest.mark.parametrize("name", ["PHP_VALUE", "HTTP_PROXY", "SCRIPT_FILENAME", "WSGATE_USER"])
def test_what_php_trusts_is_refused(name):
    connection, visitor = connection_of()
    before = visitor.conversation.params
    with pytest.raises(ValueError, match="that param a meaning"):
        connection.set_param(name, "x")
    assert visitor.conversation.params == before


def test_params_stay_beside_what_php_sets():
    connection, visitor = connection_of()
    connection.set_param("APP_ROLE", "admin")
    visitor.say("a")
    visitor.pool.answer(b"", b"Wsgate-Set: a=1\r\nWsgate-User: 7")
    assert connection.variables == {"A": "1"}
    assert connection.user == "7"
    visitor.say("b")
    assert visitor.params[b"APP_ROLE"] == b"admin"
    assert visitor.params[b"WSGATE_VAR_A"] == b"1"
    assert visitor.params[b"WSGATE_USER"] == b"7"


@pytest.mark.parametrize("user", ["a\n", "x" * 129])
def test_what_is_no_name_of_a_user_is_refused(user):
    connection, _ = connection_of()
    with pytest.raises(ValueError, match="no name for a user"):
        connection.bind_user(user)


# -- what it gets


def test_it_is_sent_to_subscribed_and_closed():
    connection, visitor = connection_of()
    assert connection.send("hello")
    assert connection.send(b"\xff")
    connection.subscribe("news")
    visitor.peer.channels.publish("news", Message(b"x"))
    connection.unsubscribe("news")
    visitor.peer.channels.publish("news", Message(b"y"))
    connection.close(4001, "go")
    assert visitor.said == [
        ("push", b"hello", False),
        ("push", b"\xff", True),
        ("push", b"x", False),
        ("close", 4001, "go"),
    ]
    assert not connection.send("late")


@pytest.mark.parametrize("channel", ["", "a b", "a\n", "x" * 165])
def test_what_is_no_name_of_a_channel_is_refused(channel):
    connection, _ = connection_of()
    with pytest.raises(ValueError, match="no name for a channel"):
        connection.subscribe(channel)


@pytest.mark.parametrize(("code", "reason"), [(1006, ""), (999, ""), (4000, "x" * 124)])
def test_a_close_that_may_not_be_sent_is_refused(code, reason):
    connection, _ = connection_of()
    with pytest.raises(ValueError, match="a close code is"):
        connection.close(code, reason)


# -- later


def test_something_happens_later():
    connection, visitor = connection_of()
    rang = []
    connection.call_later(1.0, lambda: rang.append(1))
    cancelled = connection.call_later(1.0, lambda: rang.append(2))
    cancelled.cancel()
    cancelled.cancel()
    visitor.clock.advance(0.95)
    assert not rang
    visitor.wait(0.2)
    assert rang == [1]
    assert not len(visitor.timeouts)


def test_it_does_not_happen_once_the_client_has_left():
    connection, visitor = connection_of()
    rang = []
    connection.call_later(1.0, lambda: rang.append(1))
    visitor.leave()
    connection.call_later(1.0, lambda: rang.append(2))
    assert not len(visitor.timeouts)
    visitor.wait(2)
    assert not rang


def test_what_fails_later_is_nobody_else_s():
    connection, visitor = connection_of()

    async def fails():
        raise RuntimeError("token 123")

    for function in (lambda: 1 / 0, fails, lambda: Deferred().addErrback):
        connection.call_later(1.0, function)
    with capturedLogs() as logs:
        visitor.wait(1.2)
    lines = [formatEvent(event) for event in logs]
    assert lines == [
        "what a hook wanted to do later failed: ZeroDivisionError",
        "what a hook wanted to do later failed: RuntimeError",
    ]


# -- who leaves


def test_hooks_hear_of_the_end_in_reverse_order_before_php():
    order = []

    class Last(Hook):
        def __init__(self, name):
            self.name = name

        def on_disconnect(self, connection, code, reason):
            order.append((self.name, code, reason))
            connection.set_param(f"APP_{self.name}", "was here")

    visitor = Visitor(Last("A"), Last("B"), events=("message", "disconnect")).enter()
    visitor.leave(1001, "bye")
    assert order == [("B", 1001, "bye"), ("A", 1001, "bye")]
    visitor.book.write()
    assert visitor.params[b"WSGATE_EVENT"] == b"disconnect"
    assert visitor.params[b"APP_A"] == b"was here"


def test_one_that_php_did_not_let_in_is_not_said_to_have_left():
    visitor = Visitor(hook := Doing(), events=ALL).knock()
    visitor.book.write()
    visitor.pool.answer(header=b"Status: 403 Forbidden")
    assert isinstance(visitor.error, RefusedByBackend)
    assert not hook.left
    assert visitor.chain.connections == 0


def test_nor_is_one_whom_php_could_not_be_asked_about():
    visitor = Visitor(hook := Doing(), events=ALL).knock()
    visitor.book.write()
    visitor.pool.fail(QueueFull("full"))
    assert isinstance(visitor.error, QueueFull)
    assert not hook.left
    assert visitor.chain.connections == 0


def test_an_exception_at_the_end_keeps_nobody_from_hearing_of_it():
    class Fails(Hook):
        async def on_disconnect(self, connection, code, reason):
            raise RuntimeError

    visitor = Visitor(first := Doing(), Fails()).enter()
    visitor.leave()
    assert first.left == [(1001, "bye")]
    assert visitor.outcomes == {("hook1", "failed"): 1}
    assert visitor.chain.connections == 0


def test_hooks_are_needed_until_they_have_said_goodbye():
    class Slowly(Hook):
        def __init__(self):
            self.done = Deferred()

        async def on_disconnect(self, connection, code, reason):
            await self.done

    visitor = Visitor(hook := Slowly()).enter()
    visitor.leave()
    visitor.chain.retire()
    assert not visitor.released
    hook.done.callback(None)
    assert visitor.released == [visitor.chain]


def test_one_that_takes_too_long_to_say_goodbye_is_cancelled():
    class Never(Hook):
        async def on_disconnect(self, connection, code, reason):
            await Deferred()

    visitor = Visitor(first := Doing(), Never(), limits=ChainLimits(timeout=1.0)).enter()
    visitor.leave()
    assert not first.left
    visitor.wait(1.2)
    assert first.left
    assert visitor.chain.connections == 0
