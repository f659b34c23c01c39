"""Which params hooks may let PHP see. Pure.

PHP, its libraries and wsgate trust many names: with `PHP_ADMIN_VALUE` php.ini is changed, with
`SCRIPT_FILENAME` another script runs, `HTTP_PROXY` turns requests of the script over to somebody
else (CVE-2016-5385). What a hook takes from a client, a token's claim for one, must never be one of
them.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")

_OURS = ("WSGATE_CLAIM_", "WSGATE_SESSION_")

_ALLOWED = frozenset({"REMOTE_USER", "AUTH_TYPE"})

# RFC 3875 §4.1, nginx's fastcgi_params, PHP's FastCGI and what every process has.
_TAKEN_PREFIXES = (
    *("HTTP_", "HTTPS_", "PHP_", "SCRIPT_", "DOCUMENT_", "SERVER_", "REQUEST_", "REMOTE_"),
    *("CONTENT_", "GATEWAY_", "REDIRECT_", "ORIG_", "PATH_", "AUTH_", "QUERY_", "SSL_", "TLS_"),
    *("FCGI_", "FASTCGI_", "WSGATE_", "LD_", "LC_", "PHPRC", "DYLD_", "GLIBC_", "MALLOC_"),
)
_TAKEN = frozenset(
    {
        *("HTTP", "HTTPS", "PATH", "HOME", "USER", "LANG", "SHELL", "PWD", "IFS", "TZ", "TMP"),
        *("TMPDIR", "TEMP", "ENV", "HOSTNAME", "LOGNAME", "ARGV", "ARGC", "UNIQUE_ID"),
        *("UNENCODED_URL", "USERNAME", "HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "TERM"),
    }
)
_TAKEN_SUFFIXES = ("_PROXY",)

# C0, DEL, C1, and the line ends of Unicode.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_param(name: str, value: str) -> None:
    """See whether a hook may set `name` to `value`.

    Raises:
        ValueError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:64]!r} is no name for a param; write 1 to 64 of A-Z 0-9 _, a letter first"
        )
    if _is_taken(name):
        raise ValueError(f"{name}: HTTP, CGI, PHP or wsgate give that param a meaning")
    if _UNSAFE.search(value):
        raise ValueError(f"{name}: its value has a control character, or is no Unicode text")


def _is_taken(name: str) -> bool:
    if name in _ALLOWED or (name.startswith(_OURS) and name not in _OURS):
        return False
    return name in _TAKEN or name.startswith(_TAKEN_PREFIXES) or name.endswith(_TAKEN_SUFFIXES)


def size_of(params: dict[str, str]) -> int:
    """What params take of `limits.hook_param_bytes`."""
    return sum(len(name) + len(value.encode()) for name, value in params.items())
