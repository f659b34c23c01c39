"""What can be wrong with a private PHP before it runs. Each text is one line for the user.

PHPError
 ├ PHPNotFound        no program that speaks FastCGI
 ├ PHPSettingError    a setting that PHP must not get
 └ PHPUserError       a user that PHP cannot run as
"""

from __future__ import annotations


class PHPError(Exception):
    """The private PHP cannot be set up; `str()` is one line that says what to do."""


class PHPNotFound(PHPError):
    """No usable php-fpm or php-cgi."""


class PHPSettingError(PHPError, ValueError):
    """A name or value that cannot be written into PHP's configuration as it is."""


class PHPUserError(PHPError):
    """PHP cannot run as this user."""
