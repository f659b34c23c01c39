"""PHP's configuration as text: the pool of php-fpm, and the settings (php.ini) of either PHP.

Every value passes `quoted`, so none of them can begin a line or a setting of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from wsgate.php.errors import PHPSettingError
from wsgate.php.users import User

DEFAULT_INI: Mapping[str, str] = {
    # An error's text names paths and values: it belongs in the log, never in an answer.
    "display_errors": "0",
    "display_startup_errors": "0",
    "html_errors": "0",
    "log_errors": "1",
    "expose_php": "0",
    "opcache.enable": "1",
    # On, without a limit: no byte of an answer leaves before the script's end, so that a fatal
    # error makes it a 500 however much was printed before.
    "output_buffering": "1",
    # No client could undo it: an answer becomes a WebSocket message.
    "zlib.output_compression": "0",
    # The script is fixed by wsgate's configuration; PHP must not look for another one in its path.
    "cgi.fix_pathinfo": "0",
}

# php-fpm lets no script change these: a forgotten ini_set() would show errors to clients.
GUARDED = ("display_errors", "display_startup_errors", "html_errors", "log_errors")

# php-fpm's own default.
EXTENSIONS = (".php", ".phar")

# As many connections as wsgate may ever have waiting, with room; the kernel lowers it to somaxconn.
BACKLOG = 511

# How long a busy worker may go on with its script after wsgate asked php-fpm to stop, in seconds.
STOP_GRACE = 1

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_EXTENSION = re.compile(r"\.[A-Za-z0-9_]+")
_POOL_NAME = re.compile(r"[A-Za-z0-9_.-]+")
# PHP computes these; between quotes they would be text, and text is 0: no errors at all.
_ERROR_LEVELS = re.compile(r"E_[A-Z_]+(?: *[&|^] *~?E_[A-Z_]+)*")


def quoted(value: str) -> str:
    """`value` so that PHP's ini parser reads back exactly that text.

    Raises PHPSettingError for control characters: no notation of PHP's could carry them.
    """
    if any((character < " " and character != "\t") or character == "\x7f" for character in value):
        raise PHPSettingError(f"PHP setting value {value!r}: control characters are not allowed")
    if _ERROR_LEVELS.fullmatch(value):
        return value
    if not value:
        return '""'
    # Between single quotes PHP interprets nothing; adjacent strings are one string.
    return '"\'"'.join(f"'{part}'" if part else "" for part in value.split("'"))


def settings(ini: Mapping[str, str], *, opcache: bool = True) -> dict[str, str]:
    """All settings for PHP: our defaults, over them `ini`; names and values checked.

    `opcache` False: this PHP did not load it by itself, so it is told to.
    Raises PHPSettingError.
    """
    loading = {} if opcache else {"zend_extension": "opcache"}
    merged = {**loading, **DEFAULT_INI, **ini}
    for name, value in merged.items():
        if not _NAME.fullmatch(name):
            raise PHPSettingError(
                f"PHP setting {name!r}: a name has letters, digits, '_', '.' and '-' only"
            )
        try:
            quoted(value)
        except PHPSettingError:
            raise PHPSettingError(
                f"PHP setting {name!r} = {value!r}: control characters are not allowed"
            ) from None
    return merged


def ini_file(settings: Mapping[str, str]) -> str:
    """The settings as a php.ini file, for PHP_INI_SCAN_DIR (php-fpm)."""
    return "".join(f"{name} = {quoted(value)}\n" for name, value in settings.items())


def ini_options(settings: Mapping[str, str]) -> list[str]:
    """The settings as command line options (php-cgi)."""
    return [part for name, value in settings.items() for part in ("-d", f"{name}={quoted(value)}")]


def fpm_config(
    *,
    name: str,
    socket_path: str,
    workers: int,
    settings: Mapping[str, str],
    environment: Iterable[str] = (),
    user: User | None = None,
    extensions: Collection[str] = EXTENSIONS,
) -> str:
    """The text of php-fpm.conf for one static pool.

    `environment` names the variables of php-fpm's own environment that scripts see; no others.
    `extensions` are those a script's file may have; none given means any.
    Raises PHPSettingError.
    """
    lines = [
        "[global]",
        "daemonize = no",
        "error_log = /proc/self/fd/2",
        "log_limit = 8192",
        f"process_control_timeout = {STOP_GRACE}s",
        f"[{name if _POOL_NAME.fullmatch(name) and name != 'global' else 'wsgate'}]",
        f"listen = {quoted(socket_path)}",
        "listen.mode = 0600",
        f"listen.backlog = {BACKLOG}",
        "pm = static",
        f"pm.max_children = {workers:d}",
        # wsgate keeps its connections; a worker that ends by count would cut one in mid-request.
        "pm.max_requests = 0",
        # It would also count the idle time of a kept connection.
        "request_terminate_timeout = 0",
        "catch_workers_output = yes",
        "decorate_workers_output = no",
        f"security.limit_extensions = {' '.join(check_extensions(extensions))}",
        "clear_env = yes",
    ]
    # Without quotes PHP would take LC_ALL for its constant of that name, and define env[6].
    lines += [f"env['{variable}'] = ${variable}" for variable in environment]
    if user is not None:
        lines += [f"user = {quoted(user.name)}", f"group = {user.gid:d}"]
    lines += [f"php_admin_value[{name}] = {quoted(settings[name])}" for name in GUARDED]
    return "\n".join(lines) + "\n"


def check_extensions(extensions: Collection[str]) -> Collection[str]:
    """`extensions` if each is a dot and then letters or digits. Raises PHPSettingError."""
    for extension in extensions:
        if not _EXTENSION.fullmatch(extension):
            raise PHPSettingError(
                f"extension of a PHP script {extension!r}: must be a dot, then letters and digits"
            )
    return extensions
