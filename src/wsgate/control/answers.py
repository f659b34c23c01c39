"""Requests and answers as plain values, and which function answers which path. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Asked(NamedTuple):
    """One request. `parts` are those of its path that stand where a template has None."""

    method: str
    path: str
    accept: str = ""
    body: bytes = b""
    parts: tuple[str, ...] = ()


class Answer(NamedTuple):
    """One answer. `headers` come beside Content-Type and Content-Length."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Action = Callable[[Asked], Answer]


class Endpoint(NamedTuple):
    """One path: its segments, None for any one, and what each method does."""

    path: tuple[str | None, ...]
    methods: Mapping[str, Action]


def told(status: int, value: object) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(value, separators=(",", ":")).encode() + b"\n")


def refused(status: int, reason: str, *headers: tuple[str, str]) -> Answer:
    """An error, in the same form as those that clients get."""
    error = {"error": {"status": status, "reason": reason}}
    return told(status, error)._replace(headers=headers)


def answer(endpoints: Sequence[Endpoint], asked: Asked) -> Answer:
    """The answer of the endpoint with this path; 404 without one, 405 for another method.

    HEAD is answered like GET; who sends it leaves the body out.
    """
    segments = tuple(asked.path.removeprefix("/").split("/"))
    for endpoint in endpoints:
        parts = _match(endpoint.path, segments)
        if parts is None:
            continue
        method = "GET" if asked.method == "HEAD" else asked.method
        action = endpoint.methods.get(method)
        if action is None:
            return refused(405, "method not allowed", ("Allow", _allowed(endpoint)))
        return action(asked._replace(parts=parts))
    return refused(404, "there is nothing at this path")


def _match(template: tuple[str | None, ...], segments: tuple[str, ...]) -> tuple[str, ...] | None:
    if len(template) != len(segments):
        return None
    pairs = list(zip(template, segments, strict=True))
    if any(wanted not in (None, given) for wanted, given in pairs):
        return None
    return tuple(given for wanted, given in pairs if wanted is None)


def _allowed(endpoint: Endpoint) -> str:
    methods = set(endpoint.methods) | ({"HEAD"} if "GET" in endpoint.methods else set())
    return ", ".join(sorted(methods))
