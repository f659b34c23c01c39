"""Which user PHP runs as, and what that user may read."""

from __future__ import annotations

import os
import pwd
import subprocess
from typing import NamedTuple

from wsgate.php.errors import PHPUserError

# The first that exists; Debian's web packages use the first, every system has the second.
UNPRIVILEGED = ("www-data", "nobody")


class User(NamedTuple):
    """A user to become: ids, supplementary groups included, and the home folder."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def php_user(user: str | None = None) -> User | None:
    """The user that PHP has to become, or None when it stays who we are.

    As root: `user`, by default www-data, else nobody; never root. Otherwise there is no choice.

    Raises:
        PHPUserError: no such user, root, or another user while we are not root.
    """
    if os.geteuid() != 0:
        if user is not None and _account(user).pw_uid != os.geteuid():
            raise PHPUserError(
                f"PHP user {user!r}: only root can run PHP as another user; "
                "start wsgate as root, or leave the user out"
            )
        return None
    account = _account(user) if user is not None else _default_account()
    if account.pw_uid == 0:
        raise PHPUserError(
            f"PHP user {account.pw_name!r}: PHP never runs as root; name an unprivileged user"
        )
    groups = tuple(os.getgrouplist(account.pw_name, account.pw_gid))
    return User(account.pw_name, account.pw_uid, account.pw_gid, groups, account.pw_dir)


def user_name(user: str | None = None) -> str:
    """The name PHP runs under, for messages. Raises PHPUserError as `php_user` does."""
    became = php_user(user)
    if became is not None:
        return became.name
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # containers often run under an id without a name
        return str(os.geteuid())


def readable_by(path: str, user: str | None = None) -> bool:
    """Whether PHP, run as `user` (as `php_user` understands it), can read the file `path`.

    Asks the kernel as that user, so that folders on the way, ACLs and groups all count.
    Raises PHPUserError as `php_user` does.
    """
    became = php_user(user)
    path = os.path.abspath(path)
    if became is None:
        return os.access(path, os.R_OK, effective_ids=True)
    try:
        test = subprocess.run(
            ["/bin/sh", "-c", 'test -r "$0"', path],
            user=became.uid,
            group=became.gid,
            extra_groups=became.groups,
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except PermissionError:
        raise PHPUserError(
            f"root may not become PHP's user {became.name} here (CAP_SETUID and CAP_SETGID are "
            "missing, as in a container without them): start wsgate as an ordinary user"
        ) from None
    return test.returncode == 0


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise PHPUserError(
            f"PHP user {user!r}: no such user on this machine; name one that exists"
        ) from None


def _default_account() -> pwd.struct_passwd:
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PHPUserError(
        f"no user for PHP: neither {' nor '.join(UNPRIVILEGED)} exists; name an unprivileged user"
    )
