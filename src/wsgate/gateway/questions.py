"""A conversation whose hooks may ask those behind them, and PHP.

PHP works on one request of a connection at a time, also on one whose answer the client does not
wait for any more; others are held until then.
"""

from __future__ import annotations

from typing import NamedTuple

from twisted.internet.defer import Deferred

from wsgate.fastcgi import FastCGIError, Request, Response, Sink
from wsgate.gateway.answer import Reply
from wsgate.gateway.arrival import Arrival
from wsgate.gateway.asked import Asked, Step, answer_of, answer_of_stream
from wsgate.gateway.chain import Chain
from wsgate.gateway.guesting import GuestConversation
from wsgate.gateway.params import request_params
from wsgate.gateway.register import Register
from wsgate.gateway.route import Route
from wsgate.gateway.streams import stream_head
from wsgate.hooks import Answer, Message, NotToBeAsked, NoWord, Refuse
from wsgate.hooks import Close as SaidClose

Outcome = Answer | Refuse | SaidClose | BaseException
"""What a hook's turn comes to."""


class Held(NamedTuple):
    """A message on its way to PHP, which still works on another of this connection."""

    message: Message
    number: int
    outer: Step | None


class AskingConversation(GuestConversation):
    """The part of a conversation with hooks that asks PHP, for the client or for a hook."""

    __slots__ = (
        "_behind",
        "_held",
        "_open_asks",
        "_passed",
        "_step",
        "_turn",
    )

    def __init__(self, chain: Chain, register: Register, route: Route, arrival: Arrival) -> None:
        super().__init__(chain, register, route, arrival)
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
        self._pass_on(
            message.id,
            checked(message).payload,
            message.is_binary,
            step.number,
            step.position + 1,
            step,
        )
        return asked.answer

    def _leave_behind(self, asked: Asked) -> None:
        """The message is answered, and the question goes on; not two of them at a time."""
        asked.is_left = True
        if self._behind is None:
            self._behind = asked
        else:
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

    # -- what they mean to a message

    def _is_current(self, number: int) -> bool:
        """Whether the client waits for the answer to this message."""
        return self._in_flight and number == self._number

    def _follow_asked(self, step: Step, asked: Asked) -> None:
        """It has asked, and lets pass: what those behind say is what is said."""
        step.is_over = True
        if not asked.is_over:
            asked.is_followed = asked.is_left = True
        elif asked.said is not None:
            self._settle(step, asked.said)
        else:
            assert asked.error is not None
            self._settle(step, asked.error)

    def _drop(self) -> None:
        """The message in flight is nobody's any more: wsgate closes the connection."""
        self._over()
        self._route.tally.gone += 1

    def _pass_on(
        self,
        message_id: str,
        payload: bytes | bytearray,
        is_binary: bool,
        number: int,
        position: int,
        outer: Step | None,
    ) -> None:
        """Let the hooks from `position` on see a message."""
        raise NotImplementedError

    def _settle(self, step: Step, outcome: Outcome) -> None:
        """This is what the turn of a hook has come to."""
        raise NotImplementedError


def checked(said: object) -> Message:
    """A message that is to take the place of another.

    Raises:
        NoWord: its payload is no bytes.
    """
    assert isinstance(said, Message)
    if not isinstance(said.payload, (bytes, bytearray)):
        raise NoWord(f"a message of {type(said.payload).__name__}; write bytes")
    return said
