"""wsgate.hooks.jwt, and what it has in common with `secret`: connections come, stay and end."""

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.hooks.connections import FakeConnection
from tests.hooks.services import made_services
from tests.hooks.token_keys import NOW, SECRET, jwk, jwks, public_pem, signed, token
from wsgate.config.errors import OptionError
from wsgate.config.tokens import JwtOptions, SecretOptions
from wsgate.hooks import Answer, Close, Message, Refuse
from wsgate.hooks import jwt as jwt_hook
from wsgate.hooks import secret as secret_hook
from wsgate.hooks.tokens.door import DAY, LONGEST_FIRST
from wsgate.hooks.tokens.jwks import KeysAway

# How late a timeout of `Timeouts` may be.
LATE = 0.2
BEARER = "Authorization"


class Place:
    """A hook, its clock and what it counted."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = Clock()
        self.counted = []
        self.services = made_services(
            self.clock,
            lambda _hook, outcome: self.counted.append(outcome),
            name="login",
            wall=lambda: NOW + self.clock.seconds(),
        )

    def file(self, content, name="key"):
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return str(path)

    def jwt(self, *sources, key=SECRET, algorithms=("HS256",), **options):
        given = {"sources": sources} if sources else {}
        made = JwtOptions(
            algorithms=algorithms, key_file=self.file(key), leeway=0.0, **given, **options
        )
        self.hook = jwt_hook.make(self.services, made)
        return self

    def secret(self, *sources, content=SECRET, **options):
        given = {"sources": sources} if sources else {}
        made = SecretOptions(secret_file=self.file(content), **given, **options)
        self.hook = secret_hook.make(self.services, made)
        return self

    def client(self, **about):
        return FakeConnection(self.clock, **about)

    def bearer(self, text):
        return self.client(headers=[(BEARER, f"Bearer {text}")])

    def connect(self, connection):
        return said(self.hook.on_connect(connection))

    def message(self, connection, payload):
        data = payload.encode() if isinstance(payload, str) else payload
        message = Message("c1:1", data, not isinstance(payload, str), lambda _: None)
        return said(self.hook.on_message(connection, message))

    def later(self, seconds):
        while seconds > 0:
            self.clock.advance(min(seconds, 0.1))
            seconds -= 0.1


def said(word):
    """What a hook says, at once."""
    if word is None or isinstance(word, tuple):
        return word
    results = []
    asked = Deferred.fromCoroutine(word)
    asked.addCallbacks(results.append, lambda failure: results.append(failure.value))
    assert results, "it waits"
    return results[0]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


# -- at the connect


def test_who_has_a_token_comes_in(place):
    client = place.jwt().bearer(token())
    assert place.connect(client) is None
    assert client.closed is None
    assert place.counted == ["let_in"]


def test_who_has_none_hears_how_to_prove_itself(place):
    said = place.jwt().connect(place.client())
    assert said == Refuse(
        401, "not authorized", (("WWW-Authenticate", 'Bearer realm="WebSocket"'),)
    )
    assert place.counted == []


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "a.b.c",
        token(key=SECRET[::-1]),
        token(exp=NOW),
        token(aud="other"),
        token(nbf=NOW + 1),
        token("RS256"),
        token(exp=None),
        token(pad="x" * 9000),
    ],
)
def test_who_has_a_bad_one_is_not_told_why(place, text, logged):
    said = place.jwt().connect(place.bearer(text))
    challenge = 'Bearer realm="WebSocket", error="invalid_token"'
    assert said == Refuse(401, "not authorized", (("WWW-Authenticate", challenge),))
    (line,) = logged()
    assert line.startswith("hooks.login: 192.0.2.1 refused (c1): the token: it")
    assert text not in line or text == "x"


def test_two_tokens_are_refused(place):
    both = place.client(headers=[(BEARER, f"Bearer {token()}")] * 2)
    assert place.jwt().connect(both).status == 401


def test_where_it_is_optional_nobody_needs_one_but_a_bad_one_is_refused(place):
    place.jwt(optional=True, claims=("sub",))
    client = place.client()
    assert place.connect(client) is None
    assert client.params == {}
    assert place.connect(place.bearer(token(exp=NOW))).status == 401
    assert place.counted == ["without"]


def test_the_claims_are_for_php(place):
    claims = ("sub", "roles", "CITY=address.city", "nobody", "https://a/x")
    client = place.jwt(claims=claims, user_claim="id").bearer(
        token(roles=["a", "b"], address={"city": "Köln"}, id=7, **{"https://a/x": True})
    )
    client.params["WSGATE_CLAIM_NOBODY"] = "left over"
    assert place.connect(client) is None
    assert client.params == {
        "WSGATE_CLAIM_SUB": "ada",
        "WSGATE_CLAIM_ROLES": '["a","b"]',
        "WSGATE_CLAIM_CITY": "Köln",
        "WSGATE_CLAIM_HTTPS_A_X": "true",
    }
    assert client.user == "7"


@pytest.mark.parametrize("sub", [None, "", True, [], "line\nbreak", 1.5])
def test_without_a_user_nobody_comes_in(place, sub):
    text = token(sub="x") if sub is None else token(sub=sub)
    place.jwt(user_claim="user" if sub is None else "sub")
    client = place.bearer(text)
    assert place.connect(client).status == 401
    assert client.user is None


@pytest.mark.parametrize("name", ["a\nb", "a\0b"])
def test_claims_that_cannot_be_params_are_refused(place, name):
    assert place.jwt(claims=("name",)).connect(place.bearer(token(name=name))).status == 401


def test_claims_without_room_are_refused(place, logged):
    place.jwt(claims=("name",))
    for length, is_in in ((8192, True), (8193, False)):
        client = place.bearer(token(name="x" * length))
        client.room = 8192
        # The token itself may be longer than the claim.
        place.jwt(claims=("name",), max_token_size=64 * 1024)
        assert (place.connect(client) is None) == is_in
    assert logged()[-1].endswith("the token: its claims cannot be params, or have no room")


def test_half_a_surrogate_pair_is_refused(place):
    text = signed(json.dumps({"exp": NOW + 9, "name": "\ud800"}).encode())
    client = place.jwt(claims=("name",)).bearer(text)
    assert place.connect(client).status == 401


@pytest.mark.parametrize(
    ("source", "about"),
    [
        ("header:X-Token", {"headers": [("X-Token", token())]}),
        ("cookie:jwt", {"cookies": {"jwt": token()}}),
        ("query:token", {"query": f"a=1&token={token()}"}),
        ("subprotocol:bearer.", {"offered": ["chat.v1", f"bearer.{token()}"]}),
    ],
)
def test_a_token_is_found_in_its_place_only(place, source, about):
    assert place.jwt(source).connect(place.client(**about)) is None
    others = ("authorization", "header:Other", "cookie:other", "query:other", "subprotocol:other.")
    assert place.jwt(*others).connect(place.client(**about)).status == 401


def test_a_secret_header_has_no_challenge(place):
    place.jwt("header:X-Token")
    assert place.connect(place.client()) == Refuse(403, "refused")


# -- the end of a token


@pytest.mark.parametrize("leeway", [0.0, 5.0])
def test_the_connection_ends_with_its_token(place, leeway):
    place.jwt()
    options = JwtOptions(algorithms=("HS256",), key_file=str(place.folder / "key"), leeway=leeway)
    place.hook = jwt_hook.make(place.services, options)
    client = place.bearer(token())
    place.connect(client)
    place.later(60 + leeway - 0.2)
    assert client.closed is None
    place.later(2 * LATE)
    assert client.closed == (4401, "token expired")
    assert place.counted == ["let_in", "expired"]


def test_it_may_stay_where_the_settings_say_so(place):
    client = place.jwt(close_at_expiry=False).bearer(token())
    place.connect(client)
    assert not place.clock.getDelayedCalls()
    endless = place.jwt(require_exp=False).bearer(token(exp=None))
    assert place.connect(endless) is None
    assert len(endless.timeouts) == 0


def test_a_token_of_years_is_looked_at_each_day(place):
    client = place.jwt().bearer(token(exp=NOW + 2**40))
    place.connect(client)
    for _ in range(3):
        (call,) = place.clock.getDelayedCalls()
        assert call.getTime() - place.clock.seconds() <= DAY + LATE
        place.clock.advance(DAY + LATE)
    assert client.closed is None


def test_a_clock_that_is_set_back_ends_nothing_too_soon(place):
    client = place.jwt().bearer(token())
    place.connect(client)
    set_back = 30
    object.__setattr__(place.services, "wall", lambda: NOW + place.clock.seconds() - set_back)
    place.later(60 + LATE)
    assert client.closed is None
    place.later(set_back + LATE)
    assert client.closed == (4401, "token expired")


# -- the first message


@pytest.mark.parametrize(
    ("source", "wrap"),
    [
        ("first_message", lambda text: text),
        ("first_message", lambda text: f" {text}\n"),
        ("first_message:token", lambda text: json.dumps({"type": "login", "token": text})),
        ("first_message:payload.jwt", lambda text: json.dumps({"payload": {"jwt": text}})),
    ],
)
def test_the_first_message_is_the_token_and_not_for_php(place, source, wrap):
    place.jwt(source, claims=("sub",))
    client = place.client()
    assert place.connect(client) is None
    assert client.params == {}
    assert place.message(client, wrap(token())) == Answer(None)
    assert client.params == {"WSGATE_CLAIM_SUB": "ada"}
    assert place.message(client, "hello") is None
    assert place.message(client, wrap(token())) is None
    place.later(30)
    assert client.closed is None
    place.later(31)
    assert client.closed == (4401, "token expired")


@pytest.mark.parametrize(
    ("source", "payload"),
    [
        ("first_message", "hello"),
        ("first_message", ""),
        ("first_message", token(exp=NOW)),
        ("first_message", token().encode()),
        ("first_message", " " * LONGEST_FIRST + token()),
        ("first_message:token", token()),
        ("first_message:token", "[]"),
        ("first_message:token", "{}"),
        ("first_message:token", '{"token":1}'),
        ("first_message:token", "[" * 9000),
        ("first_message:token", json.dumps({"token": token(key=SECRET[::-1])})),
    ],
)
def test_any_other_first_message_ends_it(place, source, payload):
    client = place.jwt(source).client()
    assert place.connect(client) is None
    assert place.message(client, payload) == Close(4401, "invalid token")
    # What came behind it has no better chance.
    assert place.message(client, "hello") == Close(4401, "invalid token")


def test_a_token_comes_in_time_or_not_at_all(place):
    client = place.jwt("first_message", first_message_timeout=3.0).client()
    place.connect(client)
    place.later(2.9)
    assert client.closed is None
    place.later(2 * LATE)
    assert client.closed == (4401, "no token in time")
    assert place.counted == ["late"]


def test_who_brings_it_at_once_need_not_send_it(place):
    client = place.jwt("authorization", "first_message").bearer(token())
    assert place.connect(client) is None
    assert place.message(client, "hello") is None
    assert place.connect(place.bearer(token(exp=NOW))).status == 401


def test_first_messages_wait_for_nobody_s_keys(place):
    """Not even on a route that passes what hooks cannot judge does PHP get the token."""
    place.jwt("first_message")

    async def away(_connection, _brought):
        raise KeysAway("no keys")

    place.hook.judge.judge = away
    client = place.client()
    place.connect(client)
    assert place.message(client, token()) == Close(1013, "try again later")
    assert place.counted == ["failed"]


# -- a new token


def test_a_new_token_takes_the_place_of_the_old(place):
    place.jwt(renew_prefix="token ", claims=("name",))
    client = place.bearer(token(name="one"))
    place.connect(client)
    place.later(50)
    renewed = "token " + token(name="two", exp=NOW + 120)
    assert place.message(client, renewed) == Answer(None)
    assert client.params == {"WSGATE_CLAIM_NAME": "two"}
    place.later(60)
    assert client.closed is None
    place.later(11)
    assert client.closed == (4401, "token expired")
    assert place.counted == ["let_in", "renewed", "expired"]


@pytest.mark.parametrize(
    "other", [{"sub": "bob"}, {"sub": None}, {"iss": "other"}, {"id": 8}, {"exp": NOW}]
)
def test_a_new_token_is_of_the_same_user(place, other):
    place.jwt(renew_prefix="token ", user_claim="id", claims=("sub",))
    client = place.bearer(token(id=7))
    place.connect(client)
    text = token(**{"id": 7, **other})
    assert place.message(client, f"token {text}") == Close(4401, "invalid token")
    assert (client.user, client.params) == ("7", {"WSGATE_CLAIM_SUB": "ada"})


def test_other_messages_are_for_php(place):
    place.jwt(renew_prefix="token ")
    client = place.bearer(token())
    place.connect(client)
    for payload in ("hello", "token", b"token " + token().encode(), ""):
        assert place.message(client, payload) is None


def test_a_new_token_that_nobody_can_judge_is_tried_again(place):
    place.jwt(renew_prefix="token ")
    client = place.bearer(token())
    place.connect(client)

    async def away(_connection, _brought):
        raise KeysAway("no keys")

    place.hook.judge.judge = away
    assert place.message(client, f"token {token()}").status == 503
    assert client.closed is None


def test_a_hook_without_messages_has_none(place):
    from wsgate.hooks import Hook

    assert type(place.jwt().hook).on_message is Hook.on_message


# -- keys


def test_a_key_that_is_exchanged_counts(place):
    place.jwt(key=SECRET + b"\n")
    assert place.connect(place.bearer(token(key=SECRET[::-1]))).status == 401
    place.file(SECRET + b"\n" + SECRET[::-1] + b"\n")
    assert place.connect(place.bearer(token(key=SECRET[::-1]))) is None
    assert place.connect(place.bearer(token())) is None
    place.file(SECRET[::-1])
    assert place.connect(place.bearer(token())).status == 401


@pytest.mark.parametrize(
    ("algorithms", "key", "why"),
    [
        (("RS256",), SECRET, "holds no public key"),
        (("HS256",), public_pem("RS256"), "could sign with it"),
        (("HS256",), b"short", "too weak"),
        (("ES384",), public_pem("ES256"), "has no key for ES384"),
        (("RS256",), jwks(jwk("RS256", use="enc")), "has no key for RS256"),
    ],
)
def test_a_file_without_a_key_is_an_error_at_the_start(place, algorithms, key, why):
    with pytest.raises(OptionError, match=why) as caught:
        place.jwt(key=key, algorithms=algorithms)
    assert caught.value.option == "key_file"
    assert str(place.folder) not in str(caught.value)


def test_an_authority_that_is_none_is_an_error_at_the_start(place):
    authority = place.file(b"-----BEGIN nothing", "ca.pem")
    options = JwtOptions(
        algorithms=("RS256",), jwks_url="https://id.example/jwks", jwks_authority=authority
    )
    with pytest.raises(OptionError, match=r"^no certificates in it$"):
        jwt_hook.make(place.services, options)
    place.file(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "ca.pem")
    with pytest.raises(OptionError, match=r"^a certificate in it cannot be read$"):
        jwt_hook.make(place.services, options)


# -- secrets


def test_who_knows_the_secret_comes_in(place):
    place.secret()
    assert place.connect(place.bearer(SECRET.decode())) is None
    for wrong in (SECRET[:-1].decode(), SECRET.decode() + "x", "x", "ü" * 20):
        assert place.connect(place.bearer(wrong)).status == 401
    assert place.connect(place.client()).status == 401


def test_each_of_several_secrets_counts_until_it_is_gone(place):
    other = SECRET[::-1]
    place.secret("header:X-Key", content=SECRET + b"\n\n" + other + b"\n")
    for known in (SECRET, other):
        assert place.connect(place.client(headers=[("X-Key", known.decode())])) is None
    place.file(other)
    client = place.client(headers=[("X-Key", SECRET.decode())])
    assert place.connect(client) == Refuse(403, "refused")


def test_a_secret_is_in_the_query_or_the_first_message(place, logged):
    place.secret("query:key", "first_message")
    assert place.connect(place.client(query=f"key={SECRET.decode()}")) is None
    client = place.client()
    assert place.connect(client) is None
    assert place.message(client, SECRET.decode()) == Answer(None)
    client = place.client()
    place.connect(client)
    assert place.message(client, "x" + SECRET.decode()) == Close(4401, "invalid secret")
    client = place.client()
    place.connect(client)
    place.later(10 + LATE)
    assert client.closed == (4401, "no secret in time")
    assert not any(SECRET.decode() in line for line in logged())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "needs 1 to 64 lines"),
        (b"x" * 15, "needs 1 to 64 lines"),
        (b"aaaabbbb" * 4, "easy to guess"),
        (b"two words that are long", "needs 1 to 64 lines"),
        (b"\n".join([SECRET] * 65), "needs 1 to 64 lines"),
        (SECRET + b"\nshort", "needs 1 to 64 lines"),
    ],
)
def test_a_file_without_a_secret_is_an_error_at_the_start(place, content, why):
    with pytest.raises(OptionError, match=why):
        place.secret(content=content)
    assert place.secret(content=b"0123456789abcdef").hook
    assert place.secret(content=b"\n".join([SECRET] * 64)).hook
