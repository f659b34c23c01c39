"""What the client gets: from PHP's response, or from the way the request failed. Pure.

One table turns every failure into a status, a public reason and a log level. Nothing that the
backend said about its failure goes to the client.
"""

from __future__ import annotations

import json
from codecs import IncrementalDecoder, getincrementaldecoder
from typing import Literal, NamedTuple

from twisted.logger import LogLevel

from wsgate import cgi, fastcgi
from wsgate.compiled import compiled
from wsgate.gateway.actions import Actions, Close, read_actions
from wsgate.gateway.streams import StreamNotText, StreamTooLarge
from wsgate.hooks import HookFailed

OnError = Literal["reply", "close"]


class NoAnswer(Exception):
    """PHP's response is well formed but holds no answer.

    `close` is what the script asked for by `Wsgate-Close` all the same.
    """

    close: Close | None = None


class ScriptFailed(NoAnswer):
    """PHP ran and answered with a 5xx status, which is `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the script answered with status {status}")
        self.status = status


class ScriptMissing(NoAnswer):
    """PHP found no script to run, or may not run it. `status` is PHP's: 404 or 403."""

    def __init__(self, status: int) -> None:
        super().__init__(
            "PHP cannot open the script, or its name is not allowed by security.limit_extensions"
        )
        self.status = status


class NotAnAnswer(NoAnswer):
    """The response is well formed but cannot become a message."""


class Reply(NamedTuple):
    """What is sent for one message: at most one message, then perhaps a close.

    `payload` is None where nothing is sent; `actions` is None where nothing else is to be done,
    and with a publish among them the payload is for the channels.
    """

    payload: bytes | memoryview | None
    is_binary: bool = False
    close: Close | None = None
    actions: Actions | None = None


class Failure(NamedTuple):
    """A row of the table: what the client is told, and how loudly the log is."""

    status: int
    reason: str
    level: LogLevel | None
    """None: the log hears of it once, from the pool, not with each message."""
    overload: bool = False


_OVERLOADED = Failure(503, "overloaded, try again later", LogLevel.warn, overload=True)
_UNAVAILABLE = Failure(502, "the backend is not available", LogLevel.error)
_TOO_LARGE = Failure(502, "the answer is too large", LogLevel.error)
_BAD_ANSWER = Failure(502, "bad answer from the backend", LogLevel.error)
_TOO_LONG = Failure(504, "the backend took too long", LogLevel.error)
_LOST = Failure(502, "the backend closed the connection", LogLevel.error)

FAILURES: dict[type[BaseException], Failure] = {
    fastcgi.QueueFull: _OVERLOADED._replace(level=None),
    fastcgi.QueueTimeout: _OVERLOADED,
    fastcgi.BackendBusy: _OVERLOADED,
    fastcgi.ApplicationOverloaded: _OVERLOADED,
    fastcgi.PoolStopped: Failure(503, "shutting down", LogLevel.info, overload=True),
    fastcgi.BackendUnavailable: _UNAVAILABLE,
    fastcgi.CircuitOpen: _UNAVAILABLE._replace(level=None),
    fastcgi.ResponseNeverReceived: _LOST,
    fastcgi.ResponseCutOff: _LOST,
    fastcgi.RequestTimeout: _TOO_LONG,
    fastcgi.ResponseTimeout: _TOO_LONG,
    fastcgi.ResponseTooLarge: _TOO_LARGE,
    fastcgi.StreamsFull: _OVERLOADED,
    fastcgi.StreamTimeout: _TOO_LONG,
    StreamTooLarge: _TOO_LARGE,
    StreamNotText: _BAD_ANSWER,
    fastcgi.ProtocolError: _BAD_ANSWER,
    cgi.MalformedResponse: _BAD_ANSWER,
    NotAnAnswer: _BAD_ANSWER,
    HookFailed: Failure(503, "not available, try again later", LogLevel.error, overload=True),
    ScriptFailed: Failure(500, "the script failed", LogLevel.error),
    ScriptMissing: Failure(404, "no such script", LogLevel.error),
}

INTERNAL = Failure(500, "internal error", LogLevel.critical)


def failure_of(error: BaseException) -> Failure:
    """The row of `error`, by the nearest class it is an instance of.

    An exception that nobody foresaw is an `INTERNAL` failure. A status that PHP chose stays.
    """
    for cls in type(error).__mro__:
        if cls in FAILURES:
            row = FAILURES[cls]
            return row._replace(status=getattr(error, "status", row.status))
    return INTERNAL


def is_of_backend(error: BaseException) -> bool:
    """Whether it says that PHP has failed, and not a hook."""
    return isinstance(error, (fastcgi.FastCGIError, cgi.MalformedResponse, NoAnswer))


def reply_to_failure(error: BaseException, message_id: str, on_error: OnError) -> Reply:
    """The error message of the contract, or a close with 1011, or 1013 for overload.

    A close that the script itself asked for comes after the message, or instead of that close.
    """
    row = failure_of(error)
    asked = error.close if isinstance(error, NoAnswer) else None
    if on_error == "close":
        # RFC 6455 §7.4.1 and the IANA registry: 1011 internal error, 1013 try again later.
        return Reply(None, close=asked or Close(1013 if row.overload else 1011, row.reason))
    error_object = {"status": row.status, "reason": row.reason, "message_id": message_id}
    payload = json.dumps({"error": error_object}, separators=(",", ":")).encode()
    return Reply(payload, close=asked)


def reply_to_response(
    stdout: bytes | bytearray, stderr: bytes = b"", *, is_utf8: bool = False
) -> tuple[Reply, tuple[str, ...]]:
    """What PHP's output means for the client.

    Args:
        stdout: the whole output of the script, header and body.
        stderr: what it logged; tells a missing script from a 404 of the script's own.
        is_utf8: whether `stdout` is known to be valid UTF-8, and need not be looked at again.

    Returns:
        The reply, and warnings for the log about headers that could not be followed.

    Raises:
        cgi.MalformedResponse, ScriptFailed, ScriptMissing, NotAnAnswer: no answer; see `FAILURES`.
    """
    head, body = cgi.parse_response(stdout)
    close, actions, warnings = read_actions(head.headers) if head.has_actions else (None, None, ())
    if head.status == 204:
        return Reply(None, False, close, actions), warnings
    try:
        if has_died(stderr):
            raise ScriptFailed(max(head.status, 500))
        if head.status >= 300:
            _require_answer(head.status, body, stderr)
        if head.is_encoded:
            raise NotAnAnswer("the body is compressed (Content-Encoding), which no message can be")
        if not (is_utf8 or head.is_binary):
            _require_utf8(body)
    except NoAnswer as error:
        error.close = close
        raise
    if not head.has_actions and head.status < 300 and head.content_length is None:
        _remember(bytes(stdout[: len(stdout) - len(body)]), head.is_binary)
    return Reply(body, head.is_binary, close, actions), warnings


KNOWN_HEADS: dict[bytes, bool] = {}
"""Heads, with their empty line, of answers that were one message and nothing else, and whether it
was binary. A script sends the same few with every answer."""

_MOST_HEADS = 128
_LONGEST_HEAD = 1024


def _remember(head: bytes, is_binary: bool) -> None:
    if len(head) <= _LONGEST_HEAD:
        if len(KNOWN_HEADS) >= _MOST_HEADS:
            KNOWN_HEADS.clear()
        KNOWN_HEADS[head] = is_binary


@compiled
def known_answer(
    stdout: bytes | bytearray, heads: dict[bytes, bool], /
) -> tuple[bytes, bool] | None:
    """The message of an answer whose head is one of `heads`, and whether it is binary.

    None for any other, for a bytearray, which is long, and for a text that is not UTF-8: they need
    `reply_to_response`, which gives the same where this gives a message.
    """
    if type(stdout) is not bytes:
        return None
    start = cgi.find_body(stdout)
    is_binary = heads.get(stdout[:start]) if start else None
    if is_binary is None:
        return None
    body = stdout[start:]
    if not (is_binary or body.isascii()):
        try:
            body.decode()
        except UnicodeDecodeError:
            return None
    return body, is_binary


# What PHP logs when a script dies. Its output until then may have gone out as a 200 before.
_FATAL = b"PHP message: PHP Fatal error: "

# What PHP-FPM and php-cgi log when SCRIPT_FILENAME cannot be run; the status alone could be the
# script's own.
_NO_SCRIPT = (b"Primary script unknown", b"Unable to open primary script", b"has been denied (see")
# php-cgi logs nothing, but says this.
_NO_INPUT = b"No input file specified."


def has_died(stderr: bytes) -> bool:
    """Whether PHP says that the script came to a bad end, whatever it had said by then."""
    return _FATAL in stderr


def is_missing(status: int, body: bytes | memoryview, stderr: bytes) -> bool:
    """Whether `status` is PHP's own, which had no script to run, and not the script's."""
    return status in (403, 404) and (
        any(text in stderr for text in _NO_SCRIPT) or bytes(body[: len(_NO_INPUT)]) == _NO_INPUT
    )


def _require_answer(status: int, body: bytes | memoryview, stderr: bytes) -> None:
    if status >= 500:
        raise ScriptFailed(status)
    if is_missing(status, body, stderr):
        raise ScriptMissing(status)
    if status < 400:
        raise NotAnAnswer(f"a redirect (status {status}) cannot be answered to a message")
    if not body:
        raise NotAnAnswer(f"status {status} without a body")


def _require_utf8(body: bytes | memoryview) -> None:
    if isinstance(body, bytes) and body.isascii():
        return
    # In pieces: as one string a long body would take four times its memory.
    decoder = getincrementaldecoder("utf-8")()
    for start in range(0, len(body), _PIECE):
        piece = bytes(body[start : start + _PIECE])
        if piece.isascii() and not decoder.getstate()[0]:
            continue
        _decode(decoder, piece, start)
    _decode(decoder, b"", len(body), final=True)


_PIECE = 64 * 1024


def _decode(decoder: IncrementalDecoder, piece: bytes, start: int, *, final: bool = False) -> None:
    kept = len(decoder.getstate()[0])
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError as error:
        # RFC 6455 §8.1: a text message that is not UTF-8 would cost the client its connection.
        raise NotAnAnswer(
            f"the body is text by its Content-Type but not UTF-8 at byte "
            f"{start - kept + error.start}; send Content-Type: application/octet-stream for binary"
        ) from None
