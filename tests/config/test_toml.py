"""wsgate.config.toml: the file, and what is said when it cannot be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.config import ConfigError, build, read
from wsgate.config.toml import LARGEST_FILE


def error_of(path):
    with pytest.raises(ConfigError) as caught:
        build([read(str(path))])
    assert str(caught.value).isprintable()
    return str(caught.value).replace(str(path), "FILE")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "wsgate.toml"


def test_relative_names_begin_at_the_file_s_folder(file, monkeypatch):
    (file.parent / "ws.php").write_text("<?php")
    file.write_text('[[route]]\nscript = "ws.php"\n')
    monkeypatch.chdir("/")
    expected = str(file.parent / "ws.php")
    assert build([read(str(file))]).routes[0].script == expected
    monkeypatch.chdir(file.parent)
    assert build([read("wsgate.toml")]).routes[0].script == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[limits\n", "FILE, line 1, column 8: Expected ']' at the end of a table declaration"),
        ('[limits]\nqueue = "', "FILE, line 2, at its end: Unterminated string"),
        ("[limits]\na = 1\na = 2\n", "FILE, line 3, column 6: Cannot overwrite a value"),
        ("[limits]\nmax_connections =\n", "FILE, line 2, column 18: Invalid value"),
        (
            "[limits]\nmax_mesage_size = 1\n",
            "FILE: limits.max_mesage_size: unknown setting; did you mean limits.max_message_size?",
        ),
        (
            '[limits]\nmax_message_size = "1MB"\n',
            'FILE: limits.max_message_size = "1MB": '
            "not a size; write bytes or KiB/MiB/GiB, like 1MiB",
        ),
        (
            '[[route]]\npath = "/a"\nscript = "/nowhere.php"\n',
            'FILE: route[/a].script = "/nowhere.php": no such file',
        ),
    ],
)
def test_a_wrong_file_is_one_line_with_the_place(file, text, line):
    file.write_text(text)
    assert error_of(file) == line


def test_a_file_that_is_not_text_says_in_which_line(file):
    file.write_bytes(b"[limits]\n# caf\xe9\n")
    assert error_of(file) == "FILE, line 2: not UTF-8 text"


def test_brackets_beyond_python_s_stack_are_an_error_line(file):
    file.write_text("a = " + "[" * 100_000)
    assert error_of(file) == "FILE: brackets nested too deeply"


def test_a_number_beyond_python_s_limit_is_an_error_line(file):
    file.write_text("[limits]\nmax_connections = " + "9" * 5000)
    assert error_of(file).startswith("FILE: Exceeds the limit")


def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_not(file):
    text = "[gateway]\ndemo = true\n"
    file.write_text(text + "#" * (LARGEST_FILE - len(text)))
    assert build([read(str(file))]).gateway.demo
    file.write_text(text + "#" * (LARGEST_FILE - len(text) + 1))
    assert error_of(file) == "--config FILE: larger than 4MiB; is it a configuration file?"


def test_a_missing_file_a_folder_and_an_impossible_name_are_error_lines(file):
    assert error_of(file) == "--config FILE: no such file"
    assert error_of(file.parent) == "--config FILE: a folder; give a TOML file"
    assert error_of("a\0b") == "--config a\\x00b: embedded null byte"
    assert error_of("x" * 5000) == f"--config {'x' * 99}…: File name too long"


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_file_gives_settings_or_one_error_line(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(content.encode("utf-8", "replace") if isinstance(content, str) else content)
    try:
        line = str(build([read(str(file))]))
    except ConfigError as error:
        line = str(error)
    assert line.isprintable()
