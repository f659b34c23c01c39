"""The hook `session` is made of its options, or one line says why not."""

import os

import pytest
from twisted.internet.task import Clock

from tests.hooks.services import made_services
from wsgate.config.errors import LONGEST_SHOWN, OptionError
from wsgate.config.session import SessionOptions
from wsgate.hooks.making import BUILT_IN
from wsgate.hooks.session.make import make


def services(stores=None):
    return made_services(Clock(), name="login", stores=stores or {})


def made(stores=None, **options):
    return make(services(stores), SessionOptions(**options))


def rules(hook):
    return hook._source._rules


def test_it_has_a_name_in_the_settings():
    assert BUILT_IN["session"] == f"{make.__module__}:{make.__name__}"


def test_in_a_folder_of_its_own_the_owner_of_a_session_is_not_asked(tmp_path):
    assert rules(made(save_path=str(tmp_path))).owner is None
    assert rules(made(save_path=f"2;0600;{tmp_path}")).owner is None


def test_where_everybody_may_write_it_is(tmp_path, monkeypatch):
    tmp_path.chmod(0o1777)
    assert rules(made(save_path=str(tmp_path), owner="root")).owner == 0
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert rules(made(save_path=str(tmp_path))).owner == 1000
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(OptionError, match="owner = ") as caught:
        made(save_path=str(tmp_path))
    assert len(str(caught.value)) <= LONGEST_SHOWN


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_folder_that_is_none_is_one_line(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError) as caught:
        made(save_path=str(tmp_path / name))
    assert caught.value.option == "save_path"
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= LONGEST_SHOWN


def test_a_folder_that_may_not_be_entered_says_where_to_read_on(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(OptionError, match="logged-in-users") as caught:
        made(save_path=str(tmp_path))
    assert len(str(caught.value)) <= LONGEST_SHOWN


class Database:
    kind = "postgresql"


@pytest.mark.parametrize(
    ("stores", "why"),
    [({}, r"one of \[stores\]: none"), ({"cache": Database()}, "a postgresql")],
)
def test_a_store_that_has_no_sessions_is_one_line(stores, why):
    with pytest.raises(OptionError, match=why) as caught:
        made(stores, store="cache")
    assert caught.value.option == "store"
