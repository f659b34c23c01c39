"""`/healthz` and `/readyz`: whether the process lives, and whether it should get clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wsgate.control.answers import Answer, Asked, Endpoint, Operation, Said, object_of, told

NotReady = Callable[[], str | None]
"""Why no clients should be sent here now, in a few words; None if they should."""


_TEXT = {"type": "string"}

Stores = Callable[[], Mapping[str, str]]
"""Each store that hooks may ask, "up" or "down"."""


def health(not_ready: NotReady, stores: Stores = dict) -> list[Endpoint]:
    """Both endpoints.

    A store that is down is told of, and no reason to get no clients: all gateways would be without
    them at once, and each route says by `on_hook_failure` what it does then.
    """

    def readyz(_: Asked) -> Answer:
        reason = not_ready()
        more = {"stores": dict(seen)} if (seen := stores()) else {}
        if reason is None:
            return told(200, {"ready": True, **more})
        return told(503, {"ready": False, "reason": reason, **more})

    def healthz(_: Asked) -> Answer:
        # That it is answered at all is what it says.
        return told(200, {"alive": True})

    is_alive = {200: Said("It is.", object_of(alive={"const": True}))}
    is_ready = {
        200: Said("It should.", _with_stores(ready={"const": True})),
        503: Said(
            "It should not.", _with_stores(ready={"const": False}, reason={"type": "string"})
        ),
    }
    return [
        Endpoint(
            ("healthz",), {"GET": Operation(healthz, "isAlive", "Whether it lives", is_alive)}
        ),
        Endpoint(
            ("readyz",),
            {"GET": Operation(readyz, "isReady", "Whether it should get clients", is_ready)},
        ),
    ]


def _with_stores(**properties: object) -> dict[str, object]:
    """As `object_of`; with the stores too, if there are any."""
    stores = {"type": "object", "additionalProperties": {"enum": ["up", "down"]}}
    return object_of(**properties) | {"properties": {**properties, "stores": stores}}
