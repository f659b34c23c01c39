"""The hook `jwt`: lets in who has a JSON Web Token (docs/tokens.md)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from wsgate.config.hooks import OptionError
from wsgate.config.proofs import claim_param
from wsgate.config.tokens import JwtOptions
from wsgate.hooks.connection import Connection
from wsgate.hooks.hook import Hook
from wsgate.hooks.services import Services
from wsgate.hooks.tokens.claims import as_param, as_user, value_at
from wsgate.hooks.tokens.door import Door, Ending, LateDoor
from wsgate.hooks.tokens.fetching import fetcher
from wsgate.hooks.tokens.jwks import PublishedKeys
from wsgate.hooks.tokens.keys import LARGEST, Key, chosen, from_file, from_server
from wsgate.hooks.tokens.verify import Rules, Token, TokenRefused, opened, verified
from wsgate.secretfile import SecretFile, SecretUnusable, read_secret
from wsgate.secure import trust_roots


class KeySource(Protocol):
    """Where keys are."""

    def start(self) -> None:
        """They will be wanted."""

    def stop(self) -> None:
        """Not any more."""

    async def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """Those that may have signed a token which says this.

        Raises:
            HookFailed: there are none at all now.
        """


class KeysInFile:
    """The keys in a file, called `named` in errors.

    Raises:
        SecretUnusable: there is none in it that can be used.
    """

    def __init__(self, path: str, named: str, algorithms: frozenset[str]) -> None:
        read = partial(
            read_secret,
            named=named,
            parse=partial(from_file, algorithms=algorithms),
            needs=f"a key, in {LARGEST // 1024}KiB at most",
            is_secret=lambda keys: any(isinstance(key.material, bytes) for key in keys),
            largest=LARGEST,
        )
        self._file: SecretFile[tuple[Key, ...]] = SecretFile(path, read)

    def start(self) -> None:
        """They are there."""

    def stop(self) -> None:
        """They stay there."""

    async def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """See `KeySource`."""
        return chosen(self._file.secret, algorithm, kid)


class _Login(NamedTuple):
    """Whose token has let a connection in, and the end of that token."""

    subject: tuple[Any, ...]
    ending: Ending | None


class Tokens:
    """Judges tokens, and puts what is in them on the connection.

    Args:
        services: of the hook.
        options: of the hook.
        keys: that tokens are verified with.
    """

    what = "token"

    def __init__(self, services: Services, options: JwtOptions, keys: KeySource) -> None:
        # Published keys are worth keeping; a file is read anew, and what is wrong in it is said.
        self.outlasts_reload = options.jwks_url is not None
        self._keys = keys
        self._services = services
        self._closes = options.close_at_expiry
        self._user_claim = options.user_claim
        self._claims = [claim_param(claim) for claim in options.claims]
        self._rules = Rules(
            algorithms=frozenset(options.algorithms),
            audience=options.audience,
            issuers=options.issuer,
            required=options.required_claims,
            leeway=options.leeway,
            needs_expiry=options.require_exp,
            largest=options.max_token_size,
        )

    def start(self) -> None:
        """See `Judge`."""
        self._keys.start()

    def stop(self) -> None:
        """See `Judge`."""
        self._keys.stop()

    async def judge(self, connection: Connection, brought: str) -> None:
        """See `Judge`. A further token must be of the same subject."""
        presented = opened(brought, self._rules)
        keys = await self._keys.find(presented.algorithm, presented.kid)
        token = verified(presented, keys, self._rules, self._services.wall())
        user = self._user_of(token)
        subject = (token.claims.get("iss"), token.claims.get("sub"), user)
        before: _Login | None = connection.memory.get(self)
        if before is not None and before.subject != subject:
            raise TokenRefused("it is of another user than the one before")
        self._apply(connection, token, user)
        if before is not None and before.ending is not None:
            before.ending.cancel()
        connection.memory[self] = _Login(subject, self._ending(connection, token))

    def _user_of(self, token: Token) -> str | None:
        if self._user_claim is None:
            return None
        user = as_user(value_at(token.claims, self._user_claim))
        if user is None:
            raise TokenRefused("it names no user (user_claim)")
        return user

    def _apply(self, connection: Connection, token: Token, user: str | None) -> None:
        try:
            for param, path in self._claims:
                connection.set_param(param, as_param(value_at(token.claims, path)))
            if user is not None:
                connection.bind_user(user)
        except (ValueError, RecursionError):
            raise TokenRefused("its claims cannot be params, or have no room") from None

    def _ending(self, connection: Connection, token: Token) -> Ending | None:
        if not self._closes or token.ends is None:
            return None
        return Ending(self._services, connection, self.what, token.ends)


def make(services: Services, options: JwtOptions) -> Hook:
    """The hook, as its options ask for it.

    Raises:
        OptionError: a file holds nothing that can be used.
    """
    tokens = Tokens(services, options, _keys(services, options))
    if options.renew_prefix is None and not options.sources[-1].startswith("first_message"):
        return Door(services, tokens, options.sources, options.optional)
    return LateDoor(
        services,
        tokens,
        options.sources,
        options.first_message_timeout,
        options.renew_prefix,
        options.optional,
    )


def _keys(services: Services, options: JwtOptions) -> KeySource:
    algorithms = frozenset(options.algorithms)
    if options.key_file is not None:
        named = f"hooks.{services.name}.key_file = {options.key_file}"
        try:
            return KeysInFile(options.key_file, named, algorithms)
        except SecretUnusable as error:
            raise OptionError("key_file", str(error).removeprefix(f"{named}: ")) from None
    return PublishedKeys(
        fetcher(services.reactor, options.jwks_url or "", _roots(options)),
        partial(from_server, algorithms=algorithms),
        services.timeouts,
        options.jwks_stale,
        f"hooks.{services.name}.jwks_url",
    )


def _roots(options: JwtOptions) -> Any:
    path = options.jwks_authority
    if path is None:
        return None
    try:
        return trust_roots(path)
    except OSError as error:
        raise OptionError("jwks_authority", str(error.strerror)) from None
    except ValueError as error:
        raise OptionError("jwks_authority", str(error).removeprefix(f"{path}: ")) from None
