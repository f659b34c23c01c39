"""Keys are fetched from real servers, over TLS that is verified; faults are errors in words."""

import json
import subprocess
import sys
import time

import pytest

from tests.integration.gateway_process import free_port
from tests.integration.jwks_server import keys_server
from tests.integration.test_certificates import issue
from tests.integration.test_tls_service import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def certificate(authority, name, **more):
    path = authority.folder / f"{name}{len(more)}.both"
    path.write_bytes(issue(authority, name, **more)[0])
    return str(path)


def fetched(authority, *urls):
    """What came of each URL, and in how many seconds."""
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "tests.integration.fetch_documents", str(authority), *urls],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return json.loads(ran.stdout), time.monotonic() - began


def test_a_document_comes_over_tls_and_over_http(authority):
    with (
        keys_server(b'{"keys":[]}', certificate(authority, "localhost")) as secure,
        keys_server(b"plain") as plain,
    ):
        secure.cache_control = "public, max-age=300"
        urls = [
            f"https://localhost:{secure.server_port}/jwks?x=1",
            f"http://127.0.0.1:{plain.server_port}/jwks",
        ]
        results, _ = fetched(authority.path, *urls)
    assert results == [['{"keys":[]}', 300.0], ["plain", None]]


def test_a_server_that_is_somebody_else_gives_no_keys(authority, tmp_path):
    other = Authority(tmp_path)
    with (
        keys_server(b"x", certificate(other, "localhost")) as stranger,
        keys_server(b"x", certificate(authority, "elsewhere.example")) as elsewhere,
        keys_server(b"x", certificate(authority, "localhost", days=-1)) as expired,
        keys_server(b"x", certificate(authority, "localhost", named=False)) as nameless,
        keys_server(b"x") as plain,
    ):
        servers = (stranger, elsewhere, expired, nameless, plain)
        urls = [f"https://localhost:{server.server_port}/jwks" for server in servers]
        results, _ = fetched(authority.path, *urls)
        untrusting, _ = fetched("", f"https://localhost:{elsewhere.server_port}/jwks")
        assert [server.asked for server in servers[:4]] == [0] * 4
    for why, words in zip(
        results,
        ("not trusted", "not for localhost", "expired", "not for localhost", "TLS"),
        strict=True,
    ):
        assert words in why
    assert "jwks_authority" in results[0]
    assert "not trusted" in untrusting[0] or "signed by itself" in untrusting[0]


def test_faults_of_a_server_are_errors_in_time_and_within_memory(authority):
    paths = ("redirect", "huge", "trickle", "half", "nothing", "garbage", "jwks")
    with keys_server(b"x") as server:
        server.status = 500
        server.let.clear()
        address = f"http://127.0.0.1:{server.server_port}"
        urls = [f"{address}/{path}" for path in paths]
        results, seconds = fetched(authority.path, *urls, f"http://127.0.0.1:{free_port()}/jwks")
        assert server.asked == len(paths)
        server.let.set()
        status, _ = fetched(authority.path, f"{address}/jwks")
    assert all(isinstance(result, str) for result in results), results
    for why, words in (
        (results[0], "its server answers 302; redirects are not followed, name where it leads"),
        (results[1], "more than 256KiB"),
        (results[2], "took longer than 5 s"),
        (results[3], "broke off"),
        (results[6], "took longer than 5 s"),
        (results[7], "refused"),
        (status[0], "its server answers 500"),
    ):
        assert words in why
    assert 5 <= seconds < 60
