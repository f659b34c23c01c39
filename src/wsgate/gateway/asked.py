"""What a hook asks of those behind it and of PHP, until there is an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from wsgate import cgi
from wsgate.fastcgi import ConnectionPool, FastCGIError, Response, Sink, Unsent
from wsgate.gateway.actions import Actions, Close
from wsgate.gateway.answer import reply_to_response
from wsgate.gateway.chain import Wait
from wsgate.gateway.streaming import Unwanted
from wsgate.gateway.streams import stream_head
from wsgate.hooks import Answer, Message

if TYPE_CHECKING:
    from wsgate.gateway.questions import AskingConversation


class Wishes(NamedTuple):
    """What an answer of PHP asks for beside being sent: `Answer.actions`."""

    close: Close | None
    actions: Actions | None


class Step:
    """One hook's turn at one message, and its way to those behind.

    `outer` is the step of the hook that has asked, None where the client waits itself.
    """

    __slots__ = ("asked", "conversation", "is_over", "number", "outer", "position", "wait")

    def __init__(
        self, conversation: AskingConversation, number: int, position: int, outer: Step | None
    ) -> None:
        self.conversation = conversation
        self.number = number
        self.position = position
        self.outer = outer
        self.is_over = False
        """Whether the hook has had its say."""
        self.asked: Asked | None = None
        self.wait: Wait | None = None

    def __call__(self, message: Message) -> Deferred[Answer]:
        """As `Message.ask`."""
        return self.conversation.asked_by(self, message)


class Asked:
    """A question of a hook, and the turn of the request that it may become.

    `answer` fires once, unless it is cancelled; then what was not sent never is.
    """

    called = False
    """Pools ask this of a turn: it wants to know the end, even if nobody else does."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.answer: Deferred[Answer] = Deferred(self._cancelled)
        self.is_over = False
        """Whether there is an answer, or nobody waits for one."""
        self.error: BaseException | None = None
        """Why there is none."""
        self.said: Answer | None = None
        self.has_streamed = False
        """Whether the client has got the answer, part by part."""
        self.is_followed = False
        """Whether the message is answered with it, whatever it is: the hook lets it pass."""
        self.is_left = False
        """Whether the hook has had its say before."""
        self.has_ended = False
        """Whether nothing of it goes on."""
        self.inner: Wait | None = None
        """The hook behind that has not had its say."""
        self._unsent: tuple[ConnectionPool, Unsent] | None = None

    def begin(self, pool: ConnectionPool, unsent: Unsent | None) -> None:
        """The pool has its request."""
        if unsent is not None:
            self._unsent = (pool, unsent)

    def withdraw(self) -> bool:
        """Take the request back if it still waits for a worker; whether it did."""
        if self._unsent is None:
            return False
        pool, unsent = self._unsent
        self._unsent = None
        return pool.withdraw(unsent)

    def resolve(self, said: Answer) -> None:
        """This is the answer."""
        if not self.is_over:
            self.is_over = True
            self.said = said
            self.answer.callback(said)

    def fail(self, error: BaseException) -> None:
        """There is none."""
        if not self.is_over:
            self.is_over = True
            self.error = error
            self.answer.errback(error)
            self._look_whether_heard()

    def _look_whether_heard(self) -> None:
        # A hook that has had its say need not listen; then it is no failure that got lost.
        if self.is_left and isinstance(self.answer.result, Failure):
            self.answer.addErrback(lambda _: None)

    def _cancelled(self, _answer: Deferred[Answer]) -> None:
        self.is_over = True
        self.error = CancelledError()
        self.answer.errback(self.error)
        self._look_whether_heard()
        self.step.conversation.ask_cancelled(self)

    # -- the turn of its request

    def streaming(self, stdout: bytes | bytearray) -> Sink | Literal[False] | None:
        """Who takes the answer as a stream; see `wsgate.fastcgi.sink`."""
        begun = stream_head(stdout)
        if not begun:
            return begun
        return self.step.conversation.stream_asked(self, stdout) or cast(Sink, Unwanted())

    def callback(self, response: Response, /) -> None:
        """PHP has answered."""
        self._unsent = None
        self.step.conversation.backend_answered(self, response)

    def errback(self, error: FastCGIError, /) -> None:
        """It has not."""
        self._unsent = None
        self.step.conversation.backend_failed(self, error)


def answer_of(response: Response) -> tuple[Answer, tuple[str, ...]]:
    """PHP's response as hooks see it, and warnings for the log.

    Raises:
        cgi.MalformedResponse, NoAnswer: it is none.
    """
    stdout, stderr = response.stdout, response.stderr
    reply, warnings = reply_to_response(stdout, stderr, is_utf8=response.is_utf8)
    head = cgi.parse_response(stdout).head
    wishes = None
    if reply.close is not None or reply.actions is not None:
        wishes = Wishes(reply.close, reply.actions)
    is_clean = not (stderr or warnings)
    return (
        Answer(reply.payload, reply.is_binary, head.status, head.headers, wishes, is_clean),
        warnings,
    )


def answer_of_stream(response: Response) -> Answer:
    """The answer that the client has got already, part by part."""
    head = cgi.parse_response_head(bytes(response.stdout[: _head_end(response.stdout)]))
    return Answer(None, False, head.status, head.headers)


def _head_end(stdout: bytes | bytearray) -> int:
    found = cgi.find_head(stdout)
    return found[0] if found is not None else len(stdout)
