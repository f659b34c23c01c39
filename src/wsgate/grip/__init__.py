"""The dialect GRIP: WebSocket-over-HTTP as Pushpin and Fanout speak it, over FastCGI.

events.py        the body of requests and answers, `application/websocket-events` (pure)
request.py       the variables of a request, and what a client may not forge (pure)
answer.py        what PHP's answers mean (pure)
control.py       what a script asks of the gateway by `c:` messages (pure)
controlled.py    what it has said of one connection so far, and pulses.py: what is sent by itself
signing.py       `Grip-Sig`, and the tokens of publishers; keys.py: keys that may be exchanged
conversation.py  one connection; sharing.py, dialect.py: what those of a route have in common
publish.py       what `/publish/` is sent; names.py: GRIP's channels as the gateway's (pure)
ordering.py      items that say which one came before them
publishing.py    `/publish/` of the control interface
make.py          all of it from settings
"""

from wsgate.grip.make import Publishing, make_grip
from wsgate.grip.request import replayed

__all__ = ["Publishing", "make_grip", "replayed"]
