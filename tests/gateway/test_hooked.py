"""wsgate.gateway.hooked: messages go through hooks before PHP has them."""

import json

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs, formatEvent

from tests.gateway.hooked import Visitor
from wsgate.fastcgi import QueueFull, ResponseTimeout
from wsgate.gateway import ChainLimits
from wsgate.hooks import (
    Answer,
    Close,
    Hook,
    HookFailed,
    MessageRefused,
    NotToBeAsked,
    Refuse,
)


class Says(Hook):
    """Says what it is told to, to each message."""

    def __init__(self, word=None):
        self.word = word
        self.heard = []

    def on_message(self, connection, message):
        self.heard.append((message.id, bytes(message.payload), message.is_binary))
        return self.word(connection, message) if callable(self.word) else self.word


class Waits(Hook):
    """Says something when the test says so."""

    def __init__(self):
        self.words = []
        self.cancelled = 0

    async def on_message(self, connection, message):
        word = Deferred(self._cancel)
        self.words.append(word)
        return await word

    def _cancel(self, _word):
        self.cancelled += 1


class Asks(Hook):
    """Asks those behind, and says what they say."""

    asks = True

    def __init__(self, after=lambda answer: answer):
        self.after = after
        self.heard = []

    async def on_message(self, connection, message):
        try:
            answer = await message.ask()
        except Exception as error:
            self.heard.append(error)
            raise
        self.heard.append(answer)
        return self.after(answer)


def error(visitor, number=-1):
    return json.loads(visitor.said[number][0])["error"]


# -- words


def test_a_message_that_hooks_let_pass_is_php_s():
    first, second = Says(), Says()
    visitor = Visitor(first, second).enter()
    visitor.say("hello")
    visitor.pool.answer(b"hi")
    assert visitor.said == [(b"hi", False)]
    assert first.heard == second.heard == [("id:1", b"hello", False)]
    assert visitor.params[b"WSGATE_MESSAGE_ID"] == b"id:1"
    assert visitor.tally == (1, 1, 0, 0)


def test_an_answer_is_sent_and_php_not_asked():
    visitor = Visitor(Says(Answer(b"here")), Says()).enter()
    visitor.say("hello")
    assert visitor.said == [(b"here", False)]
    assert not visitor.asked
    assert visitor.tally == (1, 1, 0, 0)
    assert visitor.outcomes == {("hook0", "answered"): 1}


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        (Answer(b"\xff", True), [(b"\xff", True)]),
        (Answer("ü".encode()), [("ü".encode(), False)]),
        (Answer(None), []),
        (Answer(bytearray(b"a")), [(b"a", False)]),
        (Answer("text"), [(b"text", False)]),
    ],
)
def test_an_answer_is_what_can_be_sent(answer, sent):
    visitor = Visitor(Says(answer)).enter()
    visitor.say("hello")
    assert visitor.said == sent
    assert visitor.tally == (1, 1, 0, 0)


@pytest.mark.parametrize("word", [Answer(b"\xff"), Answer(7), True, b"bytes", object()])
@pytest.mark.parametrize("passes", [False, True])
def test_what_is_no_word_is_refused_whatever_the_route_says(word, passes):
    visitor = Visitor(Says(word), passes=passes).enter()
    visitor.say("hello")
    assert error(visitor)["status"] == 503
    assert not visitor.asked
    assert visitor.tally == (1, 0, 1, 0)


def test_a_refusal_is_an_error_message():
    visitor = Visitor(Says(Refuse(429, "too many")), on_error="close").enter()
    visitor.say("hello")
    assert error(visitor) == {"status": 429, "reason": "too many", "message_id": "id:1"}
    assert visitor.tally == (1, 0, 1, 0)
    assert visitor.outcomes == {("hook0", "refused"): 1}


def test_a_close_closes():
    visitor = Visitor(Says(Close(4001, "go"))).enter()
    visitor.say("hello")
    visitor.say("more")
    assert visitor.said == [("close", 4001, "go")]
    assert visitor.tally == (2, 0, 1, 1)
    assert visitor.outcomes == {("hook0", "closed"): 1}


@pytest.mark.parametrize("code", [1006, 1005, 999, 0, 5000, 2000, True, "4000"])
def test_a_close_code_that_may_not_be_sent_is_1008(code):
    visitor = Visitor(Says(Close(code, "go"))).enter()
    visitor.say("hello")
    assert visitor.said == [("close", 1008, "go")]


def test_a_message_in_its_place_is_what_those_behind_get():
    visitor = Visitor(Says(lambda _, m: m.changed(b"other")), second := Says()).enter()
    visitor.say("hello")
    assert second.heard == [("id:1", b"other", True)]
    assert visitor.asked == [b"other"]
    assert visitor.params[b"WSGATE_OPCODE"] == b"binary"


def test_messages_are_numbered_whoever_answers_them():
    visitor = Visitor(Says(lambda _, m: Answer(b"x") if m.payload == b"cached" else None)).enter()
    for text in ("cached", "a"):
        visitor.say(text)
    visitor.pool.answer(b"1")
    visitor.say("b")
    assert visitor.params[b"WSGATE_MESSAGE_ID"] == b"id:3"


# -- hooks that take their time


def test_those_behind_wait_for_a_hook_and_messages_stay_in_order():
    waits, second = Waits(), Says()
    visitor = Visitor(waits, second).enter()
    visitor.say("a")
    visitor.say("b")
    assert not second.heard
    waits.words.pop().callback(None)
    assert [payload for _, payload, _ in second.heard] == [b"a"]
    visitor.pool.answer(b"1")
    waits.words.pop().callback(Answer(b"2"))
    assert visitor.said == [(b"1", False), (b"2", False)]
    assert visitor.tally == (2, 2, 0, 0)


def test_what_waits_behind_a_hook_is_bounded():
    visitor = Visitor(waits := Waits()).enter()
    for text in "abc":
        visitor.say(text)
    assert "pause" in visitor.peer.did
    for _ in range(3):
        waits.words.pop().callback(Answer(b"x"))
    assert "resume" in visitor.peer.did
    assert visitor.tally == (3, 3, 0, 0)


def test_a_hook_that_says_nothing_in_time_has_failed():
    visitor = Visitor(waits := Waits(), limits=ChainLimits(timeout=1.0)).enter()
    visitor.say("a")
    visitor.clock.advance(1.0)
    assert not visitor.said
    visitor.wait(0.2)
    assert error(visitor)["reason"] == "not available, try again later"
    assert waits.cancelled == 1
    assert visitor.outcomes == {("hook0", "timeout"): 1}
    visitor.say("b")
    assert len(waits.words) == 2


def test_where_the_route_says_so_it_is_passed_over():
    limits = ChainLimits(timeout=1.0, passes=True)
    visitor = Visitor(Waits(), second := Says(), limits=limits).enter()
    visitor.say("a")
    visitor.wait(1.2)
    assert [payload for _, payload, _ in second.heard] == [b"a"]
    assert visitor.asked == [b"a"]


class Secret(Exception):
    pass


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_exception_is_the_hook_s_own(kind):
    class Fails(Hook):
        if kind == "plain":

            def on_message(self, connection, message):
                raise Secret("token 12345")
        else:

            async def on_message(self, connection, message):
                raise Secret("token 12345")

    visitor = Visitor(Fails()).enter()
    with capturedLogs() as logs:
        visitor.say("a")
    assert error(visitor)["status"] == 503
    assert visitor.tally == (1, 0, 1, 0)
    assert visitor.outcomes == {("hook0", "failed"): 1}
    line = formatEvent(logs[-1])
    assert "hook hook0 failed at message id:1: Secret in line" in line
    assert "12345" not in line
    visitor.say("b")
    assert visitor.tally == (2, 0, 2, 0)


def test_what_a_hook_says_of_its_failure_is_logged():
    def fails(_connection, _message):
        raise HookFailed("the key server is away")

    with capturedLogs() as logs:
        Visitor(Says(fails)).enter().say("a")
    assert "the key server is away" in formatEvent(logs[-1])


def test_a_failure_closes_where_the_route_says_so():
    visitor = Visitor(Says(lambda *_: 1 / 0), on_error="close").enter()
    visitor.say("a")
    assert visitor.said == [("close", 1013, "not available, try again later")]


def test_a_call_that_holds_everybody_up_is_in_the_log():
    def slow(_connection, _message):
        visitor.clock.advance(0.06)

    visitor = Visitor(Says(slow)).enter()
    with capturedLogs() as logs:
        visitor.say("a")
    assert "hook hook0 has held up everybody for 60 ms" in formatEvent(logs[0])


def test_a_deferred_is_waited_for_too():
    visitor = Visitor(Says(lambda *_: succeed(Answer(b"x")))).enter()
    visitor.say("a")
    assert visitor.said == [(b"x", False)]


def test_others_have_their_turn_after_a_row_of_answers_that_took_no_time():
    visitor = Visitor(Says(Answer(b"x"))).enter()
    for _ in range(40):
        visitor.say("a")
    assert len(visitor.said) == 32
    visitor.peer.soon.pop()()
    assert visitor.tally == (40, 40, 0, 0)


# -- the client is gone


def test_a_client_that_leaves_cancels_the_hook_that_works_for_it():
    visitor = Visitor(waits := Waits()).enter()
    visitor.say("a")
    visitor.say("b")
    visitor.leave()
    assert waits.cancelled == 1
    assert visitor.tally == (2, 0, 0, 2)
    assert not visitor.asked


def test_a_close_while_a_hook_works_asks_php_nothing():
    visitor = Visitor(waits := Waits()).enter()
    visitor.say("a")
    visitor.conversation.close(1000, "")
    waits.words[0].callback(None)
    assert not visitor.asked
    visitor.leave()
    assert visitor.tally == (1, 0, 0, 1)


def test_a_stop_waits_no_longer_for_a_hook():
    visitor = Visitor(waits := Waits()).enter()
    visitor.say("a")
    visitor.conversation.give_up()
    assert error(visitor)["status"] == 504
    assert waits.cancelled == 1
    assert visitor.conversation.is_idle
    visitor.leave()
    assert visitor.tally == (1, 0, 1, 0)


# -- asking those behind


def test_what_those_behind_say_can_be_seen():
    asks = Asks()
    visitor = Visitor(asks, Says()).enter()
    visitor.say("a")
    assert visitor.asked == [b"a"]
    visitor.pool.answer(b"hi", b"Content-Type: text/plain\r\nCache-Control: max-age=1")
    answer = asks.heard[0]
    assert (answer.payload, answer.status) == (b"hi", 200)
    assert answer.headers == (("content-type", "text/plain"), ("cache-control", "max-age=1"))
    assert visitor.said == [(b"hi", False)]
    assert visitor.tally == (1, 1, 0, 0)
    assert not visitor.outcomes


def test_what_an_answer_asks_for_is_done_also_with_another_payload():
    asks = Asks(lambda answer: answer._replace(payload=b"other"))
    visitor = Visitor(asks).enter()
    visitor.say("a")
    visitor.pool.answer(b"hi", b"Wsgate-User: 42\r\nWsgate-Close: 4001 go")
    assert visitor.said == [(b"other", False), ("close", 4001, "go")]
    assert visitor.conversation.user == "42"


def test_it_is_not_done_where_the_hook_answers_itself():
    visitor = Visitor(Asks(lambda _: Answer(b"mine"))).enter()
    visitor.say("a")
    visitor.pool.answer(b"hi", b"Wsgate-User: 42")
    assert visitor.said == [(b"mine", False)]
    assert visitor.conversation.user is None


def test_a_hook_that_asked_and_lets_pass_gives_that_answer():
    visitor = Visitor(Asks(lambda _: None)).enter()
    visitor.say("a")
    visitor.pool.answer(b"hi")
    assert visitor.said == [(b"hi", False)]
    assert len(visitor.pool.requests) == 1


def test_a_plain_hook_may_give_the_question_back():
    visitor = Visitor(Says(lambda _, message: message.ask())).enter()
    visitor.say("a")
    visitor.pool.answer(b"hi")
    assert visitor.said == [(b"hi", False)]


def test_a_message_is_asked_once():
    async def twice(_connection, message):
        answer = await message.ask()
        with pytest.raises(NotToBeAsked):
            message.ask()
        return answer

    visitor = Visitor(Says(twice)).enter()
    visitor.say("a")
    visitor.pool.answer(b"hi")
    assert visitor.said == [(b"hi", False)]
    assert visitor.asked == [b"a"]


def test_nothing_is_asked_once_the_hook_has_had_its_say():
    kept = []
    visitor = Visitor(Says(lambda _, message: kept.append(message))).enter()
    visitor.say("a")
    with pytest.raises(NotToBeAsked):
        kept[0].ask()


def test_what_php_fails_with_is_raised_and_the_client_told_as_ever():
    asks = Asks()
    visitor = Visitor(asks).enter()
    visitor.say("a")
    with capturedLogs() as logs:
        visitor.pool.fail(ResponseTimeout("no answer in time"))
    assert isinstance(asks.heard[0], ResponseTimeout)
    assert error(visitor)["status"] == 504
    assert [formatEvent(event) for event in logs] == ["message id:1: no answer in time"]
    assert not visitor.outcomes


def test_a_hook_may_have_another_answer_where_php_fails():
    class Stale(Hook):
        async def on_message(self, connection, message):
            try:
                return await message.ask()
            except ResponseTimeout:
                return Answer(b"stale")

    visitor = Visitor(Stale()).enter()
    visitor.say("a")
    visitor.pool.fail(ResponseTimeout("no answer in time"))
    assert visitor.said == [(b"stale", False)]
    assert visitor.tally == (1, 1, 0, 0)


@pytest.mark.parametrize("word", [Refuse(429, "slow down"), Close(4000, "go")])
def test_a_refusal_of_those_behind_is_raised(word):
    asks = Asks()
    visitor = Visitor(asks, Says(word)).enter()
    visitor.say("a")
    assert isinstance(asks.heard[0], MessageRefused)
    assert asks.heard[0].said == word
    if isinstance(word, Refuse):
        assert error(visitor)["status"] == 429
    else:
        assert visitor.said == [("close", 4000, "go")]
    assert visitor.tally == (1, 0, 1, 0)
    assert visitor.outcomes == {("hook1", "refused" if error_is(word) else "closed"): 1}


def error_is(word):
    return isinstance(word, Refuse)


def test_two_hooks_may_ask_one_behind_the_other():
    outer, inner = Asks(), Asks(lambda answer: answer._replace(payload=b"[%s]" % answer.payload))
    visitor = Visitor(outer, inner).enter()
    visitor.say("a")
    visitor.pool.answer(b"hi")
    assert outer.heard[0].payload == b"[hi]"
    assert visitor.said == [(b"[hi]", False)]


def test_one_that_asks_has_the_pool_s_time_on_top():
    limits = ChainLimits(timeout=1.0)
    visitor = Visitor(Asks(), limits=limits).enter()
    visitor.say("a")
    visitor.wait(30)
    assert not visitor.said
    visitor.wait(6.3)
    assert error(visitor)["status"] == 503


def test_one_that_asks_without_saying_so_has_its_own_time_only():
    async def asking(_connection, message):
        return await message.ask()

    visitor = Visitor(Says(asking), limits=ChainLimits(timeout=1.0)).enter()
    visitor.say("a")
    visitor.wait(1.2)
    assert error(visitor)["status"] == 503
    assert len(visitor.pool.cancelled) == 1


# -- answers after the client has gone, or was answered


def test_a_hook_that_has_asked_gets_the_answer_though_the_client_has_left():
    asks = Asks()
    visitor = Visitor(asks).enter()
    visitor.say("a")
    visitor.leave()
    assert visitor.tally == (1, 0, 0, 1)
    assert not visitor.pool.cancelled
    visitor.pool.answer(b"hi", b"Wsgate-User: 42")
    assert asks.heard[0].payload == b"hi"
    assert not visitor.said
    assert visitor.tally == (1, 0, 0, 1)


def test_a_question_that_is_cancelled_is_taken_back():
    questions = []

    async def asking(_connection, message):
        questions.append(message.ask())
        return await questions[0]

    visitor = Visitor(Says(asking)).enter()
    visitor.say("a")
    visitor.leave()
    questions[0].cancel()
    assert len(visitor.pool.cancelled) == 1
    assert visitor.tally == (1, 0, 0, 1)


def test_php_may_be_asked_behind_an_answer():
    heard = []

    def stale(_connection, message):
        if message.payload == b"cached":
            message.ask().addBoth(heard.append)
            return Answer(b"stale")
        return None

    visitor = Visitor(Says(stale)).enter()
    visitor.say("cached")
    assert visitor.said == [(b"stale", False)]
    assert visitor.asked == [b"cached"]
    visitor.say("other")
    assert visitor.asked == [b"cached"], "PHP works on one request of a connection at a time"
    visitor.pool.answer(b"fresh")
    assert heard[0].payload == b"fresh"
    visitor.pool.answer(b"hi")
    assert visitor.said == [(b"stale", False), (b"hi", False)]
    assert visitor.asked == [b"cached", b"other"]
    assert visitor.tally == (2, 2, 0, 0)


def test_a_question_that_comes_late_to_php_waits_for_the_message_it_works_on():
    def stale(_connection, message):
        if message.payload == b"cached":
            message.ask().addErrback(lambda _: None)
            return Answer(b"stale")
        return None

    class WaitsOnce(Waits):
        def on_message(self, connection, message):
            return super().on_message(connection, message) if not self.words else None

    visitor = Visitor(Says(stale), waits := WaitsOnce()).enter()
    visitor.say("cached")
    visitor.say("other")
    assert visitor.asked == [b"other"]
    waits.words[0].callback(None)
    assert visitor.asked == [b"other"]
    visitor.pool.answer(b"hi")
    assert visitor.asked == [b"other", b"cached"]
    assert visitor.said == [(b"stale", False), (b"hi", False)]


def test_one_question_at_most_goes_on_behind_answers():
    heard = []

    def stale(_connection, message):
        message.ask().addBoth(heard.append)
        return Answer(b"stale")

    visitor = Visitor(Says(stale)).enter()
    for _ in range(3):
        visitor.say("cached")
    assert visitor.asked == [b"cached"]
    assert len(heard) == 2
    visitor.pool.answer(b"fresh")
    assert heard[2].payload == b"fresh"
    visitor.say("cached")
    assert len(visitor.asked) == 2
    assert visitor.tally == (4, 4, 0, 0)


def test_a_client_that_leaves_while_php_is_asked_behind_an_answer_is_counted_once():
    def stale(_connection, message):
        message.ask().addErrback(lambda _: None)
        return Answer(b"stale")

    visitor = Visitor(Says(stale), events=("message", "disconnect")).enter()
    visitor.say("cached")
    visitor.leave()
    assert visitor.chain.connections == 1
    assert len(visitor.asked) == 1, "PHP hears of the end when it is done"
    visitor.pool.answer(b"fresh")
    visitor.book.write()
    assert visitor.params[b"WSGATE_EVENT"] == b"disconnect"
    assert visitor.tally == (1, 1, 0, 0)
    assert visitor.chain.connections == 0


@pytest.mark.parametrize("is_waiting", [True, False])
def test_a_question_that_stands_behind_a_message_is_asked_though_the_client_has_left(is_waiting):
    heard = []

    def stale(_connection, message):
        if message.payload == b"cached":
            message.ask().addBoth(heard.append)
            return Answer(b"stale")
        return None

    inner = Waits()
    visitor = Visitor(Says(stale), inner).enter()
    visitor.pool.is_waiting = is_waiting
    visitor.say("cached")
    visitor.say("other")
    inner.words[1].callback(None)
    inner.words[0].callback(None)
    assert visitor.asked == [b"other"]
    visitor.leave()
    if is_waiting:
        visitor.pool.turns.pop(0)
    else:
        visitor.pool.answer(b"late")
    assert visitor.asked == [b"other", b"cached"]
    visitor.pool.answer(b"fresh")
    assert heard[0].payload == b"fresh"
    assert visitor.tally == (2, 1, 0, 1)
    assert visitor.chain.connections == 0


def test_what_cannot_be_asked_at_once_fails():
    asks = Asks()
    visitor = Visitor(asks).enter()
    visitor.pool.ask = lambda request, turn: turn.errback(QueueFull("full"))
    visitor.say("a")
    assert isinstance(asks.heard[0], QueueFull)
    assert error(visitor)["status"] == 503
    assert visitor.tally == (1, 0, 1, 0)


# -- streams


STREAM = b"Wsgate-Stream: lines\r\n\r\none\ntwo\n"


class FakeFlow:
    def __init__(self, turn):
        self.turn = turn

    def pause(self):
        pass

    def resume(self):
        pass

    def stop(self, error):
        self.turn.errback(error)


def test_an_answer_that_is_a_stream_goes_to_the_client_part_by_part():
    asks = Asks()
    visitor = Visitor(asks, limits=ChainLimits(timeout=1.0)).enter()
    visitor.say("a")
    turn = visitor.pool.turns[0]
    sink = turn.streaming(bytearray(STREAM))
    sink.deliver(FakeFlow(turn))
    assert visitor.said == [(b"one", False), (b"two", False)]
    visitor.wait(100)
    assert len(visitor.said) == 2, "a stream has bounds of its own"
    visitor.pool.answer(b"", b"Wsgate-Stream: lines")
    assert json.loads(visitor.said[-1][0])["stream"] == "end"
    assert asks.heard[0].payload is None
    assert visitor.tally == (1, 1, 0, 0)


def test_a_stream_that_comes_whole_is_one_too():
    asks = Asks()
    visitor = Visitor(asks).enter()
    visitor.say("a")
    visitor.pool.answer(b"one\ntwo\n", b"Wsgate-Stream: lines")
    assert [payload for payload, _ in visitor.said[:2]] == [b"one", b"two"]
    assert asks.heard[0].payload is None
    assert visitor.tally == (1, 1, 0, 0)


def test_a_stream_ends_with_its_client():
    asks = Asks()
    visitor = Visitor(asks).enter()
    visitor.say("a")
    turn = visitor.pool.turns[0]
    turn.streaming(bytearray(STREAM)).deliver(FakeFlow(turn))
    visitor.leave()
    assert visitor.tally == (1, 0, 0, 1)
    assert len(asks.heard) == 1
    assert visitor.chain.connections == 0


def test_a_stream_that_nobody_waits_for_is_not_wanted():
    def stale(_connection, message):
        message.ask().addErrback(lambda _: None)
        return Answer(b"stale")

    visitor = Visitor(Says(stale)).enter()
    visitor.say("a")
    turn = visitor.pool.turns[0]
    stopped = []
    flow = FakeFlow(turn)
    flow.stop = stopped.append
    turn.streaming(bytearray(STREAM)).deliver(flow)
    assert stopped
    assert visitor.said == [(b"stale", False)]
