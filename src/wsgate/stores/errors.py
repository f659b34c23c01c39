"""What can go wrong between wsgate and a store. No text has a password or a value in it."""

from __future__ import annotations


class StoreError(Exception):
    """A store did not do what it was asked; `str()` is one line."""


class StoreAway(StoreError):
    """It cannot be reached, or went away before it answered: whether it was done is not known."""


class StoreFull(StoreAway):
    """Too many requests wait for it already; it was not asked."""


class StoreTimeout(StoreError):
    """No answer in time: whether it was done is not known."""


class StoreAnswer(StoreError):
    """It answered with an error, or with what makes no sense."""


class StoreValue(StoreAnswer):
    """It says that a value is none that it could compare: not a number, not a date, too long."""


class StoreUnusable(StoreError):
    """A store cannot be as the settings want it; `str()` is one line that says why."""
