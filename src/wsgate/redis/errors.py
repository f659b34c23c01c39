"""What can go wrong between wsgate and Redis."""

from __future__ import annotations


class RedisError(Exception):
    """Redis did not do what it was asked."""


class RedisAway(RedisError):
    """There is no connection, so it was not asked."""


class RedisUnanswered(RedisError):
    """The connection ended before the answer: whether it was done is not known."""


class RedisGarbled(RedisUnanswered):
    """What came was nothing of Redis' protocol, and the connection was ended."""


class RedisRefused(RedisError):
    """Redis answered with an error; `str()` is what it said."""


class RedisMissing(RedisError):
    """What wsgate needs to speak to Redis is not installed; `str()` says how to."""
