"""Requests and answers as plain values, and which action answers which path. Pure.

One table of `Endpoint`s routes requests and is what the description in OpenAPI is made from.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from wsgate.control.urls import Malformed, read_query, read_segments


class Asked(NamedTuple):
    """One request.

    `path` and `query` are as sent; `parts` are those of the path that stand where a template has a
    `Part` or None, decoded; `values` are the query's, by the names of the operation's parameters.
    `may_all` says whether who asks may ask everything; else the endpoint's `proof` has let it in,
    which may not hold any more.
    """

    method: str
    path: str
    accept: str = ""
    body: bytes = b""
    parts: tuple[str, ...] = ()
    query: str = ""
    content_type: str = ""
    authorization: str = ""
    values: Mapping[str, Any] = {}
    may_all: bool = False


class Answer(NamedTuple):
    """One answer. `headers` come beside Content-Type and Content-Length."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Action = Callable[[Asked], Answer | Awaitable[Answer]]
"""What makes an answer, or promises one. It may raise `Refusal`, at once or later."""


class Refusal(Exception):
    """A request that is answered with an error: `str()` is its reason, for who asked."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status

    @property
    def answer(self) -> Answer:
        """What to send."""
        return refused(self.status, str(self))


class Part(NamedTuple):
    """A segment of a path that names something.

    `read` gives what the action gets, or raises ValueError with what would be right; then the
    answer has `status`. `schema` is the same rule in JSON Schema.
    """

    name: str
    what: str
    schema: Mapping[str, object]
    read: Callable[[str], str]
    status: int = 400


class Parameter(NamedTuple):
    """A parameter of a query, never needed. `read` is as that of `Part`."""

    name: str
    what: str
    schema: Mapping[str, object]
    read: Callable[[str], object]
    default: object = None


class Said(NamedTuple):
    """An answer as OpenAPI describes it: when it comes, and the JSON Schema of its body."""

    what: str
    schema: Mapping[str, object]
    content_type: str = "application/json"


class Operation(NamedTuple):
    """What one method of a path does, and all that is told about it.

    `name` is short and unique, `says` holds the answers of its own by status. With `takes_message`
    the body is a message for clients, with `takes` JSON of this schema; with `asks_others` other
    processes may have to be asked. Without `parameters` a query is passed over.
    """

    action: Action
    name: str
    what: str
    says: Mapping[int, Said]
    parameters: tuple[Parameter, ...] | None = ()
    takes_message: bool = False
    asks_others: bool = False
    takes: Mapping[str, object] | None = None


def always() -> bool:
    """Say yes."""
    return True


class Endpoint(NamedTuple):
    """One path: its segments, None for any one, and what each method does.

    A bare `Action` is told nothing about, and reads the query itself. `proof` says whether a value
    of Authorization lets in here whoever has not the token of `--control-token-file`. While
    `is_there` says no, there is nothing at the path.
    """

    path: tuple[str | Part | None, ...]
    methods: Mapping[str, Operation | Action]
    proof: Callable[[str], bool] | None = None
    is_there: Callable[[], bool] = always


def object_of(**properties: object) -> dict[str, object]:
    """The schema of an object with these properties, all of them always there."""
    return {"type": "object", "properties": properties, "required": list(properties)}


ERROR = object_of(error=object_of(status={"type": "integer"}, reason={"type": "string"}))
"""The schema of what `refused` makes."""


def told(status: int, value: object) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(value, separators=(",", ":")).encode() + b"\n")


def refused(status: int, reason: str, *headers: tuple[str, str]) -> Answer:
    """An error, in the same form as those that clients get."""
    error = {"error": {"status": status, "reason": reason}}
    return told(status, error)._replace(headers=headers)


def answer(endpoints: Sequence[Endpoint], asked: Asked) -> Answer | Awaitable[Answer]:
    """The answer of the endpoint with this path; 404 without one, 405 for another method.

    HEAD is answered like GET; who sends it leaves the body out. What the path or the query does not
    say rightly is 400.
    """
    try:
        return _answer(endpoints, asked)
    except Malformed as error:
        return refused(400, str(error))
    except Refusal as refusal:
        return refusal.answer


def is_proved(endpoints: Sequence[Endpoint], path: str, authorization: str) -> bool:
    """Whether `authorization` lets in at this path without the token, by the endpoint's `proof`."""
    found = endpoint_at(endpoints, path)
    return found is not None and found.proof is not None and found.proof(authorization)


def endpoint_at(endpoints: Sequence[Endpoint], path: str) -> Endpoint | None:
    """The endpoint with this path, as sent; None if there is none."""
    try:
        segments = read_segments(path)
    except Malformed:
        return None
    return _found(endpoints, segments)


def _found(endpoints: Sequence[Endpoint], segments: Sequence[str]) -> Endpoint | None:
    return next((e for e in endpoints if _matches(e.path, segments) and e.is_there()), None)


def template(endpoint: Endpoint) -> str:
    """Its path, with names in braces for what may be anything: `/users/{user}`."""
    return "".join(f"/{s if isinstance(s, str) else _braced(s)}" for s in endpoint.path)


def _braced(part: Part | None) -> str:
    return f"{{{part.name}}}" if part is not None else "{}"


def _answer(endpoints: Sequence[Endpoint], asked: Asked) -> Answer | Awaitable[Answer]:
    segments = read_segments(asked.path)
    endpoint = _found(endpoints, segments)
    if endpoint is None:
        return refused(404, "there is nothing at this path")
    method = "GET" if asked.method == "HEAD" else asked.method
    does = endpoint.methods.get(method)
    if does is None:
        return refused(405, "method not allowed", ("Allow", allowed(endpoint)))
    return _perform(does, asked._replace(parts=_parts(endpoint.path, segments)))


def _perform(does: Operation | Action, asked: Asked) -> Answer | Awaitable[Answer]:
    if isinstance(does, Operation):
        if does.parameters is None:
            return does.action(asked)
        return does.action(asked._replace(values=_values(does.parameters, asked.query)))
    return does(asked)


def _matches(template: Sequence[str | Part | None], segments: Sequence[str]) -> bool:
    return len(template) == len(segments) and all(
        wanted == given or not isinstance(wanted, str)
        for wanted, given in zip(template, segments, strict=True)
    )


def _parts(template: Sequence[str | Part | None], segments: Sequence[str]) -> tuple[str, ...]:
    pairs = zip(template, segments, strict=True)
    return tuple(_part(wanted, given) for wanted, given in pairs if not isinstance(wanted, str))


def _part(wanted: Part | None, given: str) -> str:
    if wanted is None:
        return given
    try:
        return wanted.read(given)
    except ValueError as error:
        raise Refusal(wanted.status, str(error)) from None


def _values(parameters: Sequence[Parameter], query: str) -> Mapping[str, Any]:
    given = read_query(query, frozenset(parameter.name for parameter in parameters))
    return {p.name: _value(p, given[p.name]) if p.name in given else p.default for p in parameters}


def _value(parameter: Parameter, given: str) -> object:
    try:
        return parameter.read(given)
    except ValueError as error:
        raise Refusal(400, f"parameter {parameter.name}: {error}") from None


def allowed(endpoint: Endpoint) -> str:
    """Its methods, as the Allow field has them (RFC 9110 §10.2.1)."""
    methods = set(endpoint.methods) | ({"HEAD"} if "GET" in endpoint.methods else set())
    return ", ".join(sorted(methods))
