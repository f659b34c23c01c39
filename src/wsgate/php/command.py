"""What to run, and how, for one private PHP; writes the files it reads."""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping
from typing import NamedTuple

from wsgate.php.configuration import BACKLOG, fpm_config, ini_file, ini_options
from wsgate.php.environment import php_environment, script_environment
from wsgate.php.find import Program
from wsgate.php.folder import FPM_CONFIG, INI, PrivateFolder
from wsgate.php.users import User


class Command(NamedTuple):
    """PHP's command line and environment, and what its guardian has to know."""

    arguments: list[str]
    environment: dict[str, str]
    guardian: dict[str, str]


def command_for(
    program: Program,
    folder: PrivateFolder,
    *,
    name: str,
    workers: int,
    settings: Mapping[str, str],
    user: User | None,
    extensions: Collection[str],
    environ: Mapping[str, str],
) -> Command:
    """The command for `program`, with its configuration written into `folder`. Raises OSError."""
    environment = php_environment(environ, user)
    keys = {"folder": folder.path, "socket": folder.socket_path}
    if program.kind == "php-cgi":
        environment.update(PHP_FCGI_CHILDREN=f"{workers:d}", PHP_FCGI_MAX_REQUESTS="0")
        keys.update(stop=f"{signal.SIGTERM:d}", listen=str(BACKLOG))
        if user is not None:
            groups = ",".join(map(str, user.groups))
            keys.update(uid=str(user.uid), gid=str(user.gid), groups=groups)
        return Command([program.path, *ini_options(settings)], environment, keys)
    # SIGQUIT: php-fpm lets the scripts that run come to their end.
    keys.update(stop=f"{signal.SIGQUIT:d}")
    config = fpm_config(
        name=name,
        socket_path=folder.socket_path,
        workers=workers,
        settings=settings,
        environment=script_environment(environ, user),
        user=user,
        extensions=extensions,
    )
    path = folder.write(FPM_CONFIG, config)
    folder.write(INI, ini_file(settings))
    # A folder more to look into, after PHP's usual ones, which an empty entry stands for. Unlike
    # php_admin_value this also reaches what PHP reads only at its start, such as opcache's memory;
    # unlike -d it does not show in ps.
    environment["PHP_INI_SCAN_DIR"] = f"{environment.get('PHP_INI_SCAN_DIR', '')}:{folder.path}"
    return Command([program.path, "--nodaemonize", "--fpm-config", path], environment, keys)
