"""A PHP of wsgate's own: found on this machine, configured, started, watched and stopped.

`find` finds php-fpm or php-cgi. `configuration` and `environment` say what it gets, `folder` where
its socket is, `command` puts that together. `guardian` is a small process between wsgate and PHP
that ends PHP when wsgate is gone; `guarded` is our end of it. `probe` waits for PHP's first answer,
`backoff` for the next start, and `service` is the whole.
"""

from wsgate.php.errors import PHPError, PHPNotFound, PHPSettingError, PHPUserError
from wsgate.php.find import Program, find_php
from wsgate.php.service import PrivatePHP
from wsgate.php.users import readable_by, user_name

__all__ = [
    "PHPError",
    "PHPNotFound",
    "PHPSettingError",
    "PHPUserError",
    "PrivatePHP",
    "Program",
    "find_php",
    "readable_by",
    "user_name",
]
