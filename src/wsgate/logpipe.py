"""A log that cannot hold up the service: what reads it may be slow, or stuck."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
from collections.abc import Iterable
from typing import TextIO


def never_wait_for_reader(streams: Iterable[TextIO | None] | None = None) -> None:
    """Let writing to these raise BlockingIOError where it would have to wait for somebody to read.

    A pipe or a socket (`| logger`, systemd's journal) whose reader is stuck is full after some
    64 KiB; a write then waits, and with it every client. Now that line is lost instead. Files and
    terminals stay as they are, and so does a stream that is closed. Without `streams`: standard
    output and standard error as the process got them, which is where twistd's log goes.
    """
    for stream in (sys.__stdout__, sys.__stderr__) if streams is None else streams:
        with contextlib.suppress(OSError, ValueError):
            if stream is not None and _has_reader(stream.fileno()):
                _never_wait(stream)


def _has_reader(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _never_wait(stream: TextIO) -> None:
    # A line longer than the room that is left, which is one page at least.
    os.set_blocking(stream.fileno(), False)
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLOUT)
    write = stream.write

    def write_or_fail(text: str) -> int:
        # Asked first: an unbuffered stream (PYTHONUNBUFFERED) would drop the line without a word.
        if not poll.poll(0):
            raise BlockingIOError("the reader of the log takes nothing")
        return write(text)

    setattr(stream, "write", write_or_fail)  # noqa: B010 - mypy: one may not assign to a method
