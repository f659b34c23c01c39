"""Sessions as each session.serialize_handler of PHP writes them."""

import contextlib
import shutil
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hooks.session.php_values import VALUES, PHPWriter, expected, shown
from wsgate.hooks.session.formats import READERS, read
from wsgate.hooks.session.unserialize import MAX_VALUES, Opaque, Unreadable

needs_php = pytest.mark.skipif(shutil.which("php") is None, reason="needs php-cli")

# PHP leaves out numbers and refuses bars, in `php`; and long names, in `php_binary`.
NAMES = st.binary(min_size=1, max_size=20).filter(
    lambda name: b"|" not in name and not name.lstrip(b"-").isdigit()
)
SESSIONS = st.lists(st.tuples(NAMES, VALUES), max_size=5, unique_by=lambda item: item[0])


@pytest.fixture(scope="module", params=READERS)
def php(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sessions")
    writer = PHPWriter(
        "session_start() && [$_SESSION = $value] ? [session_encode(), session_abort()][0] : 0",
        *("-d", f"session.serialize_handler={request.param}"),
        *("-d", f"session.save_path={folder}", "-d", "session.use_cookies=0"),
        *("-d", "session.cache_limiter="),
    )
    yield request.param, writer
    writer.close()


@needs_php
@given(items=SESSIONS)
def test_what_php_saves_is_read(php, items):
    handler, writer = php
    session = ["array", items]
    written = writer.write(session)
    assert shown(dict(read(written, handler))) == expected(session), written


@pytest.mark.parametrize("handler", READERS)
def test_nothing_is_an_empty_session(handler):
    assert read(b"", handler) == {}


@pytest.mark.parametrize(
    ("handler", "written", "session"),
    [
        ("php", b"user_id|i:42;", {b"user_id": 42}),
        ("php", b"a|i:1;a|i:2;", {b"a": 2}),
        ("php", b"a|a:1:{i:0;i:7;}b|R:2;", {b"a": {b"0": 7}, b"b": 7}),
        ("php", b'o|O:1:"P":0:{}b|i:1;', {b"o": Opaque.OBJECT, b"b": 1}),
        ("php", b"x" * 1024 + b"|N;", {b"x" * 1024: None}),
        ("php_binary", b"\x07user_idi:42;", {b"user_id": 42}),
        ("php_binary", b"\x7f" + b"x" * 127 + b"N;", {b"x" * 127: None}),
        ("php_serialize", b"a:0:{}", {}),
    ],
)
def test_a_session_is_read(handler, written, session):
    assert read(written, handler) == session


@pytest.mark.parametrize(
    ("handler", "written"),
    [
        ("php", b"user_id"),
        ("php", b"user_id|"),
        ("php", b"user_id|i:42"),
        ("php", b"user_id|i:42;rest"),
        ("php", b"x" * 1025 + b"|N;"),
        ("php_binary", b"\x07user"),
        ("php_binary", b"\x80N;"),
        ("php_serialize", b"i:42;"),
        ("php_serialize", b"a:0:{}a:0:{}"),
    ],
)
def test_what_php_does_not_save_is_refused_by_the_name_of_the_setting(handler, written):
    with pytest.raises(Unreadable, match=f"session.serialize_handler = {handler} writes") as caught:
        read(written, handler)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "guess"),
    [
        (b"\0\0\0\2\x14\1\x11\7user_id\6*", "igbinary"),
        (b"\x81\xa7user_id*", "msgpack"),
        (b'a:1:{s:7:"user_id";i:42;}', "php_serialize"),
        (b"(\xb5/\xfd anything", "compressed"),
    ],
)
def test_the_error_says_what_it_looks_like(written, guess):
    with pytest.raises(Unreadable, match=guess):
        read(written, "php")


@pytest.mark.parametrize(("handler", "one"), [("php", b"%d|N;"), ("php_binary", b"\x05%05dN;")])
def test_the_values_of_all_names_are_counted_together(handler, one):
    def session(count):
        return b"".join(one % number for number in range(count))

    assert len(read(session(MAX_VALUES), handler)) == MAX_VALUES
    with pytest.raises(Unreadable, match="values"):
        read(session(MAX_VALUES + 1), handler)


@pytest.mark.parametrize("handler", READERS)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_session_or_refused(handler, data):
    with contextlib.suppress(Unreadable):
        assert isinstance(read(data, handler), Mapping)
