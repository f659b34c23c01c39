"""wsgate.control.token: which files are good, and who is let in."""

import pytest
from twisted.logger import globalLogPublisher

from wsgate.control.token import is_allowed, read_token
from wsgate.secretfile import SecretUnusable

TOKEN = b"0123456789abcdef"


def file_of(tmp_path, content, mode=0o600):
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@pytest.fixture
def warnings():
    seen = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


def test_the_token_is_the_only_line(tmp_path, warnings):
    assert read_token(file_of(tmp_path, TOKEN + b"\n")) == TOKEN
    assert warnings == []


def test_a_file_that_everybody_can_read_gives_a_warning(tmp_path, warnings):
    assert read_token(file_of(tmp_path, TOKEN, 0o644)) == TOKEN
    (event,) = warnings
    assert "chmod 600" in event["log_format"]
    assert TOKEN.decode() not in str(event)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        TOKEN[:15],
        b"a" * 4097,
        TOKEN + b"\n" + TOKEN,
        TOKEN + b" x",
        TOKEN + b"\0",
        b"\xff" * 16,
        b"=" * 16,
    ],
)
def test_anything_else_is_one_line_that_does_not_show_it(tmp_path, content):
    with pytest.raises(SecretUnusable) as caught:
        read_token(file_of(tmp_path, content))
    line = str(caught.value)
    assert line.startswith("--control-token-file ")
    assert "openssl rand -hex 32" in line
    assert "\n" not in line
    assert TOKEN[:15].decode() not in line


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(SecretUnusable, match="No such file"):
        read_token(str(tmp_path / "none"))


def test_the_shortest_and_the_longest_are_good(tmp_path):
    for token in (TOKEN, b"a" * 4096, b"a" * 15 + b"="):
        assert read_token(file_of(tmp_path, token)) == token


@pytest.mark.parametrize(
    "given",
    [[b"Bearer " + TOKEN], [b"bearer " + TOKEN], [b"BEARER  " + TOKEN + b" "]],
)
def test_the_right_token_is_let_in(given):
    assert is_allowed(TOKEN, given)


@pytest.mark.parametrize(
    "given",
    [
        [],
        [b""],
        [b"Bearer"],
        [b"Bearer "],
        [TOKEN],
        [b"Basic " + TOKEN],
        [b"Bearer " + TOKEN[:-1]],
        [b"Bearer " + TOKEN + b"0"],
        [b"Bearer " + TOKEN.upper()],
        [b"Bearer " + TOKEN, b"Bearer " + TOKEN],
        [b"Bearer wrong", b"Bearer " + TOKEN],
    ],
)
def test_nobody_else_is(given):
    assert not is_allowed(TOKEN, given)


def test_without_a_token_everybody_is():
    assert is_allowed(None, [])
