"""An epoll reactor that calls its descriptors directly.

Twisted wraps each event in a log context of its own, for five Python calls and two dictionaries,
so that lines of its old logging system carry the name of a connection. wsgate's log lines name the
connection themselves.
"""

from __future__ import annotations

from select import EPOLLIN
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.posixbase import _NO_FILEDESC
from twisted.python import log

AT_ONCE = 256
"""Events of one turn. The others come with the next, behind what is new: the kernel takes turns."""


def call_directly(reactor: Any) -> None:
    """Replace the polling of `reactor`, if it is Twisted's epoll reactor; else do nothing.

    Everything but the log context stays: an exception is logged and costs nobody else's event. And
    a turn takes at most `AT_ONCE` events, not one of each connection: when thousands have something
    to say, answers from PHP and timers wait for a part of them only.
    """
    if type(reactor) is not EPollReactor:
        return
    poll = reactor._poller.poll
    selectables = reactor._selectables
    read_or_write = reactor._doReadOrWrite
    disconnect = reactor._disconnectSelectable

    def do_poll(timeout: float | None) -> None:
        for fd, event in poll(-1 if timeout is None else timeout, AT_ONCE):
            selectable = selectables.get(fd)
            if selectable is None:
                continue
            try:
                if event != EPOLLIN:
                    read_or_write(selectable, fd, event)
                    continue
                # What `_doReadOrWrite` comes to for an event that is nothing else.
                try:
                    why = selectable.doRead() if selectable.fileno() != -1 else _NO_FILEDESC
                except BaseException as error:
                    log.err()
                    disconnect(selectable, error, False)
                else:
                    if why:
                        disconnect(selectable, why, True)
            except Exception:
                log.err()

    setattr(reactor, "doIteration", do_poll)  # noqa: B010 - mypy: one may not assign to a method
