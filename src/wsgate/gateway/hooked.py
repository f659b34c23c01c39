"""A conversation whose messages hooks see before PHP does.

A message goes from hook to hook. One that has nothing to say lets it pass; behind the last one is
PHP. A hook may ask those behind it and see what they say: that is an `Asked`, which a request can
become. What the outermost one says is for the client.

PHP works on one request of a connection at a time, also on one whose answer the client does not
wait for any more; others are held until then.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsgate.fastcgi import FastCGIError, Request, Response, Sink
from wsgate.gateway.actions import Actions, Close
from wsgate.gateway.answer import Reply, is_of_backend, reply_to_failure
from wsgate.gateway.asked import Asked, Step, Wishes, answer_of, answer_of_stream
from wsgate.gateway.chain import SLOW, Chain, Link, Wait
from wsgate.gateway.conversation import QueueLimits
from wsgate.gateway.guesting import GuestConversation, failure_of_hook
from wsgate.gateway.lastwords import message_of
from wsgate.gateway.params import request_params
from wsgate.gateway.peer import Peer
from wsgate.gateway.register import Register
from wsgate.gateway.route import Route
from wsgate.gateway.streams import stream_head
from wsgate.gateway.words import fit_close, fit_payload, refusal_of_message
from wsgate.hooks import Answer, Message, MessageRefused, NotToBeAsked, NoWord, Refuse
from wsgate.hooks import Close as SaidClose
from wsgate.http1 import RequestHead

AT_ONCE = 32
"""Messages of one client that hooks answer in a row; then others have their turn."""

GAP = 0.001
"""Seconds without a message that end such a row."""

Outcome = Answer | Refuse | SaidClose | BaseException
"""What a hook's turn comes to."""


class Held(NamedTuple):
    """A message on its way to PHP, which still works on another of this connection."""

    message: Message
    number: int
    outer: Step | None


class HookedConversation(GuestConversation):
    """Lets the hooks of its chain see each message, in order, one at a time."""

    __slots__ = (
        "_behind",
        "_held",
        "_is_resting",
        "_last_answer",
        "_open_asks",
        "_passed",
        "_row",
        "_step",
        "_turn",
    )

    def __init__(
        self,
        chain: Chain,
        register: Register,
        connection_id: str,
        route: Route,
        params: bytes,
        peer: Peer,
        limits: QueueLimits,
        head: RequestHead,
        subprotocol: str | None,
    ) -> None:
        super().__init__(
            chain, register, connection_id, route, params, peer, limits, head, subprotocol
        )
        self._step: Step | None = None
        """Of the hook that is waited for, where no other has asked."""
        self._passed = False
        """Whether all hooks have let the message in flight pass, so that PHP has it."""
        self._turn: Asked | None = None
        """What PHP, or its pool, has of a hook that has asked."""
        self._behind: Asked | None = None
        """What goes on though the message is answered: one at most."""
        self._held: tuple[Held, ...] = ()
        self._open_asks = 0
        self._row = 0
        self._last_answer = 0.0
        self._is_resting = False

    # -- a message comes

    def message_received(self, payload: bytes | bytearray, is_binary: bool) -> None:
        """Take one whole message; hooks see it when its turn comes."""
        route = self._route
        if "message" not in route.events:
            super().message_received(payload, is_binary)
            return
        route.tally.received += 1
        if self._closed:
            route.tally.gone += 1
        elif self._in_flight or self._output_paused or self._is_resting:
            self._enqueue(payload, is_binary)
        else:
            self._ask(payload, is_binary)

    def _ask(self, payload: bytes | bytearray, is_binary: bool) -> None:
        self._number = number = self._number + 1
        self._in_flight = True
        self._passed = False
        message_id = f"{self.connection_id}:{number}"
        self._pass_on(message_id, payload, is_binary, number, 0, None)

    def _pass_on(
        self,
        message_id: str,
        payload: bytes | bytearray,
        is_binary: bool,
        number: int,
        position: int,
        outer: Step | None,
    ) -> None:
        """Let the hooks from `position` on see a message, until one has something to say."""
        chain = self._chain
        links = chain.messages
        seconds = chain.seconds
        while position < len(links):
            if self._closed and outer is None:
                self._drop()
                return
            link = links[position]
            step = Step(self, number, position, outer)
            message = Message(message_id, payload, is_binary, step)
            began = seconds()
            try:
                assert link.on_message is not None
                said = link.on_message(self._guest, message)
            except Exception as error:
                said = Failure(error)
            ended = seconds()
            if ended - began > SLOW:
                chain.slow(link, ended - began)
            # The short way of an answer that is there already.
            if type(said) is Answer and outer is None and step.asked is None and said[4] is None:
                body = said[0]
                if type(body) is bytes and (said[1] or body.isascii()) and self._in_flight:
                    step.is_over = True
                    chain.count(link.name, "answered")
                    self._deliver(body, said[1])
                    self._rest_after(began, ended)
                    return
            if said is not None or step.asked is not None:
                passed = self._told(step, link, message, said)
                if passed is None:
                    return
                payload, is_binary = passed.payload, passed.is_binary
            step.is_over = True
            position += 1
        self._ask_backend(Held(Message(message_id, payload, is_binary, _nobody), number, outer))

    def _rest_after(self, began: float, ended: float) -> None:
        """Others have their turn after so many messages that took no time."""
        if began - self._last_answer > GAP:
            self._row = 0
        self._last_answer = ended
        self._row += 1
        if self._row >= AT_ONCE and not self._is_resting:
            self._is_resting = True
            self._peer.call_soon(self._rested)

    def _rested(self) -> None:
        self._is_resting = False
        self._row = 0
        if not self._in_flight:
            self._next()

    # -- what a hook says

    def _told(self, step: Step, link: Link, message: Message, said: Any) -> Message | None:
        """Act on what a hook says; the message with which it goes on behind it, if it does."""
        if isinstance(said, Failure):
            error = said.value
            assert error is not None
            return self._hook_failed(step, link, message, error)
        try:
            if hasattr(said, "__await__"):
                self._wait_for(step, link, message, said)
                return None
            return self._heed_word(step, link, message, said)
        except NoWord as error:
            return self._hook_failed(step, link, message, error)

    def _wait_for(self, step: Step, link: Link, message: Message, said: Any) -> None:
        chain = self._chain
        later = partial(self._told_later, step, link, message)
        wait = step.wait = Wait(chain.timeouts, self._patience(step, link), later)
        if step.outer is None:
            self._step = step
        elif step.outer.asked is not None:
            step.outer.asked.inner = wait
        wait.begin(said)

    def _patience(self, step: Step, link: Link) -> float:
        """How long a hook may take; one that asks waits for those behind it and for PHP."""
        timeout = self._chain.limits.timeout
        if not link.asks:
            return timeout
        pool = self._route.pool
        behind = len(self._chain.messages) - step.position
        return timeout * behind + pool.queue_deadline + pool.response_timeout

    def _told_later(self, step: Step, link: Link, message: Message, said: Any) -> None:
        try:
            passed = self._told(step, link, message, said)
            if passed is not None:
                step.is_over = True
                self._pass_on(
                    message.id,
                    passed.payload,
                    passed.is_binary,
                    step.number,
                    step.position + 1,
                    step.outer,
                )
        except Exception:
            self._broken()

    def _heed_word(self, step: Step, link: Link, message: Message, said: object) -> Message | None:
        asked = step.asked
        kind = type(said)
        if said is None or kind is Message:
            if asked is None:
                return message if said is None else _checked(said)
            self._follow_asked(step, asked)
            return None
        if kind is Answer:
            assert isinstance(said, Answer)
            if asked is None or said is not asked.said:
                said = said._replace(payload=fit_payload(said), is_binary=bool(said.is_binary))
                self._chain.count(link.name, "answered")
        elif kind is Refuse:
            self._chain.count(link.name, "refused")
        elif kind is SaidClose:
            self._chain.count(link.name, "closed")
        else:
            raise NoWord(f"on_message gave {kind.__name__}, none of the words of a hook")
        step.is_over = True
        assert isinstance(said, (Answer, Refuse, SaidClose))
        self._settle(step, said)
        return None

    def _follow_asked(self, step: Step, asked: Asked) -> None:
        """It has asked, and lets pass: what those behind say is what is said."""
        step.is_over = True
        if not asked.is_over:
            asked.is_followed = True
        elif asked.said is not None:
            self._settle(step, asked.said)
        else:
            assert asked.error is not None
            self._settle(step, asked.error)

    def _hook_failed(
        self, step: Step, link: Link, message: Message, error: BaseException
    ) -> Message | None:
        step.is_over = True
        asked = step.asked
        if (asked is not None and error is asked.error) or is_of_backend(error):
            # Not its own: those behind have failed, or PHP has, be it at another's message.
            self._settle(step, error)
            return None
        self._chain.note(link, f"message {message.id}", error)
        if self._chain.limits.passes and not isinstance(error, NoWord):
            if asked is None:
                return message
            if asked.said is not None:
                self._settle(step, asked.said)
                return None
        self._settle(step, failure_of_hook(error, link))
        return None

    # -- who gets to know it

    def _settle(self, step: Step, outcome: Outcome) -> None:
        """This is what the turn of a hook has come to."""
        asked, outer = step.asked, step.outer
        if asked is not None and not asked.is_over:
            self._leave_behind(asked)
        if outer is not None:
            assert outer.asked is not None
            self._tell_asker(outer.asked, outcome)
        elif asked is not None and asked.has_streamed:
            return
        elif self._is_current(step.number):
            self._say_to_client(outcome)
        elif isinstance(outcome, Answer) and isinstance(outcome.actions, Wishes):
            # The client has left meanwhile. What PHP says to others holds all the same.
            self._publish_late(outcome, outcome.actions)

    def _is_current(self, number: int) -> bool:
        """Whether the client waits for the answer to this message."""
        return self._in_flight and number == self._number

    def _tell_asker(self, asked: Asked, outcome: Outcome) -> None:
        if isinstance(outcome, (Refuse, SaidClose)):
            asked.fail(MessageRefused(outcome))
        elif isinstance(outcome, BaseException):
            asked.fail(outcome)
        else:
            asked.resolve(outcome)
        self._ask_ended(asked)

    def _say_to_client(self, outcome: Outcome) -> None:
        if isinstance(outcome, MessageRefused):
            outcome = outcome.said
        if isinstance(outcome, Answer):
            wishes = outcome.actions
            close, actions = wishes if isinstance(wishes, Wishes) else (None, None)
            reply = Reply(outcome.payload, outcome.is_binary, close, actions)
            self._finish(reply, answered=True)
        elif isinstance(outcome, Refuse):
            refusal = refusal_of_message(outcome, self._message_id)
            self._finish(Reply(refusal), answered=False)
        elif isinstance(outcome, SaidClose):
            self._finish(Reply(None, close=Close(*fit_close(outcome))), answered=False)
        else:
            reply = reply_to_failure(outcome, self._message_id, self._route.on_error)
            self._finish(reply, answered=False)

    def _publish_late(self, answer: Answer, wishes: Wishes) -> None:
        if wishes.actions is not None and wishes.actions.publish:
            body = message_of(Reply(answer.payload, answer.is_binary))
            self._act(Actions(publish=wishes.actions.publish), body, self._warn)

    def _drop(self) -> None:
        """The message in flight is nobody's any more: wsgate closes the connection."""
        self._over()
        self._route.tally.gone += 1

    # -- a hook asks

    def asked_by(self, step: Step, message: Message) -> Deferred[Answer]:
        """Let those behind a hook, and PHP, answer.

        Raises:
            NotToBeAsked: they were asked before, or the hook has had its say.
        """
        if step.is_over or step.asked is not None:
            raise NotToBeAsked("a hook asks once, before it has said what it has to say")
        asked = step.asked = Asked(step)
        self._open_asks += 1
        checked = _checked(message)
        self._pass_on(
            checked.id, checked.payload, checked.is_binary, step.number, step.position + 1, step
        )
        return asked.answer

    def _leave_behind(self, asked: Asked) -> None:
        """The message is answered, and the question goes on; not two of them at a time."""
        if self._behind is None:
            self._behind = asked
        else:
            asked.answer.addErrback(_unheard)
            asked.answer.cancel()

    def ask_cancelled(self, asked: Asked) -> None:
        """Nobody waits for it any more: what PHP does not have yet it does not get."""
        if asked.inner is not None:
            asked.inner.cancel()
        self._held = tuple(held for held in self._held if held.outer is not asked.step)
        if self._turn is not asked:
            self._ask_ended(asked)
        elif asked.withdraw():
            self._turn = None
            self._ask_ended(asked)
            self._backend_is_free()

    def _ask_ended(self, asked: Asked) -> None:
        if asked.has_ended:
            return
        asked.has_ended = True
        self._open_asks -= 1
        if self._behind is asked:
            self._behind = None
        if asked.is_followed:
            self._follow_asked(asked.step, asked)
        if not self._open_asks:
            if self._is_running_on and not self._passed:
                super()._is_over()
            self._look_whether_all_is_over()

    # -- PHP

    def _ask_backend(self, held: Held) -> None:
        """All hooks have let it pass."""
        message, number, outer = held
        if outer is None and self._closed:
            self._drop()
        elif self._turn is not None or (outer is not None and self._is_asked_of_backend()):
            self._held = (*self._held, held)
        elif outer is None:
            self._passed = True
            # It counts its messages itself.
            self._number = number - 1
            super()._ask(message.payload, message.is_binary)
        elif outer.asked is not None and not outer.asked.is_over:
            self._send(message, number, outer.asked)

    def _is_asked_of_backend(self) -> bool:
        """Whether PHP works on a message that hooks have let pass, for whomever."""
        return self._passed and (self._in_flight or self._is_running_on)

    def _send(self, message: Message, number: int, asked: Asked) -> None:
        payload = message.payload
        route = self._route
        params = request_params(
            route.params,
            self._params,
            route.kind_of_message(payload, message.is_binary),
            self.connection_id,
            number,
            len(payload),
        )
        self._turn = asked
        pool = route.pool
        unsent = pool.ask(Request(params, payload), asked)
        if self._turn is asked:
            asked.begin(pool, unsent)

    def _backend_is_free(self) -> None:
        while self._held and self._turn is None:
            before = self._held
            self._held = before[1:]
            self._ask_backend(before[0])
            if len(self._held) >= len(before):
                return

    def _deliver(self, payload: bytes, is_binary: bool) -> None:
        super()._deliver(payload, is_binary)
        if self._held:
            self._backend_is_free()

    def _finish(self, reply: Reply, *, answered: bool) -> None:
        super()._finish(reply, answered=answered)
        if self._held:
            self._backend_is_free()

    def stream_asked(self, asked: Asked, stdout: bytes | bytearray) -> Sink | None:
        """Who takes the answer to a question as a stream: the client, if it waits for it."""
        if asked.is_over or not self._is_current(asked.step.number):
            return None
        sink = self.streaming(stdout)
        step: Step | None = asked.step
        while step is not None:
            if step.asked is not None:
                step.asked.has_streamed = True
            if step.wait is not None:
                # A stream has bounds of its own.
                step.wait.extend(None)
            step = step.outer
        return sink or None

    def _stream_ended(self, asked: Asked) -> None:
        step: Step | None = asked.step
        while step is not None:
            if step.wait is not None:
                step.wait.extend(self._chain.limits.timeout)
            step = step.outer

    def backend_answered(self, asked: Asked, response: Response) -> None:
        """PHP's answer to a question is here."""
        self._turn = None
        try:
            self._take_answer(asked, response)
        except Exception as error:
            self._question_failed(asked, error, response.stderr)
        self._ask_ended(asked)
        self._backend_is_free()

    def _take_answer(self, asked: Asked, response: Response) -> None:
        is_waited_for = self._is_current(asked.step.number) and not asked.is_over
        if is_waited_for and not asked.has_streamed and stream_head(response.stdout):
            self.stream_asked(asked, response.stdout)
        if asked.has_streamed:
            self._end_stream(asked, response)
            return
        if not is_waited_for:
            self._answered_late(response)
        if asked.is_over:
            return
        answer, warnings = answer_of(response)
        self._heed(response.stderr)
        for warning in warnings:
            self._warn(warning)
        asked.resolve(answer if is_waited_for else answer._replace(actions=None))

    def _end_stream(self, asked: Asked, response: Response) -> None:
        self._stream_ended(asked)
        stream = self._stream
        if stream is not None and self._is_current(asked.step.number):
            self._answered(response)
            if stream.error is not None:
                asked.fail(stream.error)
        asked.resolve(answer_of_stream(response))

    def backend_failed(self, asked: Asked, error: FastCGIError) -> None:
        """PHP has no answer to a question."""
        self._turn = None
        if asked.has_streamed:
            self._stream_ended(asked)
            if self._stream is not None and self._is_current(asked.step.number):
                self._refuse(error, error.stderr)
            asked.fail(error)
        else:
            self._question_failed(asked, error, getattr(error, "stderr", b""))
        self._ask_ended(asked)
        self._backend_is_free()

    def _question_failed(self, asked: Asked, error: BaseException, stderr: bytes) -> None:
        if not asked.is_over:
            self._log_failure(error, stderr, f"{self.connection_id}:{asked.step.number}")
            asked.fail(error)

    # -- the end

    def abandon(self) -> None:
        """Nobody waits for answers any more, but hooks that have asked."""
        if not self._in_flight:
            self._passed = False
        super().abandon()
        self._held = tuple(held for held in self._held if held.outer is not None)
        if self._open_asks:
            self._is_running_on = True
        self._backend_is_free()

    def _withdraw(self) -> bool:
        if self._passed:
            withdrawn = super()._withdraw()
            self._passed = not withdrawn
            return withdrawn
        step = self._step
        if step is not None and step.wait is not None and step.number == self._number:
            # One that has asked gets its answer, which others may wait for too.
            waits_for_others = step.asked is not None and not step.asked.is_over
            if not waits_for_others:
                step.wait.cancel()
        self._is_running_on = False
        return True

    def _is_over(self) -> None:
        self._passed = False
        if not self._open_asks:
            super()._is_over()
        self._backend_is_free()

    def _look_whether_all_is_over(self) -> None:
        if not self._open_asks:
            super()._look_whether_all_is_over()


def _nobody(_message: Message) -> Deferred[Answer]:
    raise NotToBeAsked("this is for PHP")


def _unheard(_failure: Failure) -> None:
    """Nobody listens."""


def _checked(said: object) -> Message:
    """A message that is to take the place of another.

    Raises:
        NoWord: its payload is no bytes.
    """
    assert isinstance(said, Message)
    if not isinstance(said.payload, (bytes, bytearray)):
        raise NoWord(f"a message of {type(said.payload).__name__}; write bytes")
    return said
