"""Whom PHP runs as."""

import os
import pwd

import pytest

from wsgate.php import PHPUserError, readable_by, user_name, users
from wsgate.php.environment import php_environment, script_environment
from wsgate.php.users import User, php_user

ME = pwd.getpwuid(os.geteuid()).pw_name
SOMEBODY = User("www-data", 33, 33, (33,), "/var/www")


def accounts(monkeypatch, *names):
    real = pwd.getpwnam

    def getpwnam(name):
        if name not in names:
            raise KeyError(name)
        return real("nobody")

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)


def test_root_gets_the_first_unprivileged_user_there_is(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    accounts(monkeypatch, "nobody")
    assert php_user().name == "nobody"
    assert php_user().uid != 0


def test_without_any_unprivileged_user_root_is_told_to_name_one(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    accounts(monkeypatch)
    with pytest.raises(PHPUserError, match="neither www-data nor nobody exists"):
        php_user()


def test_php_never_runs_as_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(PHPUserError, match="'root': PHP never runs as root"):
        php_user("root")


def test_without_root_php_stays_who_we_are(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    assert php_user() is None
    assert php_user("nobody") is None
    assert user_name() == "nobody"


def test_without_root_another_user_is_an_error_in_one_line(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    with pytest.raises(PHPUserError, match="'daemon': only root") as error:
        php_user("daemon")
    assert "\n" not in str(error.value)


def test_an_unknown_user_is_an_error_in_one_line():
    with pytest.raises(PHPUserError, match="'no-such-user': no such user"):
        php_user("no-such-user")


def test_a_user_without_a_name_is_told_by_number(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4294967290)
    assert user_name() == "4294967290"


def test_what_is_not_there_is_not_readable(tmp_path):
    assert not readable_by(str(tmp_path / "missing.php"))


def test_as_ourselves_readable_is_what_we_can_read(tmp_path, monkeypatch):
    monkeypatch.setattr(users, "php_user", lambda _: None)
    (tmp_path / "script.php").touch()
    assert readable_by(str(tmp_path / "script.php"), ME)


ENVIRON = {
    "PATH": "/bin",
    "LC_TIME": "C",
    "HOME": "/root",
    "TMPDIR": "/root/tmp",
    "PHPRC": "/etc/x",
    "AWS_SECRET_ACCESS_KEY": "s",
    "LC_x'] = y": "1",
    "LANG": "a\nb",
}


def test_scripts_see_a_list_of_variables_and_no_others():
    assert script_environment(ENVIRON, None) == {
        "PATH": "/bin",
        "LC_TIME": "C",
        "HOME": "/root",
        "TMPDIR": "/root/tmp",
    }


def test_another_user_gets_its_own_home_the_systems_path_and_no_folder_of_ours():
    assert script_environment(ENVIRON | {"PATH": "/root/bin:/bin"}, SOMEBODY) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_TIME": "C",
        "HOME": "/var/www",
        "USER": "www-data",
        "LOGNAME": "www-data",
    }


def test_php_itself_learns_where_its_ini_files_are():
    own = php_environment({**ENVIRON, "PHP_INI_SCAN_DIR": "/etc/y"}, None)
    assert own["PHPRC"] == "/etc/x"
    assert own["PHP_INI_SCAN_DIR"] == "/etc/y"
