"""What schemathesis is told of wsgate beside its description: loaded by it, in its process.

WSGATE_URL is where clients connect. Every other request that names a connection rightly gets the id
of one that is open, and every other publish is for the room that such a one is in; what no JSON
Schema can say of a name, a reason or a text is left out.
"""

import base64
import os
from itertools import count
from urllib.parse import unquote

import schemathesis

from tests.integration.websocket_client import connect

_numbers = count()
_guests = []


def open_connection():
    """A new connection's id. It reads whatever it is sent, and may be closed at any time."""
    client = connect(os.environ["WSGATE_URL"], compression=None, max_size=None)
    client.send("who am I?")
    connection_id = client.recv(timeout=30)
    client.recv_messages.high = None
    _guests.append(client)
    return connection_id


def is_positive(case):
    return case.meta is None or case.meta.generation.mode.is_positive


def can_be_published(item):
    """Whether its channel is short enough once it is escaped, and its text is UTF-8."""
    channel = [1 if c.isascii() and c.isalnum() else 3 * len(c.encode()) for c in item["channel"]]
    message = item.get("formats", {}).get("ws-message") or {}
    try:
        if message.get("type") == "text" and message.get("action", "send") == "send":
            base64.b64decode(message.get("content-bin") or "").decode()
    except UnicodeDecodeError:
        return False
    return sum(channel) <= 164


@schemathesis.hook
def filter_case(context, case):
    if not is_positive(case):
        return True
    # As it stands in the path.
    user = unquote((case.path_parameters or {}).get("user", "x"))
    reason = (case.query or {}).get("reason", "")
    if case.path == "/publish/" and not all(map(can_be_published, case.body["items"])):
        return False
    return user.isprintable() and reason.isprintable() and len(reason.encode()) <= 123


@schemathesis.hook
def before_call(context, case, kwargs):
    named = case.path_parameters or {}
    is_publish = case.path == "/publish/"
    if not (is_publish or "id" in named) or not is_positive(case) or next(_numbers) % 2:
        return
    if is_publish:
        open_connection()
        for item in case.body["items"]:
            item["channel"] = "room"
            # What went out under an id does so once in a minute.
            item.pop("id", None)
            item.pop("prev-id", None)
        return
    # What is changed is judged anew, as it stands in the path: %40 would be no channel.
    if all(unquote(value) == value for value in named.values()):
        named["id"] = open_connection()
