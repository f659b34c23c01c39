"""PHP's configuration as text; that PHP reads it so is tested in tests/integration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.php import PHPSettingError
from wsgate.php.configuration import (
    DEFAULT_INI,
    GUARDED,
    check_extensions,
    fpm_config,
    ini_file,
    ini_options,
    quoted,
    settings,
)
from wsgate.php.users import User


def config(**changes):
    given = {"name": "default", "socket_path": "/tmp/x/php.sock", "workers": 4}
    return fpm_config(**{**given, "settings": settings({}), **changes})


def test_the_whole_pool_as_text():
    assert (
        config(environment=["PATH", "LC_ALL"])
        == """\
[global]
daemonize = no
error_log = /proc/self/fd/2
log_limit = 8192
process_control_timeout = 1s
[default]
listen = '/tmp/x/php.sock'
listen.mode = 0600
listen.backlog = 511
pm = static
pm.max_children = 4
pm.max_requests = 0
request_terminate_timeout = 0
catch_workers_output = yes
decorate_workers_output = no
security.limit_extensions = .php .phar
clear_env = yes
env['PATH'] = $PATH
env['LC_ALL'] = $LC_ALL
php_admin_value[display_errors] = '0'
php_admin_value[display_startup_errors] = '0'
php_admin_value[html_errors] = '0'
php_admin_value[log_errors] = '1'
"""
    )


def test_another_user_is_named_with_the_id_of_its_group():
    lines = config(user=User("www-data", 33, 33, (33, 4), "/var/www")).splitlines()
    assert "user = 'www-data'" in lines
    assert "group = 33" in lines


@pytest.mark.parametrize("name", ["global", "a]\n[b", "with space", "", "é"])
def test_a_pool_name_that_php_fpm_would_misread_is_replaced(name):
    assert "[wsgate]" in config(name=name).splitlines()


def test_the_callers_settings_win_over_ours():
    merged = settings({"display_errors": "stderr", "memory_limit": "1G"})
    assert merged == {**DEFAULT_INI, "display_errors": "stderr", "memory_limit": "1G"}
    assert "php_admin_value[display_errors] = 'stderr'" in config(settings=merged).splitlines()


def test_every_guarded_setting_has_a_default():
    assert set(GUARDED) <= DEFAULT_INI.keys()


def test_opcache_is_loaded_when_php_does_not_by_itself():
    assert settings({}, opcache=False)["zend_extension"] == "opcache"
    assert "zend_extension" not in settings({})


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", '""'),
        ("1G", "'1G'"),
        ("a;b", "'a;b'"),
        ("${HOME}", "'${HOME}'"),
        ('say "yes"', "'say \"yes\"'"),
        ("it's", "'it'\"'\"'s'"),
        ("'", '"\'"'),
        ("''", '"\'""\'"'),
        ("back\\", "'back\\'"),
        ("E_ALL", "E_ALL"),
        ("E_ALL & ~E_NOTICE", "E_ALL & ~E_NOTICE"),
        ("E_ALL;x=1", "'E_ALL;x=1'"),
        ("PHP_VERSION", "'PHP_VERSION'"),
        ("tab\there", "'tab\there'"),
    ],
)
def test_values_are_quoted_so_that_php_interprets_nothing(value, written):
    assert quoted(value) == written


@pytest.mark.parametrize("character", [*map(chr, (*range(9), *range(10, 32))), "\x7f"])
def test_a_control_character_in_a_value_is_refused_in_one_line(character):
    with pytest.raises(PHPSettingError, match="'user_agent'") as error:
        settings({"user_agent": f"a{character}b"})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["", "a b", "a=b", "a\nb", "a]", "[a", "a;", "1a", "a\0", 'a"', "é", "a\n"]
)
def test_a_name_that_could_be_more_than_a_name_is_refused_in_one_line(name):
    with pytest.raises(PHPSettingError) as error:
        settings({name: "1"})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("extension", ["php", ".", "", ".php .inc", ".p\n", ".*", ".php\nuser = x"])
def test_an_extension_that_could_be_more_is_refused(extension):
    with pytest.raises(PHPSettingError):
        check_extensions([extension])
    with pytest.raises(PHPSettingError):
        config(extensions=[extension])


def test_no_extensions_means_any():
    assert "security.limit_extensions = " in config(extensions=[]).splitlines()


def unquoted(text):
    """What PHP's ini parser makes of `text`: adjacent strings, without escapes in either."""
    value = ""
    while text:
        end = text.index(text[0], 1)
        assert text[0] in "'\""
        assert text[0] == "'" or text[1:end] in ("", "'")
        value, text = value + text[1:end], text[end + 1 :]
    return value


@given(st.text())
def test_any_value_stays_one_value_on_one_line_or_is_refused(value):
    try:
        merged = settings({"user_agent": value})
    except PHPSettingError:
        assert any(ord(character) < 32 or character == "\x7f" for character in value)
        return
    text = ini_file(merged)
    assert text.count("\n") == len(merged)
    line = text.split("\n")[-2]
    assert unquoted(line.removeprefix("user_agent = ")) == value
    options = ini_options(merged)
    assert options[-2:] == ["-d", f"user_agent={quoted(value)}"]
