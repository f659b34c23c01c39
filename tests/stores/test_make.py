"""wsgate.stores.make: what is not installed is said, not raised by Python."""

import sys

import pytest
from twisted.internet.task import Clock

from wsgate.config import Source, build
from wsgate.redis import RedisMissing
from wsgate.stores import StoreUnusable
from wsgate.stores.make import make_stores

NEEDED = [
    ("redis://:sesame@h", "hiredis", "wsgate.redis.connection", RedisMissing, "wsgate[redis]"),
    ("postgresql://u:sesame@h/d", "psycopg", "wsgate.stores.sql", StoreUnusable, "wsgate[stores]"),
    ("mysql://u:sesame@h/d", "pymysql", "wsgate.stores.sql", StoreUnusable, "wsgate[stores]"),
]


@pytest.mark.parametrize(("url", "package", "ours", "error", "extra"), NEEDED)
def test_the_line_says_what_to_install(tmp_path, monkeypatch, url, package, ours, error, extra):
    for name in (ours, "wsgate.redis.client", "wsgate.stores.redis"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    # As if it were not installed: https://docs.python.org/3/reference/import.html#the-module-cache
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "ws.php").touch()
    settings = {"stores": {"users": url}, "route": [{"script": "ws.php"}]}
    asked = build([Source(settings, str(tmp_path))])
    with pytest.raises(error) as caught:
        make_stores(Clock(), asked)
    line = str(caught.value)
    assert line.startswith("stores.users.url: ")
    assert f"pip install '{extra}'" in line
    assert "sesame" not in line
