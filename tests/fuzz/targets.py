"""What is fuzzed: for each target a function that takes any bytes and fails if a promise breaks.

A promise is an assertion, or the list of the only errors that may come out. The first bytes of an
input often choose how the rest is cut or limited, so that one file holds all of a case.
"""

from __future__ import annotations

import contextlib
import hmac
import struct
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping

from tests.websocket.test_fastlane import outcome
from wsgate import cgi
from wsgate.config.proofs import ALGORITHMS
from wsgate.fastcgi.connection import (
    MAX_STDERR,
    ConnectionState,
    Request,
    ResponderConnection,
    Response,
)
from wsgate.fastcgi.errors import FastCGIError, ResponseNeverReceived
from wsgate.hooks.session.fields import find, lacking
from wsgate.hooks.session.formats import READERS
from wsgate.hooks.session.formats import read as read_session
from wsgate.hooks.session.unserialize import MAX_VALUES, Float, Unreadable, Value, unserialize
from wsgate.hooks.tokens.claims import as_param, value_at
from wsgate.hooks.tokens.keys import Key, KeyUnusable, from_file, from_server
from wsgate.hooks.tokens.urls import UrlRefused, signature, value_in
from wsgate.hooks.tokens.urls import verified as verified_url
from wsgate.hooks.tokens.verify import Rules, TokenRefused, opened, verified
from wsgate.http1 import BadRequest, RequestHead, parse_request_head
from wsgate.websocket.fastlane import LONG_HEADER, LongMessage, take_message
from wsgate.websocket.handshake import (
    HeadBuffer,
    Refused,
    Upgrade,
    accept_response,
    autobahn_head,
    check_origin,
    check_request,
    check_upgrade,
    choose_subprotocol,
)

MAX_ANSWER = 4096


def cut(data: bytes, step: int) -> list[bytes]:
    """`data` in pieces of `step` bytes, or whole for 0."""
    if not step:
        return [data]
    return [data[start : start + step] for start in range(0, len(data), step)]


# -- the answer of a FastCGI application


def _answer_of(pieces: list[bytes], *, keep: bool) -> Response | type[FastCGIError]:
    connection = ResponderConnection(MAX_ANSWER)
    connection.request_parts(Request(b"", b""), keep)
    try:
        for number, piece in enumerate(pieces):
            response = connection.receive_data(piece)
            if response is not None:
                # What follows an answer makes the connection useless, never the answer wrong.
                rest = any(pieces[number + 1 :])
                is_reusable = connection.state is ConnectionState.IDLE
                assert is_reusable == (keep and not connection.surplus)
                assert not (rest and connection.surplus and is_reusable)
                return Response(bytes(response.stdout), response.stderr, response.app_status)
        connection.receive_eof()
    except FastCGIError as error:
        assert len(error.stderr) <= MAX_STDERR
        return type(error)
    raise AssertionError("an answer that neither came nor failed")


def fastcgi_answer(data: bytes) -> None:
    """However an answer is cut, it is the same one or the same error; and never half of one."""
    if not data:
        return
    step, stream = data[0] % 64, data[1:]
    whole = _answer_of([stream], keep=bool(data[0] & 64))
    pieces = _answer_of(cut(stream, step), keep=bool(data[0] & 64))
    assert whole == pieces
    if isinstance(whole, Response):
        assert len(whole.stdout) <= MAX_ANSWER
        assert len(whole.stderr) <= MAX_STDERR
    elif stream:
        assert whole is not ResponseNeverReceived
    else:
        assert whole is ResponseNeverReceived


# -- the header of a CGI response


def cgi_header(data: bytes) -> None:
    """A script's output is a response with sound values, or MalformedResponse."""
    cgi.parse_response_head.cache_clear()
    try:
        head, body = cgi.parse_response(data)
    except cgi.MalformedResponse as error:
        # It goes to the log, and must stay one line there.
        assert "\n" not in str(error)
        assert len(str(error)) < 1000
        try:
            cgi.parse_response(bytearray(data))
        except cgi.MalformedResponse:
            return
        raise AssertionError("bytes and bytearray differ") from error
    assert 200 <= head.status <= 599
    assert data.endswith(body)
    assert head.content_length in (None, len(body))
    for name, value in head.headers:
        assert name == name.lower()
        assert not set(name + value) & set("\r\n\0")
    other = cgi.parse_response(bytearray(data))
    assert (other.head, bytes(other.body)) == (head, body)


# -- the handshake


_CLIENT = cgi.Client(cgi.Address("192.0.2.1", "5"), cgi.Address("192.0.2.2", "80"), False)
_OWN_NAMES = {name for name, _ in cgi.connection_params(RequestHead(b"", b"", b"", ()), _CLIENT)}


def _head_of(pieces: list[bytes], limit: int) -> tuple[bytes, bytes] | int:
    buffer = HeadBuffer(limit)
    rest = b""
    found = None
    for piece in pieces:
        if found is not None:
            rest += piece
            continue
        try:
            found = buffer.receive_data(piece)
        except BadRequest as bad:
            return bad.status
    return (found[0], found[1] + rest) if found is not None else 0


def handshake(data: bytes) -> None:
    """Any bytes are a good request, a refusal of fixed text, or not yet whole."""
    if not data:
        return
    limit = 16384 if data[0] & 128 else 300
    stream = data[1:]
    received = _head_of([stream], limit)
    assert received == _head_of(cut(stream, data[0] % 128), limit)
    if isinstance(received, int):
        return
    try:
        head = parse_request_head(received[0], max_lines=64)
        check_request(head)
        _check_params(head, stream)
        check_upgrade(head)
        check_origin(head, ())
        upgrade = Upgrade(head, choose_subprotocol(head, ("chat.v1", "v1")))
    except (BadRequest, Refused) as refusal:
        assert refusal.status in (400, 403, 405, 426, 431, 505)
        assert str(refusal).isascii()
        return
    for answer in (accept_response(upgrade), autobahn_head(upgrade)):
        assert answer.endswith(b"\r\n\r\n")
        assert answer.count(b"\r\n\r\n") == 1
        # Nothing that any reader could take for the end of a line, but the line ends.
        assert len(answer.decode("latin-1").splitlines()) == answer.count(b"\r\n")


def _check_params(head: RequestHead, stream: bytes) -> None:
    names = [name for name, _ in cgi.connection_params(head, _CLIENT)]
    assert len(names) == len(set(names))
    for name, value in cgi.connection_params(head, _CLIENT):
        assert name.startswith(b"HTTP_") or name in _OWN_NAMES
        assert name != b"HTTP_PROXY"
        assert not set(value) & {0, 10, 13}
    # No field that was not sent as one: each stands at the start of a line.
    for name, _ in head.headers:
        assert b"\r\n" + name + b":" in stream.lower()


# -- the fast lane


def _reference(data: bytes, start: int, limit: int) -> tuple[bytes, bool, int] | None:
    """RFC 6455 §5.2 word for word: the message at `start` if it is one short, whole, good frame."""
    try:
        first, second = data[start], data[start + 1]
        at = start + 2
        size = second & 127
        if first not in (0x81, 0x82) or not second & 128 or size == 127:
            return None
        if size == 126:
            (size,) = struct.unpack_from("!H", data, at)
            at += 2
            if size < 126:
                return None
        mask = data[at : at + 4]
        body = data[at + 4 : at + 4 + size]
    except (IndexError, struct.error):
        return None
    if len(mask) < 4 or len(body) < size or size > limit:
        return None
    payload = bytes(byte ^ mask[index & 3] for index, byte in enumerate(body))
    if first == 0x81:
        try:
            payload.decode("utf-8", "strict")
        except UnicodeDecodeError:
            return None
    return payload, first == 0x82, at + 4 + size


def fastlane(data: bytes) -> None:
    """What it takes is what the RFC says is there; for the rest it is None."""
    if len(data) < 2:
        return
    start, limit = min(data[0] % 16, len(data)), (data[1] + 1) * 8
    assert take_message(data, start, limit) == _reference(data, start, limit)
    _check_long_message(data, start, step=data[0] % 50 + 1)


def _check_long_message(data: bytes, start: int, step: int) -> None:
    long = LongMessage.begin(data, start, 70_000)
    if long is None:
        return
    body = data[start + LONG_HEADER :]
    taken = 0
    for piece in cut(body, step):
        rest = long.receive_data(piece)
        assert piece.endswith(rest)
        taken += len(piece) - len(rest)
        if not long.is_valid:
            assert not long.is_binary
            assert long.received() == data[start : start + LONG_HEADER] + body[:taken]
            return
        if long.is_whole:
            break
    mask = data[start + 10 : start + LONG_HEADER]
    expected = bytes(byte ^ mask[index & 3] for index, byte in enumerate(body[:taken]))
    assert bytes(long.payload) == expected
    if long.is_whole and not long.is_binary:
        expected.decode("utf-8", "strict")


def websocket(data: bytes) -> None:
    """A whole connection: the same answers and close codes with the fast lane and without."""
    if not data:
        return
    chunks = cut(data[1:], data[0] % 64)
    limit = 2000 if data[0] & 64 else 70_000
    assert outcome(chunks, limit, fast=True) == outcome(chunks, limit, fast=False)


# -- the session of PHP


def _written(value: Value, levels: int = 2) -> bytes:
    """The value as PHP would write it; without what is deeper, which may be itself."""
    if isinstance(value, Mapping):
        items = value.items() if levels else ()
        pieces = [_written(key) + _written(held, levels - 1) for key, held in items]
        return b"a:%d:{%s}" % (len(pieces), b"".join(pieces))
    if isinstance(value, bytes):
        return b's:%d:"%s";' % (len(value), value)
    if isinstance(value, Float):
        return b"d:%s;" % value.written.encode()
    if isinstance(value, bool):
        return b"b:%d;" % value
    return b"i:%d;" % value if isinstance(value, int) else b"N;"


def session(data: bytes) -> None:
    """Any bytes are a session or Unreadable; what is read of it, written anew, is read the same."""
    if not data:
        return
    handler = list(READERS)[data[0] % len(READERS)]
    try:
        found = read_session(data[1:], handler)
    except Unreadable as error:
        assert str(error).isascii()
        assert len(str(error)) < 300
        return
    assert len(found) <= MAX_VALUES
    for name, value in found.items():
        written = _written(value)
        assert _written(unserialize(written)) == written
        assert find(found, "a.b.0") is None or b"a" in found
        lacking(found, [name.decode("latin-1")])


# -- tokens


_SECRET = b"0123456789abcdefghijklmnopqrstuv"
_RULES = Rules(algorithms=frozenset({"HS256"}), largest=1 << 20)
_NOW = 1e9


def _check_token(text: str) -> None:
    try:
        presented = opened(text, _RULES)
        keys = [Key(_SECRET, _RULES.algorithms)]
        token = verified(presented, keys, _RULES, _NOW)
    except TokenRefused as error:
        assert str(error).isprintable()
        assert len(str(error)) < 200
        return
    assert token.ends is not None
    assert token.ends > _NOW
    assert value_at(token.claims, "a.b.c") is None or "a" in "".join(token.claims)
    with contextlib.suppress(RecursionError):
        as_param(value_at(token.claims, "a"))


def token(data: bytes) -> None:
    """Any bytes are a token, the claims of one, a set of keys, or a signed URL; or are refused."""
    if not data:
        return
    kind, rest = data[0] % 4, data[1:]
    if kind == 0:
        _check_token(rest.decode("latin-1"))
    elif kind == 1:
        head = "eyJhbGciOiJIUzI1NiJ9." + urlsafe_b64encode(rest).rstrip(b"=").decode()
        digest = hmac.digest(_SECRET, head.encode(), "sha256")
        _check_token(f"{head}.{urlsafe_b64encode(digest).rstrip(b'=').decode()}")
    elif kind == 2:
        for read in (from_file, from_server):
            with contextlib.suppress(KeyUnusable):
                assert all(key.algorithms for key in read(rest, frozenset(ALGORITHMS)))
    else:
        query = rest.decode("latin-1")
        with contextlib.suppress(UrlRefused):
            signed = f"{query}&signature={signature(_SECRET, '/', query)}"
            assert verified_url("/", signed, [_SECRET], _NOW, None).ends > _NOW
            assert len(value_in(query, "expires")) <= 12


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (fastcgi_answer, cgi_header, handshake, fastlane, websocket, session, token)
}
"""By the name that `scripts/fuzz` takes."""
