"""Questions to other nodes: who has answered, who has yet to, and who did not in time."""

from __future__ import annotations

from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wsgate.bus.envelope import LONGEST_NUMBER
from wsgate.channels import BusUnanswered

PATIENCE = 4.0
"""Seconds that other nodes get to answer."""


class _Question:
    """One question; `wanted` is None until the bus has said how many nodes have heard it."""

    __slots__ = ("answers", "outcome", "timer", "wanted")

    def __init__(self, timer: Any) -> None:
        self.answers: list[Any] = []
        self.outcome: Deferred[list[Any]] = Deferred()
        self.timer = timer
        self.wanted: int | None = None


class Asks:
    """Questions that are open. Those asked in time and unanswered by some are in `unanswered`."""

    def __init__(self, clock: IReactorTime) -> None:
        self.unanswered = 0
        self._clock = clock
        self._numbers = count(1)
        self._open: dict[int, _Question] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self) -> int:
        """The number of a new question, for `collect` at once."""
        number = next(self._numbers) % LONGEST_NUMBER + 1
        timer = self._clock.callLater(PATIENCE, self._too_late, number)
        self._open[number] = _Question(timer)
        return number

    def collect(self, number: int, heard: Deferred[int]) -> Deferred[list[Any]]:
        """Fires with the answers of all nodes that have heard the question.

        Of those that answer in time, if there is any; else fails with BusUnanswered. `heard` fires
        with how many they are; fails as it does.
        """
        question = self._open[number]
        heard.addCallbacks(self._heard, self._failed, callbackArgs=(number,), errbackArgs=(number,))
        return question.outcome

    def answered(self, number: int, answer: Any) -> None:
        """One node has answered; too late, or twice, is passed over."""
        question = self._open.get(number)
        if question is not None:
            question.answers.append(answer)
            self._look(number, question)

    def _heard(self, wanted: int, number: int) -> None:
        question = self._open.get(number)
        if question is not None:
            question.wanted = wanted
            self._look(number, question)

    def _look(self, number: int, question: _Question) -> None:
        if question.wanted is not None and len(question.answers) >= question.wanted:
            self._close(number).outcome.callback(question.answers)

    def _failed(self, failure: Failure, number: int) -> None:
        if number in self._open:
            self._close(number).outcome.errback(failure)

    def _too_late(self, number: int) -> None:
        self.unanswered += 1
        question = self._close(number)
        if question.answers:
            question.outcome.callback(question.answers)
        else:
            question.outcome.errback(BusUnanswered(f"no other node answered in {PATIENCE:g} s"))

    def _close(self, number: int) -> _Question:
        question = self._open.pop(number)
        if question.timer.active():
            question.timer.cancel()
        return question
