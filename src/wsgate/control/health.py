"""`/healthz` and `/readyz`: whether the process lives, and whether it should get clients."""

from __future__ import annotations

from collections.abc import Callable

from wsgate.control.answers import Answer, Asked, Endpoint, told

NotReady = Callable[[], str | None]
"""Why no clients should be sent here now, in a few words; None if they should."""


def health(not_ready: NotReady) -> list[Endpoint]:
    """Both endpoints."""

    def readyz(_: Asked) -> Answer:
        reason = not_ready()
        if reason is None:
            return told(200, {"ready": True})
        return told(503, {"ready": False, "reason": reason})

    return [
        # That it is answered at all is what it says.
        Endpoint(("healthz",), {"GET": lambda _: told(200, {"alive": True})}),
        Endpoint(("readyz",), {"GET": readyz}),
    ]
