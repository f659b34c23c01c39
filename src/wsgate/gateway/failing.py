"""What the log hears of a failure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from wsgate.gateway.answer import failure_of
from wsgate.oneline import one_line


def log_failure(
    log: Logger, what: str, error: BaseException, stderr: bytes, kind: Hashable, **of: Any
) -> None:
    """Say why something came to nothing, as loudly as `failure_of` has it.

    Args:
        log: where.
        what: it was, a format of the values `of`.
        error: why.
        stderr: what PHP has said to it.
        kind: lines that are alike for a `CalmLogger`.
        of: the values of `what`.
    """
    level = failure_of(error).level
    if level is None:
        return
    if level is LogLevel.critical:
        log.failure(what, Failure(error), **of)
        return
    said = one_line(stderr)
    text = one_line(str(error)) + (f"; PHP says: {said}" if said else "")
    log.emit(level, what + ": {text}", text=text, kind=kind, **of)
