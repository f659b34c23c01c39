"""`/healthz` and `/readyz`: whether the process lives, and whether it should get clients."""

from __future__ import annotations

from collections.abc import Callable

from wsgate.control.answers import Answer, Asked, Endpoint, Operation, Said, object_of, told

NotReady = Callable[[], str | None]
"""Why no clients should be sent here now, in a few words; None if they should."""


def health(not_ready: NotReady) -> list[Endpoint]:
    """Both endpoints."""

    def readyz(_: Asked) -> Answer:
        reason = not_ready()
        if reason is None:
            return told(200, {"ready": True})
        return told(503, {"ready": False, "reason": reason})

    def healthz(_: Asked) -> Answer:
        # That it is answered at all is what it says.
        return told(200, {"alive": True})

    is_alive = {200: Said("It is.", object_of(alive={"const": True}))}
    is_ready = {
        200: Said("It should.", object_of(ready={"const": True})),
        503: Said("It should not.", object_of(ready={"const": False}, reason={"type": "string"})),
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
