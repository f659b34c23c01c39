"""[stores]: URLs of every kind, what is wrong with them, and that no password is shown."""

import pytest

from wsgate.config import ConfigError, Settings, Source, build
from wsgate.config.addresses import parse
from wsgate.config.stores import StoreSettings

SECRET = "hunter2"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ws.php").write_text("<?php")
    (tmp_path / "password").write_text(SECRET)
    return tmp_path


def settings_of(folder, stores) -> Settings:
    return build([Source({"route": [{"script": "ws.php"}], "stores": stores}, str(folder))])


def error_of(folder, stores):
    with pytest.raises(ConfigError) as caught:
        settings_of(folder, stores)
    line = str(caught.value)
    assert "\n" not in line
    assert SECRET not in line
    return line


def test_a_url_alone_is_a_store(folder):
    stores = settings_of(folder, {"users": "redis://h"}).stores
    assert stores == {"users": StoreSettings(name="users", url="redis://h")}
    assert stores["users"].kind == "redis"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://h", "redis"),
        ("rediss://:p@h:6380/2", "redis"),
        ("unix:///run/redis.sock?db=1", "redis"),
        ("memcached://h", "memcached"),
        ("memcached://[::1]:11212", "memcached"),
        ("memcached+unix:///run/memcached.sock", "memcached"),
        ("postgresql://u:p@h/db?sslmode=verify-full&sslrootcert=/ca.pem", "postgresql"),
        ("postgres://u@h:5433/db", "postgresql"),
        ("postgresql://u@/db?host=/run/postgresql", "postgresql"),
        ("mysql://u:p@h/db", "mysql"),
        ("mariadb://u@/db?unix_socket=/run/mysqld/mysqld.sock", "mysql"),
        ("mysql://u@h/db?ssl_ca=/ca.pem", "mysql"),
    ],
)
def test_urls_of_every_kind_are_understood(folder, url, kind):
    assert settings_of(folder, {"s": {"url": url}}).stores["s"].kind == kind


def test_a_url_says_where_and_who():
    address = parse("postgresql://me%40x:p%3A%2F@h:5433/my%20db?sslmode=require")
    assert (address.host, address.port, address.database) == ("h", 5433, "my db")
    assert (address.user, address.password) == ("me@x", "p:/")
    assert address.options == {"sslmode": "require"}
    assert "p:/" not in repr(address) + str(address)
    local = parse("mysql://u@/db?unix_socket=/run/m.sock")
    assert (local.host, local.path, local.options) == ("", "/run/m.sock", {})


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://h", "not the URL of a store"),
        ("hunter2", "not the URL of a store"),
        ("redis://", "names no host"),
        ("postgresql://u:hunter2@h", "names no database"),
        ("postgresql://u:hunter2@h/", "names no database"),
        ("postgresql://u:hunter2@h/a/b", "names no database"),
        ("postgresql://u:hunter2@/db", "either a host"),
        ("postgresql://h/db?host=/run", "either a host"),
        ("postgresql:///db?host=run", "absolute path"),
        ("postgresql://u@h/db?password=hunter2", "before the @"),
        ("postgresql://u@h/db?options=-c%20x", "unknown option"),
        ("postgresql://u@h/db?sslmode=yes", "sslmode"),
        ("postgresql://u:hunter 2@h/db", "blanks"),
        ("postgresql://u:hunter2#@h/db", "%23"),
        ("postgresql://u:hunter2/@h/db", "not a URL"),
        ("postgresql://u@h:0/db", "port"),
        ("mysql://u:hunter2@h:99999/db", "not a URL"),
        ("mysql://u@h/db?ssl=maybe", "ssl=true"),
        ("memcached://u:hunter2@h", "user or password"),
        ("memcached://h/path", "without a path"),
        ("memcached://", "memcached://HOST"),
        ("memcached+unix://", "absolute path"),
        ("memcached://h?x=1", "there are none"),
    ],
)
def test_a_wrong_url_is_told_without_showing_it(folder, url, why):
    for stores in ({"users": url}, {"users": {"url": url}}):
        line = error_of(folder, stores)
        assert line.startswith('stores.users.url = "…": ')
        assert why in line


@pytest.mark.parametrize(
    ("stores", "line"),
    [
        ("redis://h", 'stores = "redis://h": not a section; write [stores] and NAME'),
        ({"a b": "redis://h"}, "stores.a b: not a store's name"),
        ({"users": 3}, "stores.users = 3: not a section"),
        ({"users": {}}, "stores.users: the store has no url"),
        ({"users": {"timeout": "1s"}}, 'stores.users.timeout = "1s": the store has no url'),
        ({"users": {"url": "redis://h", "conections": 2}}, "did you mean stores.users.connections"),
        ({"users": {"url": "redis://h", "connections": 2}}, "only for PostgreSQL and MySQL"),
        ({"users": {"url": "memcached://h", "password_file": "password"}}, "no passwords here"),
        ({"users": {"url": "redis://h", "password_file": "nowhere"}}, "no such file"),
        ({"users": {"url": "mysql://h/d", "connections": 257}}, "out of range"),
        ({"users": {"url": "mysql://h/d", "max_rows": 0}}, "out of range"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(folder, stores, line):
    assert line in error_of(folder, stores)


def test_the_password_is_in_no_repr(folder):
    settings = settings_of(folder, {"users": f"redis://:{SECRET}@h"})
    assert SECRET not in repr(settings)
