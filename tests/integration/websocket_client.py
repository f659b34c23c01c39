"""Where tests connect with websockets.sync: with patience, and over TLS without a race."""

from typing import Any

from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as _connect

from tests.integration.shared_tls import shared

OPEN_TIMEOUT = 60.0
"""Seconds; its own 10 are too few where a start of PHP and the browser share a busy processor."""


def connect(url: str, **options: Any) -> ClientConnection:
    """A client; no proxy of the environment. `options` are those of websockets.sync."""
    if "ssl" in options:
        shared(options["ssl"])
    return _connect(url, **{"proxy": None, "open_timeout": OPEN_TIMEOUT} | options)
