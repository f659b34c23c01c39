"""Redis as wsgate's client sees it: where it is, a connection that comes back, scripts.

url.py         where Redis is (pure)
connection.py  one connection: RESP3 by hiredis over Twisted
client.py      the connection made again when it ends
scripts.py     Lua that runs as one step (pure)
errors.py      what can go wrong

`hiredis` is an extra, `pip install 'wsgate[redis]'`. Only connection.py and client.py need it.
"""

from __future__ import annotations

from importlib.util import find_spec

from wsgate.redis.errors import (
    RedisAway,
    RedisError,
    RedisGarbled,
    RedisMissing,
    RedisRefused,
    RedisUnanswered,
)
from wsgate.redis.scripts import Script
from wsgate.redis.url import Address, parse

__all__ = [
    "Address",
    "RedisAway",
    "RedisError",
    "RedisGarbled",
    "RedisMissing",
    "RedisRefused",
    "RedisUnanswered",
    "Script",
    "parse",
    "require",
]


def require(option: str) -> None:
    """See that Redis can be spoken to; `option` is who wants it.

    Raises:
        RedisMissing: hiredis is not installed.
    """
    if find_spec("hiredis") is None:
        raise RedisMissing(
            f"{option}: wsgate's client for Redis is not installed; "
            "install it with: pip install 'wsgate[redis]'"
        )
