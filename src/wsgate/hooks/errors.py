"""What goes wrong with hooks, and what a message's further way comes to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgate.hooks.hook import Close, Refuse


class HookFailed(Exception):
    """A hook cannot say anything: `on_hook_failure` of its route holds.

    Hooks may raise it themselves. `str()` is one line for the log, without secrets and without
    the client's text; of other exceptions only type and place are logged.
    """


class HookTimeout(HookFailed):
    """It has not said anything in time."""


class NoWord(HookFailed):
    """What it has said means nothing; the client or message is refused on any route."""


class MessageRefused(Exception):
    """A hook behind the one that asked has refused the message, or closed the connection."""

    def __init__(self, said: Refuse | Close) -> None:
        super().__init__(f"{type(said).__name__.lower()} {said[0]}: {said.reason}")
        self.said = said


class HookUnusable(Exception):
    """A hook cannot be made as the settings ask for it; `str()` is one line for the user."""
