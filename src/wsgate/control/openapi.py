"""`/openapi.json`: the table that routes requests, as OpenAPI 3.1 describes it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wsgate import __version__
from wsgate.control.answers import (
    ERROR,
    Answer,
    Asked,
    Endpoint,
    Operation,
    Parameter,
    Part,
    Said,
    template,
    told,
)

_ABOUT = """Pushes messages to WebSocket clients of wsgate, and tells how it is.

Delivered means written to the socket of a client that was open, or in line behind what was written
before; whether the client has read it only the client can say. A message is text or binary by its
Content-Type: text/*, JSON, XML, JavaScript, form types and no type at all are text and have to be
UTF-8, everything else is binary."""


def described(endpoints: Sequence[Endpoint], *, needs_token: bool) -> list[Endpoint]:
    """`endpoints`, and one more that describes all of them."""
    table = list(endpoints)

    def get(_: Asked) -> Answer:
        return told(200, description(table, needs_token=needs_token))

    says = {200: Said("This description, in OpenAPI 3.1.", {"type": "object"})}
    what = "This description"
    table.append(Endpoint(("openapi.json",), {"GET": Operation(get, "describe", what, says)}))
    return table


def description(endpoints: Sequence[Endpoint], *, needs_token: bool) -> dict[str, Any]:
    """The description of all `Operation`s that are there now."""
    paths: dict[str, Any] = {}
    for endpoint in (e for e in endpoints if e.is_there()):
        operations = {m: o for m, o in endpoint.methods.items() if isinstance(o, Operation)}
        if operations:
            paths[template(endpoint)] = _item(endpoint, operations, needs_token=needs_token)
    components: dict[str, Any] = {"schemas": {"Error": ERROR}}
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "wsgate", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": components,
    }
    if needs_token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"token": []}]
    return described


def _item(
    endpoint: Endpoint, operations: dict[str, Operation], *, needs_token: bool
) -> dict[str, Any]:
    parts = [segment for segment in endpoint.path if isinstance(segment, Part)]
    item: dict[str, Any] = {m.lower(): _operation(o, needs_token) for m, o in operations.items()}
    if parts:
        item["parameters"] = [_in("path", part) | {"required": True} for part in parts]
    return item


def _operation(operation: Operation, needs_token: bool) -> dict[str, Any]:
    says = {**_usual(operation, needs_token), **operation.says}
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.what,
        "responses": {str(status): _response(said) for status, said in sorted(says.items())},
    }
    if operation.parameters:
        described["parameters"] = [_in("query", p) for p in operation.parameters]
    if operation.takes_message:
        described["requestBody"] = _MESSAGE
    if operation.takes is not None:
        content = {"application/json": {"schema": operation.takes}}
        described["requestBody"] = {"required": True, "content": content}
    return described


_TEXT = {"schema": {"type": "string"}}
_MESSAGE = {
    "description": "The message; none is an empty one.",
    "content": {
        "text/plain": _TEXT,
        "application/json": {"schema": {}},
        "application/octet-stream": {"schema": {}},
    },
}


def _in(where: str, it: Part | Parameter) -> dict[str, Any]:
    return {"name": it.name, "in": where, "description": it.what, "schema": it.schema}


def _response(said: Said) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"} if said.schema is ERROR else said.schema
    return {"description": said.what, "content": {said.content_type: {"schema": schema}}}


def _usual(operation: Operation, needs_token: bool) -> dict[int, Said]:
    """The errors that any operation of this kind may come to."""
    says = {
        400: Said("What the path, the query or the body says is wrong.", ERROR),
        411: Said("The body has no Content-Length.", ERROR),
        413: Said("The body is too long.", ERROR),
        415: Said("The body is compressed, or its Content-Type no media type.", ERROR),
    }
    if needs_token:
        says[401] = Said("The token is missing or wrong.", ERROR)
    if operation.asks_others:
        says[503] = Said("It cannot be done now; nothing was.", ERROR)
        says[504] = Said("Nobody knows: another process did not answer in time.", ERROR)
    return says
