"""Routes of the dialect Pusher: what they need and may not have, where clients connect."""

import pytest

from tests.config.test_settings import error_of, settings_of
from wsgate.config import checks
from wsgate.pusher.app import WEBHOOKS

APP = {
    "dialect": "pusher",
    "app_id": "3",
    "app_key": "my-key",
    "app_secret_file": "secret",
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "secret").write_text("s" * 20)
    (tmp_path / "ws.php").write_text("<?php")
    return tmp_path


def route_of(folder, **values):
    return settings_of(folder, route=[{**APP, **values}]).routes[0]


@pytest.mark.parametrize(
    ("path", "full"),
    [
        ("/", "/app/my-key"),
        ("/ws", "/ws/app/my-key"),
        ("/ws/", "/ws/app/my-key"),
        ("/app/my-key", "/app/my-key"),
        ("/ws/app/my-key", "/ws/app/my-key"),
        ("/app/other", "/app/other/app/my-key"),
    ],
)
def test_clients_connect_below_the_path_at_the_key(folder, path, full):
    assert route_of(folder, path=path).path == full


def test_without_a_script_no_pool_is_needed(folder):
    settings = settings_of(folder, route=[APP])
    assert settings.pools == {}
    assert settings.routes[0].pool == settings.routes[0].script == ""


def test_with_a_script_it_is_a_route_like_others(folder):
    settings = settings_of(folder, route=[{**APP, "script": "ws.php", "webhooks": "client_events"}])
    assert list(settings.pools) == ["default"]
    assert settings.routes[0].webhooks == ("client_events",)


def test_two_applications_may_be_served_beside_a_plain_route(folder):
    other = {**APP, "path": "/app/k2", "app_id": "4", "app_key": "k2"}
    routes = settings_of(
        folder, route=[{"script": "ws.php"}, other, {**APP, "path": "/app/my-key"}]
    )
    assert [route.path for route in routes.routes] == ["/", "/app/k2", "/app/my-key"]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"app_id": ""}, "empty"),
        ({"app_id": "a:b"}, "not an id or key"),
        ({"app_key": "a/b"}, "not an id or key"),
        ({"app_secret_file": "nowhere"}, "no such file"),
        ({"events": ["message"]}, 'not for dialect = "pusher"'),
        ({"on_error": "close"}, 'not for dialect = "pusher"'),
        ({"webhooks": ["channels"]}, "needs script too"),
        ({"webhooks": ["other"], "script": "ws.php"}, "not a webhook; known: channels"),
        ({"pool": "default"}, "needs script too"),
        ({"activity_timeout": "0s"}, "out of range"),
        ({"max_presence_members": 0}, "out of range"),
        ({"max_event_size": "65MiB"}, "out of range"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, values, line):
    assert line in error_of(folder, route=[{**APP, **values}])


@pytest.mark.parametrize("name", ["app_id", "app_key", "app_secret_file"])
def test_an_application_needs_id_key_and_secret(folder, name):
    route = {key: value for key, value in APP.items() if key != name}
    assert error_of(folder, route=[route]) == f'route[/].dialect = "pusher": needs {name} too'


def test_its_settings_are_for_this_dialect_only(folder):
    line = error_of(folder, route=[{"script": "ws.php", "client_events": True}])
    assert line == 'route[/].client_events = true: only for dialect = "pusher"; leave it out'


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"app_id": "3", "app_key": "k"}, "app_id"),
        ({"app_id": "4", "app_key": "my-key"}, "app_key"),
    ],
)
def test_two_routes_are_two_applications(folder, more, name):
    line = error_of(folder, route=[APP, {**APP, "path": "/other", **more}])
    assert f".{name} = " in line
    assert "another route has it too" in line


def test_two_paths_that_become_the_same_are_refused(folder):
    plain = {"path": "/app/my-key", "script": "ws.php"}
    assert "another route has it too" in error_of(folder, route=[APP, plain])


def test_the_settings_and_the_dialect_know_the_same_webhooks():
    assert tuple(WEBHOOKS) == checks.WEBHOOKS
