"""The hook `session`, made as its options ask."""

from __future__ import annotations

import os
import pwd
import stat

from wsgate.config.errors import OptionError
from wsgate.config.session import SessionOptions
from wsgate.hooks.services import Services
from wsgate.hooks.session.files import Place, Rules, user_name
from wsgate.hooks.session.hook import SessionHook
from wsgate.hooks.session.sources import AT_ONCE, Files, Source
from wsgate.hooks.session.stored import in_store
from wsgate.threads import OwnThreads


def make(services: Services, options: SessionOptions) -> SessionHook:
    """The hook for one route.

    Raises:
        OptionError: sessions cannot be read where the options say they are.
    """
    return SessionHook(services, options, _source(services, options))


def _source(services: Services, options: SessionOptions) -> Source:
    if options.store == "files":
        return _files(services, options)
    store = services.stores.get(options.store)
    if store is None:
        known = ", ".join(sorted(services.stores)) or "none"
        raise OptionError("store", f'no such store; write "files", or one of [stores]: {known}')
    try:
        return in_store(store, options.prefix, options.max_size)
    except ValueError as error:
        raise OptionError("store", str(error)) from None


def _files(services: Services, options: SessionOptions) -> Files:
    place = Place.parse(options.save_path)
    owner = _owner(options, _checked(place.folder))
    rules = Rules(max_size=options.max_size, max_age=options.max_age, owner=owner)
    return Files(services, place, rules, OwnThreads(services.reactor, AT_ONCE))


def _checked(folder: str) -> os.stat_result:
    try:
        found = os.stat(folder)
    except OSError as error:
        raise OptionError(
            "save_path", f"{error.strerror}; write session.save_path of php.ini"
        ) from None
    if not stat.S_ISDIR(found.st_mode):
        raise OptionError("save_path", "no folder; write session.save_path of php.ini")
    if not os.access(folder, os.X_OK):
        raise OptionError(
            "save_path",
            f"{user_name(os.geteuid())} may not enter it, it is {user_name(found.st_uid)}'s; see "
            "docs/logged-in-users.md",
        )
    return found


def _owner(options: SessionOptions, folder: os.stat_result) -> int | None:
    """Whose files are believed: where everybody may write, anybody could make a session."""
    if options.owner is not None:
        return pwd.getpwnam(options.owner).pw_uid
    if not folder.st_mode & stat.S_IWOTH:
        return None
    if os.geteuid() == 0:
        raise OptionError(
            "save_path",
            "everybody may write there; name PHP's user, whose files alone count: "
            'owner = "www-data"',
        )
    return os.geteuid()
