"""The dialect Pusher, protocol 7: for applications that know Pusher, Reverb or soketi.

Clients are answered by wsgate itself; PHP speaks to it by the HTTP API, and hears by webhooks.

asked.py, told.py        messages both ways; faults.py: errors; names.py: channels; socketid.py
signatures.py            what is signed; calls.py, subscribing.py: who may what (all pure)
conversation.py          one client
application.py           one application: channels, presence.py, cache.py, webhooks.py
applications.py          all of them
api.py, serving.py       the HTTP API, also on the clients' port
"""

from wsgate.pusher.app import WEBHOOKS, App
from wsgate.pusher.applications import Applications, Served
from wsgate.pusher.secret import read_app_secret
from wsgate.pusher.serving import ApiFactory

__all__ = [
    "WEBHOOKS",
    "ApiFactory",
    "App",
    "Applications",
    "Served",
    "read_app_secret",
]
