"""The HTTP API: what an application asks of its channels.

Pusher's documentation, "HTTP API reference".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from wsgate.channels import BusError, ChannelError
from wsgate.control.answers import Answer, Asked, Endpoint, told
from wsgate.pusher import calls, names
from wsgate.pusher.application import Application
from wsgate.pusher.calls import Call, Refused

Find = Callable[[str], Application | None]
"""The application of an id."""


class Checked(NamedTuple):
    """A request that its application has signed. `part` is what its path names, if anything."""

    application: Application
    part: str
    query: Mapping[str, str]
    body: bytes


Does = Callable[[Checked], Awaitable[object]]


def api(find: Find, now: Callable[[], float]) -> list[Endpoint]:
    """The endpoints below `/apps/`.

    Args:
        find: gives the application of an id.
        now: Unix time in seconds, which signatures must be of.
    """

    def checked(does: Does) -> Callable[[Asked], Awaitable[Answer]]:
        async def act(asked: Asked) -> Answer:
            try:
                application, query = check(find, now, _call(asked))
                part = asked.parts[1] if len(asked.parts) > 1 else ""
                value = await does(Checked(application, part, query, asked.body))
                return told(200, value)
            except Refused as error:
                return refusal(error)
            except ChannelError:
                return refusal(Refused(503, "Too much is being sent, try again later"))
            except BusError:
                return refusal(Refused(503, "Other processes cannot be reached, try again later"))

        return act

    def at(*path: str | None, **methods: Does) -> Endpoint:
        actions = {method: checked(does) for method, does in methods.items()}
        return Endpoint(("apps", None, *path), actions)

    return [
        at("events", POST=_events),
        at("batch_events", POST=_batch_events),
        at("channels", GET=_channels),
        at("channels", None, GET=_channel),
        at("channels", None, "users", GET=_users),
        at("users", None, "terminate_connections", POST=_terminate),
    ]


def check(
    find: Find, now: Callable[[], float], call: Call
) -> tuple[Application, Mapping[str, str]]:
    """The application that a call is for and has signed it, and the values of its query.

    Raises:
        Refused: 404 without such an application, otherwise as `check_call`.
    """
    application = find(call.path.split("/")[2]) if call.path.startswith("/apps/") else None
    if application is None:
        raise Refused(404, "Unknown app_id")
    return application, calls.check_call(application.app, call, now())


def refusal(error: Refused) -> Answer:
    """An error, as Pusher says it."""
    return Answer(error.status, f"{error}\n".encode(), "text/plain; charset=utf-8")


def _call(asked: Asked) -> Call:
    return Call(asked.method, asked.path, asked.query, asked.body)


async def _events(asked: Checked) -> object:
    event = calls.trigger(asked.application.app, asked.body)
    await asked.application.trigger(event)
    if not event.info:
        return {}
    return {"channels": {c: await asked.application.info(c, event.info) for c in event.channels}}


async def _batch_events(asked: Checked) -> object:
    events = calls.batch(asked.application.app, asked.body)
    found = []
    for event in events:
        await asked.application.trigger(event)
        found.append(await asked.application.info(event.channels[0], event.info))
    return {"batch": found} if any(event.info for event in events) else {}


async def _channels(asked: Checked) -> object:
    attributes = calls.info(asked.query.get("info"))
    counts = await asked.application.occupied(asked.query.get("filter_by_prefix", ""))
    found: dict[str, dict[str, object]] = {}
    for name, count in counts.items():
        found[name] = {"subscription_count": count}
        found[name].update(await asked.application.info(name, attributes & {"user_count"}))
    return {"channels": found}


async def _channel(asked: Checked) -> object:
    if not names.is_channel(asked.part):
        raise Refused(400, "Invalid channel name")
    attributes = calls.info(asked.query.get("info"))
    count = await asked.application.subscribers(asked.part)
    found = await asked.application.info(asked.part, attributes & {"user_count"})
    return {"occupied": count > 0, "subscription_count": count, **found}


async def _users(asked: Checked) -> object:
    if not names.is_presence(asked.part):
        raise Refused(400, "Users can only be retrieved for presence channels")
    return {"users": [{"id": user} for user in asked.application.presence.members(asked.part)]}


async def _terminate(asked: Checked) -> object:
    await asked.application.terminate(asked.part)
    return {}
