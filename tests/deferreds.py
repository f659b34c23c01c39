"""What a Deferred has fired with, for tests in which nobody else waits for it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


def result(deferred: Deferred[Any]) -> Any:
    """Its result; AssertionError if there is none yet."""
    found: list[Any] = []
    deferred.addCallback(found.append)
    assert found, "it has not fired"
    return found[0]


def error(deferred: Deferred[Any]) -> BaseException | None:
    """Its exception; AssertionError if it has not failed."""
    found: list[Failure] = []
    deferred.addErrback(found.append)
    assert found, "it has not failed"
    return found[0].value


def outcome(deferred: Deferred[Any]) -> Any:
    """Its result or its exception; None if it has not fired."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    if not found:
        return None
    return found[0].value if isinstance(found[0], Failure) else found[0]
