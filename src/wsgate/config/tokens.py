"""The options of the hooks `jwt`, `signed_url` and `secret`."""

from __future__ import annotations

from dataclasses import dataclass, field

from wsgate.config import proofs
from wsgate.config.about import about
from wsgate.config.errors import OptionError
from wsgate.config.kinds import Flag, Path, Size, Text, Texts, Time
from wsgate.config.proofs import ALGORITHMS, SECRET_ALGORITHMS, claim_param
from wsgate.config.units import KIB


def _check_sources(sources: tuple[str, ...]) -> None:
    late = [source for source in sources if source.startswith("first_message")]
    if not sources:
        raise OptionError("sources", "empty; one at least is needed")
    if len(late) > 1 or (late and sources[-1] != late[0]):
        raise OptionError("sources", "first_message comes last, and once")


_SOURCES_AT_ONCE = "several places: the first that has something counts"


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtOptions:
    """Lets in who has a JSON Web Token, and tells PHP what is in it (docs/tokens.md)."""

    algorithms: tuple[str, ...] = field(
        metadata=about(
            Texts(
                proofs.algorithm,
                unit="list of algorithms",
                at_least=1,
                bounds=", ".join(ALGORITHMS),
            ),
            "the algorithms that tokens may be signed with; with a secret (HS…) or a public key, "
            "never both",
            limit="another: 401",
            why="what a token says of itself is no ground to trust it",
        )
    )
    key_file: str | None = field(
        default=None,
        metadata=about(
            Path(),
            "the keys: PEM (one or several), a JWK or a set of them, or a secret on each line; "
            "several for rotation; read anew when it has changed",
            limit="weak, private or of another algorithm: an error at the start; later the keys "
            "before stay, and the log says so",
            why="this or jwks_url is needed",
        ),
    )
    jwks_url: str | None = field(
        default=None,
        metadata=about(
            Text(proofs.jwks_url, unit="URL"),
            "where the keys are published as a JWK set; https, or http on this machine",
            limit="5s, 256KiB, no redirects; asked for an unknown key every 10s at most",
            why="this or key_file is needed",
        ),
    )
    jwks_authority: str | None = field(
        default=None,
        metadata=about(
            Path(),
            "PEM certificates of the authority that the server of jwks_url is verified against",
            limit="another: no keys from there",
            why="the authorities this machine trusts",
        ),
    )
    jwks_stale: float = field(
        default=86400.0,
        metadata=about(
            Time(0, 30 * 86400),
            "keys of jwks_url stay in use for so long after they should have been fetched again",
            limit="then what on_hook_failure says",
            why="a server of keys that is down overnight locks nobody out",
        ),
    )
    sources: tuple[str, ...] = field(
        default=("authorization",),
        metadata=about(
            Texts(proofs.source, unit="list of places"),
            "where the token is: authorization, header:NAME, cookie:NAME, query:NAME, "
            "subprotocol:PREFIX, first_message, first_message:FIELD; " + _SOURCES_AT_ONCE,
            limit="nothing there: 401",
            why="programs can set it; pages in browsers need one of the others",
        ),
    )
    optional: bool = field(
        default=False,
        metadata=about(
            Flag(),
            "let in who has no token too, without claims; a bad one is refused all the same",
            why="a route with tokens is for those who have one",
        ),
    )
    first_message_timeout: float = field(
        default=10.0,
        metadata=about(
            Time(0.1, 600),
            "first_message: how long a client may take to send it",
            limit='closed with 4401 "no token in time"',
            why="long enough for a page to fetch one",
        ),
    )
    renew_prefix: str | None = field(
        default=None,
        metadata=about(
            Text(),
            "a text message that begins with this brings a new token of the same user, and is not "
            "for PHP",
            limit='a bad one: closed with 4401 "invalid token"',
            why="none: clients come again with the new one",
        ),
    )
    audience: tuple[str, ...] = field(
        default=(),
        metadata=about(
            Texts(),
            "one of these is in aud",
            limit="401; without this setting, any token that has an aud",
            why="a token that is for somebody else is not for us",
        ),
    )
    issuer: tuple[str, ...] = field(
        default=(),
        metadata=about(
            Texts(), "one of these is iss, exactly", limit="401", why="who has the key is believed"
        ),
    )
    required_claims: tuple[str, ...] = field(
        default=(),
        metadata=about(
            Texts(unit="list of claims"), "claims that must be there", limit="401", why="exp is"
        ),
    )
    require_exp: bool = field(
        default=True,
        metadata=about(
            Flag(),
            "tokens must say when they end (exp)",
            limit="401",
            why="one that never ends cannot be taken back",
        ),
    )
    leeway: float = field(
        default=5.0,
        metadata=about(
            Time(0, 300),
            "by how much clocks may differ: for exp, nbf and iat",
            limit="401",
            why="as clocks that are set by NTP may, and requests take",
        ),
    )
    max_token_size: int = field(
        default=8 * KIB,
        metadata=about(
            Size(256, 64 * KIB), "one token", limit="401", why="tokens with many roles are 2KiB"
        ),
    )
    claims: tuple[str, ...] = field(
        default=(),
        metadata=about(
            Texts(proofs.claim, unit="list of claims"),
            "claims that PHP gets as WSGATE_CLAIM_NAME: sub, address.city, or NAME=CLAIM for "
            "another name; what is no text comes as JSON",
            limit="more than hook_param_bytes: 401",
            why="PHP gets what it asks for",
        ),
    )
    user_claim: str | None = field(
        default=None,
        metadata=about(
            Text(),
            "the claim that is the user, as sub: binds the connection, as Wsgate-User does",
            limit="missing, or no name: 401",
            why="applications choose which claim is theirs",
        ),
    )
    close_at_expiry: bool = field(
        default=True,
        metadata=about(
            Flag(),
            'close the connection when the token ends: 4401 "token expired"',
            why="a token that is over lets nobody do anything",
        ),
    )

    def __post_init__(self) -> None:
        """See whether the options go together.

        Raises:
            OptionError: they do not.
        """
        secrets = [name for name in self.algorithms if name in SECRET_ALGORITHMS]
        if secrets and len(secrets) < len(self.algorithms):
            raise OptionError(
                "algorithms",
                f"{secrets[0]} takes a secret and the others public keys, which everybody may "
                "have; take one kind",
            )
        self._check_keys(secrets)
        _check_sources(self.sources)
        if self.optional and self.sources[-1].startswith("first_message"):
            raise OptionError("optional", "not with first_message: it would be no token for ever")
        self._check_claims()

    def _check_keys(self, secrets: list[str]) -> None:
        if self.key_file is None and self.jwks_url is None:
            raise OptionError("", "needs key_file or jwks_url too")
        if self.key_file is not None and self.jwks_url is not None:
            raise OptionError("jwks_url", "key_file is given too; leave one out")
        if self.jwks_url is not None and secrets:
            raise OptionError(
                "jwks_url", f"{secrets[0]} takes a secret, which no server gives away; use key_file"
            )
        if self.jwks_authority is not None and not (self.jwks_url or "").startswith("https:"):
            raise OptionError("jwks_authority", "only with a jwks_url of https")

    def _check_claims(self) -> None:
        params: dict[str, str] = {}
        for claim in self.claims:
            param, _ = claim_param(claim)
            if param in params:
                raise OptionError(
                    "claims",
                    f"{params[param]} and {claim} would both be {param}; rename one: NAME=CLAIM",
                )
            params[param] = claim


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedUrlOptions:
    """Lets in who comes with a URL that your application has signed (docs/tokens.md)."""

    key_file: str = field(
        metadata=about(
            Path(),
            "the keys, one on each line, 32 bytes or more; any of them may have signed; read anew "
            "when it has changed",
            limit="weak: an error at the start; later the keys before stay, and the log says so",
            why="there is none that would be a secret",
        )
    )
    max_lifetime: float = field(
        default=3600.0,
        metadata=about(
            Time(1, 10**9, zero=True),
            "how long a URL may be good for yet, when a client comes with it",
            limit="403",
            why="a URL that got into a log is soon of no use",
        ),
    )
    user_parameter: str | None = field(
        default=None,
        metadata=about(
            Text(),
            "the parameter that is the user: binds the connection, as Wsgate-User does",
            limit="missing, there twice, or no name: 403",
            why="applications choose which parameter is theirs",
        ),
    )
    close_at_expiry: bool = field(
        default=False,
        metadata=about(
            Flag(),
            'close the connection when the URL ends: 4401 "URL expired"',
            why="a URL is for coming in; who is in stays",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretOptions:
    """Lets in who knows a secret: another server, a device (docs/tokens.md)."""

    secret_file: str = field(
        metadata=about(
            Path(),
            "the secrets, one on each line, 16 to 4096 printable characters; any of them counts; "
            "read anew when it has changed",
            limit="weak: an error at the start; later those before stay, and the log says so",
            why="there is none that would be a secret",
        )
    )
    sources: tuple[str, ...] = field(
        default=("authorization",),
        metadata=about(
            Texts(proofs.own_source, unit="list of places"),
            "where the secret is: authorization, header:NAME, query:NAME, first_message, "
            "first_message:FIELD; " + _SOURCES_AT_ONCE,
            limit="nothing there, or another: 401",
            why="what programs have for it: Authorization: Bearer SECRET",
        ),
    )
    first_message_timeout: float = field(
        default=10.0,
        metadata=about(
            Time(0.1, 600),
            "first_message: how long a client may take to send it",
            limit='closed with 4401 "no token in time"',
            why="long enough for any program",
        ),
    )

    def __post_init__(self) -> None:
        """See whether the options go together.

        Raises:
            OptionError: they do not.
        """
        _check_sources(self.sources)
