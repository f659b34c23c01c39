"""wsgate.pusher.secret, and the applications that settings ask for."""

import pytest
from twisted.logger import capturedLogs

from wsgate import config as settings
from wsgate.dialects import pusher_apps
from wsgate.ports import CannotStart
from wsgate.pusher import read_app_secret
from wsgate.secretfile import SecretUnusable


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"x" * 20 + b"\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("size", [8, 256])
def test_a_secret_is_the_only_line_of_its_file(file, size):
    file.write_bytes(b" " + b"s" * size + b"\r\n")
    with capturedLogs() as logs:
        assert read_app_secret(str(file), "app_secret_file") == b"s" * size
    assert logs == []


@pytest.mark.parametrize(
    "content", [b"", b"short", b"s" * 257, b"two lines\nof secrets", b"\xff" * 20, b"a\x00" * 10]
)
def test_anything_else_is_refused_without_showing_it(file, content):
    file.write_bytes(content)
    with pytest.raises(SecretUnusable) as caught:
        read_app_secret(str(file), "app_secret_file")
    assert str(caught.value).startswith(f"app_secret_file = {file}: needs one line")
    assert "two lines" not in str(caught.value)


def test_a_file_that_everybody_can_read_is_warned_of(file):
    file.chmod(0o644)
    with capturedLogs() as logs:
        read_app_secret(str(file), "app_secret_file")
    assert len(logs) == 1


def route(file, **more):
    values = {"path": "/ws/app/key", "script": "", "dialect": "pusher", "app_id": "3"}
    return settings.Route(**values, app_key="key", app_secret_file=str(file), **more)


def test_a_route_becomes_an_application(file):
    app = pusher_apps([route(file, client_events=True, activity_timeout=10.0)])["/ws/app/key"]
    assert (app.id, app.key, app.secret, app.prefix) == ("3", "key", b"x" * 20, "/ws")
    assert app.path == "/ws/app/key"
    assert app.client_events
    assert app.activity_timeout == 10.0
    assert app.webhooks == frozenset()


def test_with_a_script_the_webhooks_of_the_settings_are_told(file, tmp_path):
    told = pusher_apps([route(file, document_root="/srv")])["/ws/app/key"].webhooks
    assert told == frozenset()
    values = {"path": "/app/key", "script": "/w.php", "dialect": "pusher", "app_id": "3"}
    asked = settings.Route(
        **values, app_key="key", app_secret_file=str(file), webhooks=("members", "client_events")
    )
    assert pusher_apps([asked])["/app/key"].webhooks == {
        *("member_added", "member_removed", "client_event")
    }


def test_a_secret_that_cannot_be_read_stops_the_start_in_one_line(tmp_path):
    with pytest.raises(CannotStart) as caught:
        pusher_apps([route(tmp_path / "nowhere")])
    assert "\n" not in str(caught.value)
    assert "route[/ws/app/key].app_secret_file" in str(caught.value)


def test_routes_of_other_dialects_are_no_applications():
    assert pusher_apps([settings.Route(script="/w.php")]) == {}
