"""wsgate.config.hooks: what stands below [hooks.NAME], and what is wrong with it."""

from dataclasses import dataclass, field

import pytest

from wsgate.config import ConfigError, Source, build
from wsgate.config import hooks as config_hooks
from wsgate.config.about import about
from wsgate.config.hooks import OptionError
from wsgate.config.kinds import Path, Time
from wsgate.config.page import settings_page


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Of a hook for tests."""

    key_file: str = field(metadata=about(Path(), "the key", why="there is no sensible guess"))
    leeway: float = field(default=5.0, metadata=about(Time(0, 60), "clocks differ", why="a few"))

    def __post_init__(self):
        if self.leeway == 13:
            raise OptionError("leeway", "an unlucky number")
        if self.leeway == 14:
            raise OptionError("", "nothing goes with that")


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    monkeypatch.setattr(config_hooks, "HOOK_OPTIONS", {"jwt": Options})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ws.php").write_text("<?php")
    (tmp_path / "jwt.pem").write_text("key")
    return tmp_path


def read(folder, hooks=None, names=("login",), *more, **route):
    asked = {"script": "ws.php", "hooks": list(names), **route}
    tree = {"hooks": hooks or {}, "route": [asked]}
    return build([Source(tree, str(folder)), *more])


LOGIN = {"use": "jwt", "key_file": "jwt.pem"}


def test_the_options_of_one_that_comes_with_wsgate_are_typed(folder):
    named = read(folder, {"login": {**LOGIN, "leeway": "2s"}}).hooks["login"]
    assert named.use == "jwt"
    assert named.options == Options(key_file=str(folder / "jwt.pem"), leeway=2.0)


def test_without_use_a_hook_is_what_its_name_says(folder):
    settings = read(folder, {"jwt": {"key_file": "jwt.pem"}}, ["jwt"])
    assert settings.hooks["jwt"].use == "jwt"


def test_the_options_of_a_user_s_own_are_as_they_are_in_the_file(folder):
    options = {"names": ["a", "b"], "deep": {"er": 1}}
    named = read(folder, {"login": {"use": "app.door:Door", **options}}).hooks["login"]
    assert (named.use, named.options) == ("app.door:Door", options)


def test_a_route_may_name_an_object_without_a_section(folder):
    settings = read(folder, names=["app.door:Door"])
    assert settings.hooks["app.door:Door"].use == "app.door:Door"
    assert settings.routes[0].hooks == ("app.door:Door",)
    assert settings.hook_folders == (str(folder),)


def test_a_route_s_name_that_is_none_of_them_keeps_those_that_may_be_meant(folder):
    assert read(folder, {"login": LOGIN}, ["logni"]).hooks["logni"].others == ("login",)


def test_settings_without_hooks_look_for_modules_nowhere(folder):
    assert build([Source({"route": [{"script": "ws.php"}]}, str(folder))]).hook_folders == ()


def test_another_source_may_set_an_option_alone(folder):
    over = Source({"hooks": {"login": {"leeway": 9}}}, str(folder))
    assert read(folder, {"login": LOGIN}, ["login"], over).hooks["login"].options.leeway == 9


LINES = [
    ({"login": {**LOGIN, "keyfile": 1}}, "hooks.login.keyfile: unknown setting; did you mean "
     "hooks.login.key_file?"),
    ({"login": {**LOGIN, "leeway": "1h"}}, 'hooks.login.leeway = "1h": out of range; 0s to 1min'),
    ({"login": {"use": "jwt"}}, 'hooks.login.use = "jwt": needs hooks.login.key_file too'),
    ({"login": {**LOGIN, "leeway": 13}}, "hooks.login.leeway = 13: an unlucky number"),
    ({"login": {**LOGIN, "leeway": 14}}, 'hooks.login.use = "jwt": nothing goes with that'),
    ({"login": {"a": 1}}, "hooks.login.a = 1: the hook has no `use`; write use = "
     '"module:object", or one of jwt'),
    ({"login": {}}, "[hooks.login]: the hook has no `use`; write use = "
     '"module:object", or one of jwt'),
    ({"login": {"use": "a b"}}, 'hooks.login.use = "a b": not the name of a hook; a letter and at '
     "most 63 of A-Z a-z 0-9 _ -"),
    ({"login": {"use": "door:"}}, 'hooks.login.use = "door:": not module:object; write one like '
     "app.door:Door"),
    ({"login": {"use": "app/door.py:Door"}}, 'hooks.login.use = "app/door.py:Door": not '
     "module:object; write app.door:Door"),
    ({"login": {"use": 1}}, "hooks.login.use = 1: not a text; write it in quotes"),
    ({"log in": {}}, "hooks.log in: not the name of a hook; a letter and at most 63 of A-Z a-z "
     "0-9 _ -"),
    ({"login": 1}, "hooks.login = 1: not a section; write [hooks.login] and its options below"),
]  # fmt: skip


@pytest.mark.parametrize(("hooks", "line"), LINES, ids=lambda v: v if isinstance(v, str) else "")
def test_what_is_wrong_is_one_line_that_names_it_and_the_mend(folder, hooks, line):
    with pytest.raises(ConfigError) as caught:
        read(folder, hooks)
    assert str(caught.value) == line


def test_a_file_that_an_option_names_must_be_there(folder):
    with pytest.raises(ConfigError) as caught:
        read(folder, {"login": {"use": "jwt", "key_file": "gone.pem"}})
    assert str(caught.value) == (
        f'hooks.login.key_file = "gone.pem": no such file ("{folder}/gone.pem")'
    )


def test_a_route_that_names_one_which_needs_options_hears_so(folder):
    with pytest.raises(ConfigError, match=r'hooks = \["jwt"\]: jwt: needs hooks.jwt.key_file too'):
        read(folder, names=["jwt"])


@pytest.mark.parametrize("dialect", ["grip", "pusher"])
def test_other_dialects_have_no_hooks(folder, dialect):
    secret = {"app_id": "1", "app_key": "k", "app_secret_file": "jwt.pem"}
    more = secret if dialect == "pusher" else {}
    with pytest.raises(ConfigError, match=r'hooks = .*: only for dialect = "plain"'):
        read(folder, names=["a:b"], dialect=dialect, **more)


def test_a_route_without_hooks_does_not_say_what_happens_when_they_fail(folder):
    route = {"script": "ws.php", "on_hook_failure": "pass"}
    with pytest.raises(ConfigError, match='on_hook_failure = "pass": the route has no hooks'):
        build([Source({"route": [route]}, str(folder))])


def test_a_date_among_the_options_is_written_as_a_text(folder):
    import tomllib

    tree = tomllib.loads('use = "a:b"\n[deep]\nsince = [2020-01-01]')
    with pytest.raises(ConfigError, match=r"hooks.login.deep = {…}: a date or time; write it as"):
        read(folder, {"login": tree})


def test_the_settings_page_has_a_section_for_each(monkeypatch):
    monkeypatch.setattr("wsgate.config.page.HOOK_OPTIONS", {"jwt": Options})
    page = settings_page()
    assert '## `[hooks.NAME]` with `use = "jwt"`' in page
    assert "| `key_file` | must be given | file |" in page
