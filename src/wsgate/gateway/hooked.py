"""A conversation whose messages hooks see before PHP does.

A message goes from hook to hook. One that has nothing to say lets it pass; behind the last one is
PHP. A hook may ask those behind it and see what they say: that is an `Asked`, which a request can
become. What the outermost one says is for the client.

PHP works on one request of a connection at a time, also on one whose answer the client does not
wait for any more; others are held until then.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsgate.gateway.actions import Actions, Close
from wsgate.gateway.answer import Reply, is_of_backend, reply_to_failure
from wsgate.gateway.arrival import Arrival
from wsgate.gateway.asked import Asked, Step, Wishes
from wsgate.gateway.chain import SLOW, Chain, Link, Wait
from wsgate.gateway.guesting import failure_of_hook
from wsgate.gateway.lastwords import message_of
from wsgate.gateway.questions import AskingConversation, Held, Outcome, checked
from wsgate.gateway.register import Register
from wsgate.gateway.route import Route
from wsgate.gateway.words import fit_close, fit_payload, refusal_of_message
from wsgate.hooks import Answer, Message, MessageRefused, NotToBeAsked, NoWord, Refuse
from wsgate.hooks import Close as SaidClose

AT_ONCE = 32
"""Messages of one client that hooks answer in a row; then others have their turn."""

GAP = 0.001
"""Seconds without a message that end such a row."""


class HookedConversation(AskingConversation):
    """Lets the hooks of its chain see each message, in order, one at a time."""

    __slots__ = ("_is_resting", "_last_answer", "_row")

    def __init__(self, chain: Chain, register: Register, route: Route, arrival: Arrival) -> None:
        super().__init__(chain, register, route, arrival)
        self._row = 0
        """Messages that were answered one behind the other."""
        self._last_answer = 0.0
        self._is_resting = False
        """Whether others have their turn."""

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
                    if step.is_over and outer is None:
                        self._rest_after(began, ended)
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
        pool = self._route.pool.limits
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
                return message if said is None else checked(said)
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


def _nobody(_message: Message) -> Deferred[Answer]:
    raise NotToBeAsked("this is for PHP")
