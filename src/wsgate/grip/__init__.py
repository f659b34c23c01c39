"""The dialect GRIP: WebSocket-over-HTTP as Pushpin and Fanout speak it, over FastCGI.

events.py    the body of requests and answers, `application/websocket-events` (pure)
control.py   what a script asks of the gateway by `c:` messages (pure)
request.py   the variables of a request, and what a client may not forge (pure)
signing.py   `Grip-Sig`, and the tokens of publishers
"""
