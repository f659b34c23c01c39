"""The hook `signed_url`: lets in who comes with a URL that was signed (docs/tokens.md)."""

from __future__ import annotations

from functools import partial

from wsgate.config.hooks import OptionError
from wsgate.config.tokens import SignedUrlOptions
from wsgate.floods import CalmLogger
from wsgate.hooks.connection import Connection
from wsgate.hooks.hook import Hook, OnConnect, Refuse
from wsgate.hooks.services import Services
from wsgate.hooks.tokens.door import Ending
from wsgate.hooks.tokens.keys import LARGEST, secrets_in
from wsgate.hooks.tokens.urls import UrlRefused, value_in, verified
from wsgate.secretfile import SecretFile, SecretUnusable, read_secret

_log = CalmLogger(namespace="wsgate")


class SignedUrls(Hook):
    """Lets in who comes with a URL that one of the keys has signed.

    Raises:
        SecretUnusable: there is no key that can be used.
    """

    def __init__(self, services: Services, options: SignedUrlOptions, named: str) -> None:
        read = partial(
            read_secret,
            named=named,
            parse=secrets_in,
            needs=f"a key on each line, {LARGEST // 1024}KiB at most",
            largest=LARGEST,
        )
        self._services = services
        self._options = options
        self._keys: SecretFile[tuple[bytes, ...]] = SecretFile(options.key_file, read)

    def on_connect(self, connection: Connection) -> OnConnect:
        """See `Hook`."""
        try:
            self._let_in(connection)
        except UrlRefused as refused:
            _log.info(
                "hooks.{hook}: {address} refused ({id}): the URL: {why}",
                hook=self._services.name,
                address=connection.remote_address,
                id=connection.id,
                why=refused,
            )
            return Refuse(403, "refused")
        self._services.count(self._services.name, "let_in")
        return None

    def _let_in(self, connection: Connection) -> None:
        signed = verified(
            connection.path,
            connection.query_string,
            self._keys.secret,
            self._services.wall(),
            self._options.max_lifetime or None,
        )
        if self._options.user_parameter is not None:
            self._bind(connection, value_in(signed.query, self._options.user_parameter))
        if self._options.close_at_expiry:
            Ending(self._services, connection, "URL", signed.ends)

    def _bind(self, connection: Connection, user: str) -> None:
        try:
            if not user:
                raise ValueError
            connection.bind_user(user)
        except ValueError:
            raise UrlRefused("it names no user (user_parameter)") from None


def make(services: Services, options: SignedUrlOptions) -> Hook:
    """The hook, as its options ask for it.

    Raises:
        OptionError: the file holds nothing that can be used.
    """
    named = f"hooks.{services.name}.key_file = {options.key_file}"
    try:
        return SignedUrls(services, options, named)
    except SecretUnusable as error:
        raise OptionError("key_file", str(error).removeprefix(f"{named}: ")) from None
