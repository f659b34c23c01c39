"""The hook `secret`: lets in who knows a secret (docs/tokens.md)."""

from __future__ import annotations

import hmac
import re
from functools import partial

from wsgate.config.hooks import OptionError
from wsgate.config.tokens import SecretOptions
from wsgate.hooks.connection import Connection
from wsgate.hooks.hook import Hook
from wsgate.hooks.services import Services
from wsgate.hooks.tokens.door import Door, LateDoor
from wsgate.hooks.tokens.sources import Denied
from wsgate.secretfile import SecretFile, SecretUnusable, Unfit, read_secret

MOST = 64
"""Secrets in a file."""

LARGEST = 64 * 1024

_SECRET = re.compile(rb"[\x21-\x7e]{16,4096}")

_NEEDS = (
    "1 to 64 lines, each of 16 to 4096 printable characters without blanks; make one with: "
    "openssl rand -hex 32"
)


def read_secrets(path: str, named: str) -> tuple[bytes, ...]:
    """The secrets in a file, one on each line; empty lines do not count.

    Raises:
        SecretUnusable: there is none, or one that cannot be used.
    """
    return read_secret(path, named, _parsed, _NEEDS, largest=LARGEST)


def _parsed(content: bytes) -> tuple[bytes, ...]:
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    if not 1 <= len(lines) <= MOST or not all(map(_SECRET.fullmatch, lines)):
        raise ValueError
    if any(len(set(line)) < 8 for line in lines):
        raise Unfit("has a secret that is easy to guess; make one with: openssl rand -hex 32")
    return tuple(lines)


class Secrets:
    """Compares what clients bring with the secrets in a file, called `named` in errors.

    Raises:
        SecretUnusable: there is none in it that can be used.
    """

    what = "secret"
    outlasts_reload = False

    def __init__(self, path: str, named: str) -> None:
        self._file = SecretFile(path, partial(read_secrets, named=named))

    def start(self) -> None:
        """See `Judge`."""

    def stop(self) -> None:
        """See `Judge`."""

    async def judge(self, connection: Connection, brought: str) -> None:
        """See `Judge`. Takes as long however much of it is right, and whichever it is."""
        given = brought.encode("utf-8", "surrogatepass")
        equal = [hmac.compare_digest(one, given) for one in self._file.secret]
        if not any(equal):
            raise Denied("it is wrong")


def make(services: Services, options: SecretOptions) -> Hook:
    """The hook, as its options ask for it.

    Raises:
        OptionError: the file holds nothing that can be used.
    """
    named = f"hooks.{services.name}.secret_file = {options.secret_file}"
    try:
        secrets = Secrets(options.secret_file, named)
    except SecretUnusable as error:
        raise OptionError("secret_file", str(error).removeprefix(f"{named}: ")) from None
    if options.sources[-1].startswith("first_message"):
        return LateDoor(services, secrets, options.sources, options.first_message_timeout)
    return Door(services, secrets, options.sources)
