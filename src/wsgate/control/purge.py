"""`DELETE /cache`: cached answers are forgotten, in all processes."""

from __future__ import annotations

from os import urandom

from wsgate.control.answers import Answer, Asked, Endpoint, Operation, Parameter, Said, told
from wsgate.control.forms import count
from wsgate.control.push import Source
from wsgate.hooks.cache.purging import LONGEST_ROUTE, MARK_SIZE, TOPIC, Purge, written


def _read_route(text: str) -> str:
    if not text.startswith("/") or len(text.encode()) > LONGEST_ROUTE:
        raise ValueError(
            f"not the path of a route; write one like /prices, of {LONGEST_ROUTE} bytes at most"
        )
    return text


_ROUTE = Parameter(
    "route",
    "the path of the route in the settings; all routes if left out",
    {"type": "string", "pattern": "^/", "maxLength": LONGEST_ROUTE},
    _read_route,
    "",
)


def purging(source: Source) -> list[Endpoint]:
    """The endpoint."""

    async def purge(asked: Asked) -> Answer:
        notice = written(Purge(urandom(MARK_SIZE), asked.values["route"]))
        return told(200, {"reached": await source().notify(TOPIC, notice)})

    says = {200: Said("How many processes with a cache are told.", count("reached"))}
    return [
        Endpoint(
            ("cache",),
            {
                "DELETE": Operation(
                    purge,
                    "purgeCache",
                    "Let PHP be asked again, whatever it has said before",
                    says,
                    (_ROUTE,),
                    asks_others=True,
                )
            },
        )
    ]
