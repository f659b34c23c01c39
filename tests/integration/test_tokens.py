"""Tokens, signed URLs and secrets with a real gateway, a real PHP and real servers of keys."""

import contextlib
import json
import os
import signal
import subprocess
import time
from base64 import b64encode
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.hooks.token_keys import SECRET, jwk, jwks, private, public_pem
from tests.integration.gateway_process import eventually, free_port, gateway
from tests.integration.jwks_server import keys_server
from tests.integration.test_certificates import issue
from tests.integration.test_tls_service import Authority

PACKAGE = Path(__file__).parents[2] / "php"
SEEN = """<?php
file_put_contents('{scripts}/ran', "$_SERVER[WSGATE_EVENT]\\n", FILE_APPEND);
if ($_SERVER['WSGATE_EVENT'] === 'disconnect') {
    file_put_contents('{scripts}/left', json_encode($_SERVER));
}
if ($_SERVER['WSGATE_EVENT'] !== 'message') {
    http_response_code(204);
    exit;
}
header('Content-Type: application/json');
echo json_encode($_SERVER + ['get' => $_GET, 'input' => file_get_contents('php://input')]);
"""


def toml(value):
    return json.dumps(value)


def serving(use, *options, hook, **more):
    """A gateway with one hook, `login`, on its only route."""
    sets = [f"--set=hooks.login.{name}={toml(value)}" for name, value in hook.items()]
    return gateway(
        f"--set=hooks.login.use={toml(use)}",
        "--set=route.hooks=login",
        *sets,
        *options,
        script="seen.php",
        scripts={"seen.php": SEEN},
        **more,
    )


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    path.chmod(0o600)
    return str(path)


def replaced(path, content):
    new = Path(f"{path}.new")
    new.write_bytes(content)
    new.chmod(0o600)
    new.rename(path)


def token(algorithm="HS256", key=None, kid=None, number=0, seconds=60, **claims):
    claims = {"sub": "ada", "exp": int(time.time()) + seconds, **claims}
    key = private(algorithm, number) if key is None else key
    return jwt.encode(claims, key, algorithm, headers={"kid": kid} if kid else None)


def bearer(text):
    return {"additional_headers": {"Authorization": f"Bearer {text}"}}


def seen(running, path="/", **options):
    """What PHP sees of a client's message."""
    return json.loads(running.ask("hello", path, **options))


def refused(running, path="/", **options):
    """The answer that turns a client away."""
    with pytest.raises(InvalidStatus) as turned, running.connect(path, **options):
        pass
    return turned.value.response


def closed(client, seconds=20):
    """Code and reason of the close that comes."""
    with pytest.raises(ConnectionClosed) as ended:
        client.recv(timeout=seconds)
    return ended.value.rcvd.code, ended.value.rcvd.reason


def ran(running):
    """Which events PHP has run for."""
    path = running.place.scripts / "ran"
    return path.read_text().split() if path.exists() else []


HS = {"algorithms": "HS256", "leeway": 0}


@pytest.fixture
def secret_file(tmp_path):
    return written(tmp_path, "secret", SECRET + b"\n")


# -- jwt


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "PS384", "ES256", "EdDSA"])
def test_who_has_a_token_comes_in_and_php_sees_its_claims(tmp_path, algorithm):
    content = SECRET if algorithm == "HS256" else public_pem(algorithm)
    hook = {
        "algorithms": algorithm,
        "key_file": written(tmp_path, "key", content),
        "claims": ["name", "CITY=address.city", "roles", "gone"],
        "user_claim": "sub",
        "audience": "chat",
    }
    good = token(algorithm, name="Ada Ü", address={"city": "Köln"}, roles=["a"], aud="chat")
    with serving("jwt", hook=hook) as running:
        said = seen(running, **bearer(good))
        claims = {name: value for name, value in said.items() if name.startswith("WSGATE_CLAIM")}
        assert claims == {
            "WSGATE_CLAIM_NAME": "Ada Ü",
            "WSGATE_CLAIM_CITY": "Köln",
            "WSGATE_CLAIM_ROLES": '["a"]',
        }
        assert said["WSGATE_USER"] == "ada"
        for bad in (
            token(algorithm, aud="other"),
            token(algorithm),
            token(algorithm, aud="chat", seconds=-30),
            good[:-2],
            jwt.encode({"sub": "ada", "exp": 2**40, "aud": "chat"}, None, "none"),
        ):
            answer = refused(running, **bearer(bad))
            assert answer.status_code == 401
            challenge = 'Bearer realm="WebSocket", error="invalid_token"'
            assert answer.headers["WWW-Authenticate"] == challenge
            assert answer.body.decode().strip() == "Not authorized"
        answer = refused(running)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (
            401,
            'Bearer realm="WebSocket"',
        )
        assert ran(running) == ["message"]
        log = running.log()
        assert log.count("hooks.login: 127.0.0.1 refused") == 6
        assert "the token: it is for another audience (aud)" in log
        assert "the token: it has expired" in log
        for text in (good, good.split(".")[2], good.split(".")[1]):
            assert text not in log + running.errors()


def test_a_client_cannot_say_who_it_is_by_itself(secret_file):
    hook = {**HS, "key_file": secret_file, "claims": "role", "optional": True}
    headers = {"WSGATE_CLAIM_ROLE": "admin", "Wsgate-Claim-Role": "admin", "Wsgate-User": "root"}
    with serving("jwt", hook=hook) as running:
        said = seen(running, additional_headers=headers)
        assert "WSGATE_CLAIM_ROLE" not in said
        assert "WSGATE_USER" not in said


def test_a_token_as_a_subprotocol_is_never_the_one_that_is_taken(secret_file):
    hook = {**HS, "key_file": secret_file, "sources": "subprotocol:bearer."}
    options = ['--set=route.subprotocols=["chat.v1"]']
    with serving("jwt", *options, hook=hook) as running:
        offered = f"bearer.{token()}"
        for order in ([offered, "chat.v1"], ["chat.v1", offered]):
            with running.connect(subprotocols=order) as client:
                assert client.subprotocol == "chat.v1"
                assert client.response.headers.get_all("Sec-WebSocket-Protocol") == ["chat.v1"]
        with running.connect(subprotocols=[offered]) as client:
            assert client.subprotocol is None
        assert refused(running, subprotocols=["chat.v1"]).status_code == 401
        assert refused(running, subprotocols=["bearer.x", "chat.v1"]).status_code == 401
        assert offered not in running.log()


def test_what_a_token_says_of_itself_cannot_forge_or_break_the_log(secret_file):
    head = b64encode(b'{"alg": "\\ud800\\u202e\\nx"}').decode().rstrip("=")
    with serving("jwt", hook={"key_file": secret_file, **HS}) as running:
        assert refused(running, **bearer(f"{head}.e30.c2ln")).status_code == 401
        told = "its algorithm is \\ud800\\u202e | x, which is not allowed"
        eventually(lambda: told in running.log(), 20, "the log says it")
        assert "Traceback" not in running.log()


@pytest.mark.parametrize("source", ["cookie:jwt", "query:token", "header:X-Token"])
def test_a_token_is_in_a_cookie_a_query_or_a_header(secret_file, source):
    hook = {**HS, "key_file": secret_file, "sources": [source], "user_claim": "sub"}
    ways = {
        "cookie:jwt": ("/", {"additional_headers": {"Cookie": f"a=b; jwt={token()}"}}),
        "query:token": (f"/?a=b&token={token()}", {}),
        "header:X-Token": ("/", {"additional_headers": {"X-Token": token()}}),
    }
    with serving("jwt", hook=hook) as running:
        for name, (path, options) in ways.items():
            if name == source:
                assert seen(running, path, **options)["WSGATE_USER"] == "ada"
            else:
                assert refused(running, path, **options).status_code in (401, 403)
        assert token().split(".")[0] not in running.log()


def test_the_connection_ends_with_its_token_and_php_hears_it(secret_file):
    hook = {**HS, "key_file": secret_file, "claims": "sub", "user_claim": "sub"}
    events = "--events=connect,message,disconnect"
    with serving("jwt", events, "--set=gateway.state={folder}/state", hook=hook) as running:
        with running.connect(**bearer(token(seconds=6))) as client:
            client.send("hello")
            assert json.loads(client.recv(timeout=20))["WSGATE_CLAIM_SUB"] == "ada"
            assert closed(client) == (4401, "token expired")
        left = running.place.scripts / "left"
        told = json.loads(eventually(lambda: left.exists() and left.read_text(), 20, "PHP hears"))
        assert told["WSGATE_CLAIM_SUB"] == "ada"
        assert told["WSGATE_USER"] == "ada"
        assert (told["WSGATE_CLOSE_CODE"], told["WSGATE_CLOSE_REASON"]) == ("4401", "token expired")


def test_the_first_message_is_a_token_or_the_last(secret_file):
    hook = {
        **HS,
        "key_file": secret_file,
        "sources": "first_message:token",
        "claims": "sub",
        "first_message_timeout": "5s",
    }
    with serving("jwt", hook=hook) as running:
        with running.connect() as client:
            client.send(json.dumps({"token": token()}))
            client.send("hello")
            said = json.loads(client.recv(timeout=20))
            assert (said["input"], said["WSGATE_CLAIM_SUB"]) == ("hello", "ada")
        with running.connect() as client:
            client.send("hello")
            client.send(json.dumps({"token": token()}))
            client.send("hello")
            assert closed(client) == (4401, "invalid token")
        with running.connect() as client:
            assert closed(client) == (4401, "no token in time")
        assert ran(running) == ["message"]


def test_a_new_token_lets_a_client_stay(secret_file):
    hook = {**HS, "key_file": secret_file, "claims": "n", "renew_prefix": "token "}
    with serving("jwt", hook=hook) as running:
        first_ends = int(time.time()) + 6
        with running.connect(**bearer(token(exp=first_ends))) as one:
            one.send("token " + token(exp=first_ends + 3, n=2))
            one.send("hello")
            said = json.loads(one.recv(timeout=20))
            assert (said["input"], said["WSGATE_CLAIM_N"]) == ("hello", "2")
            assert closed(one) == (4401, "token expired")
            assert time.time() >= first_ends + 3
        with running.connect(**bearer(token())) as other:
            other.send("token " + token(sub="bob"))
            assert closed(other) == (4401, "invalid token")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_key_is_exchanged_without_a_restart(tmp_path, secret_file, workers):
    hook = {**HS, "key_file": secret_file}
    other = SECRET[::-1]
    old, new = bearer(token()), bearer(token(key=other))
    with serving("jwt", f"--workers={workers}", hook=hook) as running:
        assert seen(running, **old)
        assert refused(running, **new).status_code == 401
        replaced(secret_file, other + b"\n" + SECRET + b"\n")
        for _ in range(4):
            assert seen(running, **new)
            assert seen(running, **old)
        replaced(secret_file, b"weak")
        assert seen(running, **new)
        assert "what was there before stays" in running.log()
        assert "weak" in running.log()
        replaced(secret_file, other)
        for _ in range(4):
            assert refused(running, **old).status_code == 401
            assert seen(running, **new)


def test_sighup_with_a_key_of_no_use_changes_nothing(secret_file):
    hook = {**HS, "key_file": secret_file}
    with serving("jwt", hook=hook) as running:
        assert seen(running, **bearer(token()))
        replaced(secret_file, b"weak")
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "too weak" in running.log(), 20, "the log says it")
        assert seen(running, **bearer(token()))
        replaced(secret_file, SECRET[::-1])
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: _comes_in(running, **bearer(token(key=SECRET[::-1]))), 20, "the new key")


def _comes_in(running, **options):
    with contextlib.suppress(InvalidStatus), running.connect(**options):
        return True
    return False


@pytest.mark.parametrize(
    ("content", "algorithms", "why"),
    [
        (
            b"short",
            "HS256",
            "a secret that is too weak; HS256 takes 32 bytes or more: openssl rand -hex 32",
        ),
        (
            public_pem("RS256"),
            "HS256",
            "a public key, and HS256 takes a secret: everybody could sign with it; "
            "write the algorithm of the key, like RS256, ES256 or EdDSA",
        ),
        (SECRET, "RS256", "holds no public key in PEM"),
    ],
)
def test_a_bad_key_stops_the_start_with_one_line(tmp_path, content, algorithms, why):
    hook = {"algorithms": algorithms, "key_file": written(tmp_path, "key", content)}
    with pytest.raises(AssertionError) as stopped, serving("jwt", hook=hook):
        pass
    said = str(stopped.value)
    assert f'hooks.login.key_file = "{hook["key_file"]}": {why}' in said
    assert "Traceback" not in said


# -- keys of a server


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def provider(authority):
    """A server of keys over TLS, and the hook that trusts it."""
    path = authority.folder / "provider.both"
    path.write_bytes(issue(authority, "localhost")[0])
    with keys_server(jwks(jwk("RS256", kid="one")), str(path)) as server:
        server.hook = {
            "algorithms": ["RS256"],
            "jwks_url": f"https://localhost:{server.server_port}/jwks",
            "jwks_authority": str(authority.path),
        }
        yield server


def known(number=0, kid="one"):
    return bearer(token("RS256", kid=kid, number=number))


def test_keys_of_a_server_are_fetched_kept_and_exchanged(provider):
    with serving("jwt", hook=provider.hook) as running:
        for _ in range(5):
            assert seen(running, **known())
        assert provider.asked == 1
        # A token may name any key, signed or not: that makes nobody ask more than once.
        for number in range(20):
            assert refused(running, **known(kid=f"made-up-{number}")).status_code == 401
        assert provider.asked == 1
        provider.body = jwks(jwk("RS256", kid="one"), jwk("RS256", 1, kid="two"))
        eventually(lambda: _comes_in(running, **known(1, "two")), 30, "the new key is known")
        assert provider.asked == 2
        assert seen(running, **known())
        assert refused(running, **known(1)).status_code == 401
        # Gone with its server, they stay in use.
        provider.status = 500
        for _ in range(5):
            assert seen(running, **known())


def test_a_reload_keeps_the_keys_of_a_server_that_is_away(provider):
    with serving("jwt", hook=provider.hook) as running:
        assert seen(running, **known())
        provider.status = 500
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "SIGHUP: " in running.log(), 20, "it has reloaded")
        for _ in range(3):
            assert seen(running, **known())
        assert provider.asked == 1


@pytest.mark.parametrize(
    "fault", ["status", "garbage", "huge", "empty", "slow", "down", "stranger"]
)
def test_without_keys_nobody_comes_in_until_they_are_there(provider, authority, tmp_path, fault):
    good, hook = provider.body, dict(provider.hook)
    if fault == "status":
        provider.status = 503
    elif fault in ("garbage", "huge", "empty"):
        provider.body = {"garbage": b"<html>", "huge": b" " * 300_000, "empty": b'{"keys":[]}'}[
            fault
        ]
    elif fault == "slow":
        provider.let.clear()
    elif fault == "stranger":
        hook["jwks_authority"] = str(Authority(tmp_path).path)
    elif fault == "down":
        hook["jwks_url"] = f"https://localhost:{free_port()}/jwks"
    with serving("jwt", hook=hook) as running:
        began = time.monotonic()
        assert refused(running, **known()).status_code == 503
        assert time.monotonic() - began < 10
        # Whoever brings nothing, or nothing that could be good, hears 401 as ever.
        assert refused(running).status_code == 401
        assert refused(running, **bearer("x")).status_code == 401
        if fault in ("stranger", "down"):
            return
        provider.status, provider.body = 200, good
        provider.let.set()
        eventually(lambda: _comes_in(running, **known()), 30, "the keys are there")
        assert ran(running) == []


def test_a_route_may_go_on_without_keys_but_never_with_a_bad_token(provider):
    provider.status = 500
    option = "--set=route.on_hook_failure=pass"
    hook = {**provider.hook, "claims": "sub"}
    with serving("jwt", option, hook=hook) as running:
        assert "WSGATE_CLAIM_SUB" not in seen(running, **known())
        assert refused(running).status_code == 401
        assert refused(running, **bearer(token("HS256"))).status_code == 401


def test_a_token_of_a_made_up_key_is_not_let_in_by_a_slow_server(provider):
    """Who can make the server of keys slow, and choose a kid, would be in otherwise."""
    option = "--set=route.on_hook_failure=pass"
    with serving("jwt", option, hook=provider.hook) as running:
        assert seen(running, **known())
        # The server may be asked anew after ten seconds.
        provider.let.clear()
        until = time.monotonic() + 12
        while time.monotonic() < until:
            assert refused(running, **known(1, "made-up")).status_code == 401
        assert provider.asked == 2


def test_a_first_message_is_not_for_php_where_its_keys_are_away(provider):
    provider.status = 500
    hook = {**provider.hook, "sources": "first_message"}
    option = "--set=route.on_hook_failure=pass"
    with serving("jwt", option, hook=hook) as running, running.connect() as client:
        client.send(token("RS256", kid="one"))
        client.send("hello")
        assert closed(client) == (1013, "try again later")
        assert ran(running) == []


# -- signed_url


def php(code):
    """What real PHP prints."""
    done = subprocess.run(
        ["php", "-d", "error_reporting=-1", "-d", "display_errors=stderr"],
        input=code,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout


def signed_by_php(path, key_file, seconds=60, parameters="['user' => 'Ada Ü', 'room' => 'a b&c']"):
    return php(f"""<?php
        $key = trim(file_get_contents('{key_file}'));
        $url = '{path}?' . http_build_query({parameters} + ['expires' => time() + {seconds}]);
        echo $url . '&signature=' . hash_hmac('sha256', $url, $key);
    """)


def signed_by_the_package(path, key_file, seconds=60):
    return php(f"""<?php
        require '{PACKAGE}/autoload.php';
        echo Wsgate\\UrlSigner::fromFile('{key_file}')
            ->sign('{path}', ['user' => 'Ada Ü', 'room' => 'a b&c'], {seconds});
    """)


@pytest.mark.parametrize("sign", [signed_by_php, signed_by_the_package])
def test_a_url_that_php_has_signed_lets_in(secret_file, sign):
    hook = {"key_file": secret_file, "user_parameter": "user"}
    with serving("signed_url", hook=hook) as running:
        url = sign("/caf%C3%A9", secret_file)
        said = seen(running, url)
        assert said["WSGATE_USER"] == "Ada Ü"
        assert (said["get"]["room"], said["get"]["user"]) == ("a b&c", "Ada Ü")
        path, _, query = url.partition("?")
        for bad in (
            f"/other?{query}",
            path,
            f"{url}&user=root",
            f"{path}?user=root&{query}",
            url.replace("a+b", "a%20b"),
            url[:-1] + ("0" if url[-1] != "0" else "1"),
            sign("/caf%C3%A9", secret_file, seconds=-1),
            sign("/caf%C3%A9", secret_file, seconds=3700),
        ):
            answer = refused(running, bad)
            assert (answer.status_code, answer.body.decode().strip()) == (403, "Refused")
        assert ran(running) == ["message"]
        assert "signature=" not in running.log()
        assert "the URL: it has expired" in running.log()
        signature = parse_qs(urlsplit(url).query)["signature"][0]
        assert signature not in running.log()


def test_a_connection_may_end_with_its_url(secret_file):
    hook = {"key_file": secret_file, "close_at_expiry": True}
    with serving("signed_url", hook=hook) as running:
        url = signed_by_php("/", secret_file, seconds=5)
        with running.connect(url) as client:
            assert closed(client) == (4401, "URL expired")
        assert refused(running, url).status_code == 403


# -- secret


def test_who_knows_a_secret_comes_in(tmp_path):
    path = written(tmp_path, "secrets", SECRET + b"\n" + SECRET[::-1] + b"\n")
    hook = {"secret_file": path, "sources": ["header:X-Secret", "first_message"]}
    with serving("secret", hook=hook) as running:
        for known_one in (SECRET, SECRET[::-1]):
            headers = {"X-Secret": known_one.decode()}
            assert seen(running, additional_headers=headers)["input"] == "hello"
        with running.connect() as client:
            client.send(SECRET.decode())
            client.send("hello")
            assert json.loads(client.recv(timeout=20))["input"] == "hello"
        with running.connect() as client:
            client.send("hello")
            assert closed(client) == (4401, "invalid secret")
        assert refused(running, additional_headers={"X-Secret": "x" * 64}).status_code == 401
        assert SECRET.decode() not in running.log()


def test_a_secret_that_everybody_can_read_is_warned_of(tmp_path):
    path = written(tmp_path, "secrets", SECRET)
    os.chmod(path, 0o644)
    with serving("secret", hook={"secret_file": path}) as running:
        assert "every user of this machine can read it; chmod 600 it" in running.log()
        assert seen(running, **bearer(SECRET.decode()))
