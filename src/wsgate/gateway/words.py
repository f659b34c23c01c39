"""What hooks say, made fit to be sent: no word of theirs breaks HTTP or WebSocket. Pure.

A refusal stays one, whatever is wrong with it.
"""

from __future__ import annotations

import json
import re

from wsgate.gateway.actions import is_sendable
from wsgate.gateway.admission import RefusedByBackend
from wsgate.hooks import Answer, Close, NoWord, Refuse
from wsgate.oneline import one_line

# RFC 9110 §5.1 and §5.5: a token; no CR, LF or NUL, nor any other control character but the tab.
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

# About this connection (RFC 9110 §7.6.1) and its handshake, which are ours.
_OURS = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"),
        *("upgrade", "content-length", "sec-websocket-accept", "sec-websocket-extensions"),
        *("sec-websocket-protocol", "sec-websocket-key"),
    }
)

LONGEST_REASON = 500

_CLOSE_CODES = frozenset({1000, 1008, 1011, 1013})


def fit_headers(
    headers: object,
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Those fields that may be sent, and the names of those left out, fit for the log."""
    fit: list[tuple[str, str]] = []
    left_out: list[str] = []
    for field in headers if isinstance(headers, (tuple, list)) else ():
        name, value = field if isinstance(field, (tuple, list)) and len(field) == 2 else ("", "")
        if _is_fit(name, value):
            fit.append((name, value))
        else:
            left_out.append(one_line(repr(name)[:80].encode("ascii", "replace")))
    return tuple(fit), tuple(left_out)


def _is_fit(name: object, value: object) -> bool:
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and _FIELD_NAME.fullmatch(name) is not None
        and _FIELD_VALUE.fullmatch(value) is not None
        and name.lower() not in _OURS
    )


def fit_status(status: object) -> int:
    """A status that refuses (RFC 9110 §15): 403 for any that does not."""
    fits = isinstance(status, int) and not isinstance(status, bool) and 300 <= status <= 599
    return int(str(status)) if fits else 403


def fit_reason(reason: object) -> str:
    """A reason on one line, of bounded length."""
    text = reason if isinstance(reason, str) else "refused"
    shown = "".join(c if c.isprintable() else " " for c in text[:LONGEST_REASON])
    return shown or "refused"


def refusal_at_the_door(said: Refuse) -> tuple[RefusedByBackend, tuple[str, ...]]:
    """The answer to a handshake that a hook refuses, and the headers left out of it."""
    headers, left_out = fit_headers(said.headers)
    status = fit_status(said.status)
    if isinstance(said.body, (bytes, bytearray, memoryview)):
        # RFC 9110 §15.4.5: a 304 has no body.
        return RefusedByBackend(
            status, headers, b"" if status == 304 else bytes(said.body)
        ), left_out
    if status == 304:
        return RefusedByBackend(status, headers, b""), left_out
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers += (("Content-Type", "text/plain; charset=utf-8"),)
    text = fit_reason(said.reason)
    body = f"{text[:1].upper()}{text[1:]}\n".encode(errors="replace")
    return RefusedByBackend(status, headers, body), left_out


def refusal_of_message(said: Refuse, message_id: str) -> bytes:
    """The error message of the contract, for a message that a hook refuses."""
    error = {
        "status": fit_status(said.status),
        "reason": fit_reason(said.reason),
        "message_id": message_id,
    }
    return json.dumps({"error": error}, separators=(",", ":")).encode()


def fit_close(said: Close) -> tuple[int, str]:
    """Code and reason that may be sent: 1008 for any other code."""
    code = said.code
    is_fit = isinstance(code, int) and not isinstance(code, bool)
    if not (is_fit and is_sendable(code) and (code in _CLOSE_CODES or code >= 3000)):
        code = 1008
    reason = said.reason if isinstance(said.reason, str) else ""
    return code, reason.encode(errors="replace").decode()


def fit_payload(said: Answer) -> bytes | memoryview | None:
    """The payload as it can be sent.

    Raises:
        NoWord: it is text that is not UTF-8 (RFC 6455 §8.1), or no bytes at all.
    """
    payload = said.payload
    if payload is None or (type(payload) is bytes and (said.is_binary or payload.isascii())):
        return payload
    if isinstance(payload, str):
        payload = payload.encode(errors="surrogatepass")
    if not isinstance(payload, (bytes, bytearray, memoryview)):
        raise NoWord(f"an answer of {type(payload).__name__}; write bytes")
    if said.is_binary:
        return payload if isinstance(payload, memoryview) else bytes(payload)
    whole = bytes(payload)
    try:
        whole.decode()
    except UnicodeDecodeError:
        raise NoWord("an answer that is text but not UTF-8; write is_binary=True") from None
    return whole
