"""The HTTP control interface of `--control`: push, health and metrics.

It answers from memory and never waits for PHP. Who may ask is decided before a body is read.

answers.py   requests and answers as plain values, and the table of paths; urls.py: a path and a
             query, read strictly (pure)
push.py      messages, closes, subscriptions; forms.py: the names and values in them, read and
             described; openapi.py: /openapi.json, made from the table
purge.py     /cache: cached answers are forgotten
health.py    /healthz and /readyz; metrics.py: /metrics; page.py: the metrics for people
http.py      the same over HTTP; factory.py: the limits on it; turns.py: its share of the time
token.py     the token of --control-token-file
service.py   the port, and what is served with it, as one service; make.py: from settings
"""

from wsgate.control.make import controlled

__all__ = ["controlled"]
