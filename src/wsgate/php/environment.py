"""What PHP sees of wsgate's environment: what it needs to run, and nothing that may be a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping

from wsgate.php.users import User

# Tokens and passwords reach services through the environment, so PHP gets a list of names, not
# what is left after taking some away.
_PASSED_ON = re.compile("PATH|LANG|LANGUAGE|LC_[A-Z]+|TZ|TMPDIR|HOME|USER|LOGNAME|LD_LIBRARY_PATH")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FOR_PHP_ITSELF = frozenset({"PHPRC", "PHP_INI_SCAN_DIR"})


def script_environment(environ: Mapping[str, str], user: User | None) -> dict[str, str]:
    """The variables a script may see, out of `environ`; for another user, with its own home.

    A value with a control character is left out.
    """
    chosen = {
        name: value
        for name, value in environ.items()
        if _PASSED_ON.fullmatch(name) and value.isprintable()
    }
    if user is not None:
        # Our folder for temporary files need not be open to the other user.
        chosen.pop("TMPDIR", None)
        # And root's PATH names folders that the other user cannot enter, to anyone who is shown it.
        chosen.update(PATH=_SYSTEM_PATH, HOME=user.home, USER=user.name, LOGNAME=user.name)
    return chosen


def php_environment(environ: Mapping[str, str], user: User | None) -> dict[str, str]:
    """What the PHP program itself gets: the scripts' variables and where its php.ini is."""
    own = {name: environ[name] for name in _FOR_PHP_ITSELF & environ.keys()}
    return {**script_environment(environ, user), **own}
