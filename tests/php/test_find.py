"""Finding PHP. Shell scripts that print a version stand for PHP: nothing here runs it."""

import pytest

from wsgate.php import PHPNotFound, find, find_php

FPM = "PHP {} (fpm-fcgi) (built: Nov 18 2026 20:02:04)\n    with Zend OPcache v8.2.36"
CGI = "PHP {} (cgi-fcgi) (built: Nov 18 2026 20:02:04)\n    with Zend OPcache v8.2.36"
CLI = "PHP {} (cli) (built: Nov 18 2026 20:02:04) (NTS)"


@pytest.fixture(autouse=True)
def system_folders(monkeypatch):
    """None, so that the machine's own PHP is not found."""
    monkeypatch.setattr(find, "SYSTEM_FOLDERS", ())


@pytest.fixture
def put(tmp_path):
    def put(name, banner, folder="bin"):
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n[ \"$1\" = -v ] || exit 1\ncat <<'END'\n{banner}\nEND\n")
        path.chmod(0o755)
        return str(path)

    return put


def search(tmp_path, *folders):
    return ":".join(str(tmp_path / folder) for folder in folders or ("bin",))


def test_the_plain_name_goes_before_any_version(put, tmp_path):
    put("php-fpm8.4", FPM.format("8.4.1"))
    plain = put("php-fpm", FPM.format("8.2.36"))
    assert find_php(search_path=search(tmp_path)) == ("php-fpm", plain, "8.2.36", True)


def test_the_newest_version_wins_by_number_not_by_text(put, tmp_path):
    put("php-fpm8.9", FPM.format("8.9.0"))
    newest = put("php-fpm8.10", FPM.format("8.10.0"))
    put("php-fpm7.4", FPM.format("7.4.33"))
    assert find_php(search_path=search(tmp_path)).path == newest


def test_alpines_names_without_a_dot_are_known(put, tmp_path):
    put("php-fpm83", FPM.format("8.3.1"))
    newest = put("php-fpm84", FPM.format("8.4.1"))
    assert find_php(search_path=search(tmp_path)).path == newest


def test_an_old_php_fpm_goes_before_a_new_php_cgi(put, tmp_path):
    put("php-cgi8.4", CGI.format("8.4.1"))
    fpm = put("php-fpm7.4", FPM.format("7.4.33"), folder="later")
    assert find_php(search_path=search(tmp_path, "bin", "later")).path == fpm


def test_php_cgi_is_taken_where_there_is_no_php_fpm(put, tmp_path):
    put("php-cgi8.4", CGI.format("8.4.1"))
    plain = put("php-cgi", CGI.format("8.2.36"))
    assert find_php(search_path=search(tmp_path)) == ("php-cgi", plain, "8.2.36", True)


def test_of_equal_names_the_first_folder_wins(put, tmp_path):
    put("php-fpm", FPM.format("8.2.36"), folder="later")
    first = put("php-fpm", FPM.format("8.2.36"))
    assert find_php(search_path=search(tmp_path, "bin", "later")).path == first


def test_the_system_folders_are_searched_although_path_lacks_them(put, tmp_path, monkeypatch):
    path = put("php-fpm8.2", FPM.format("8.2.36"), folder="sbin")
    monkeypatch.setattr(find, "SYSTEM_FOLDERS", (str(tmp_path / "sbin"),))
    assert find_php(search_path=search(tmp_path)).path == path


def test_a_relative_folder_in_path_is_passed_over(put, tmp_path, monkeypatch):
    put("php-fpm", FPM.format("8.2.36"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PHPNotFound):
        find_php(search_path="bin::.")


def test_the_kind_is_what_php_says_of_itself_not_its_name(put, tmp_path):
    put("php-fpm", CGI.format("8.2.36"))
    assert find_php(search_path=search(tmp_path)).kind == "php-cgi"


def test_a_warning_before_the_version_does_no_harm(put, tmp_path):
    put("php-fpm", "PHP Warning:  PHP Startup: x\n" + FPM.format("8.4.0RC1-dev"))
    assert find_php(search_path=search(tmp_path)).version == "8.4.0RC1-dev"


def test_a_php_that_did_not_load_opcache_is_known(put, tmp_path):
    put("php-fpm", FPM.format("8.2.36").splitlines()[0])
    assert find_php(search_path=search(tmp_path)).opcache is False


def test_other_names_are_not_php(put, tmp_path):
    for name in ("php", "php-fpm8.2.bak", "php-fpm-wrapper", "xphp-fpm", "php-cli"):
        put(name, FPM.format("8.2.36"))
    with pytest.raises(PHPNotFound):
        find_php(search_path=search(tmp_path))


def test_a_broken_candidate_is_passed_over(put, tmp_path):
    put("php-fpm", "no PHP at all")
    good = put("php-fpm8.2", FPM.format("8.2.36"))
    assert find_php(search_path=search(tmp_path)).path == good


def test_no_php_is_one_line_that_says_what_to_do(tmp_path):
    with pytest.raises(PHPNotFound) as error:
        find_php(search_path=search(tmp_path))
    assert str(error.value) == (
        "no php-fpm and no php-cgi found on PATH: install PHP-FPM (Debian: apt install php-fpm), "
        "or name a running one with --fastcgi"
    )


def test_only_broken_ones_is_one_line_that_names_one(put, tmp_path):
    path = put("php-fpm", "no PHP at all")
    with pytest.raises(PHPNotFound) as error:
        find_php(search_path=search(tmp_path))
    assert path in str(error.value)
    assert "\n" not in str(error.value)


def test_a_named_program_is_the_only_one_considered(put, tmp_path):
    put("php-fpm", FPM.format("8.4.1"))
    named = put("mine", CGI.format("8.2.36"), folder="opt")
    assert find_php(named, search_path=search(tmp_path)) == ("php-cgi", named, "8.2.36", True)


def test_a_named_program_without_a_slash_is_looked_up(put, tmp_path):
    path = put("php-fpm7.4", FPM.format("7.4.33"))
    put("php-fpm", FPM.format("8.4.1"))
    assert find_php("php-fpm7.4", search_path=search(tmp_path)).path == path


def test_a_relative_program_becomes_absolute(put, tmp_path, monkeypatch):
    path = put("mine", FPM.format("8.2.36"))
    monkeypatch.chdir(tmp_path)
    assert find_php("bin/mine").path == path


def test_the_command_line_php_is_refused_in_one_line(put):
    path = put("php", CLI.format("8.2.36"))
    with pytest.raises(PHPNotFound, match=f"{path} is the 'cli' kind of PHP") as error:
        find_php(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_text("x"), "not executable"),
        (lambda path: (path.write_bytes(b"\0"), path.chmod(0o755)), "cannot be run"),
        (lambda path: (path.write_text("#!/bin/sh\nexit 3"), path.chmod(0o755)), "is not PHP"),
    ],
)
def test_a_named_program_that_is_no_php_is_refused_in_one_line(tmp_path, prepare, reason):
    path = tmp_path / "program"
    prepare(path)
    with pytest.raises(PHPNotFound, match=reason) as error:
        find_php(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_name_is_refused_in_one_line(tmp_path):
    with pytest.raises(PHPNotFound, match="'php-fpm5': not found on PATH"):
        find_php("php-fpm5", search_path=search(tmp_path))


def test_a_program_that_never_answers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(find, "_PATIENCE", 0.05)
    path = tmp_path / "php-fpm"
    path.write_text("#!/bin/sh\nexec sleep 60")
    path.chmod(0o755)
    with pytest.raises(PHPNotFound, match=r"gave no answer within 0\.05 s"):
        find_php(str(path))
