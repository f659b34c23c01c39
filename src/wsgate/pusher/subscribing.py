"""Whether a client may have a channel. Pure."""

from __future__ import annotations

from wsgate.pusher import names, told
from wsgate.pusher.app import App
from wsgate.pusher.asked import Subscribe
from wsgate.pusher.roster import BadMember, Person, person_of
from wsgate.pusher.signatures import subscription_is_signed


class NotSubscribed(Exception):
    """A subscription is refused. `kind` and `status` are what the client is told with the text."""

    def __init__(self, kind: str, reason: str, status: int) -> None:
        super().__init__(reason)
        self.kind = kind
        self.status = status


def check_subscribe(
    app: App, asked: Subscribe, socket_id: str, signed_in: str | None
) -> Person | None:
    """See whether a client may have the channel that it asks for.

    Args:
        app: whose channel it is.
        asked: what the client said.
        socket_id: the client's.
        signed_in: the user who it is, if it has signed in.

    Returns:
        Who it is in a presence channel, None for any other.

    Raises:
        NotSubscribed: it may not.
    """
    channel = asked.channel
    user = names.user_of(channel)
    if user is not None:
        if user != signed_in:
            raise NotSubscribed("AuthError", "This is the channel of another user", 401)
        return None
    if not names.is_channel(channel):
        raise NotSubscribed("InvalidChannel", "Invalid channel name", 400)
    if not names.is_private(channel):
        return None
    if not subscription_is_signed(app, socket_id, channel, asked.channel_data, asked.auth):
        raise NotSubscribed("AuthError", _UNSIGNED, 401)
    return _person(app, asked) if names.is_presence(channel) else None


_UNSIGNED = (
    "Invalid signature: auth must be the app's key, a colon, and the HMAC-SHA256 by its secret of "
    "socket id, channel and channel_data"
)


def _person(app: App, asked: Subscribe) -> Person:
    try:
        person = person_of(asked.channel_data)
    except BadMember as error:
        raise NotSubscribed("InvalidData", str(error), 400) from None
    most = app.max_presence_member_size
    if len(told.encoded(person.info).encode()) > most:
        raise NotSubscribed("LimitReached", f"user_info may have {most} bytes", 4301)
    return person
