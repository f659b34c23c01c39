"""wsgate.control.answers and .health: which path and method gets which answer."""

import json

import pytest

from wsgate.control.answers import Asked, Endpoint, answer, told
from wsgate.control.health import health

ENDPOINTS = [
    Endpoint(("things",), {"GET": lambda _: told(200, "all"), "POST": lambda a: told(201, a.path)}),
    Endpoint(("things", None), {"DELETE": lambda asked: told(200, asked.parts)}),
    Endpoint(("things", None, "parts", None), {"PUT": lambda asked: told(200, asked.parts)}),
]


def ask(method, path):
    given = answer(ENDPOINTS, Asked(method, path))
    return given.status, json.loads(given.body)


def test_the_path_and_the_method_choose():
    assert ask("GET", "/things") == (200, "all")
    assert ask("POST", "/things") == (201, "/things")
    assert ask("DELETE", "/things/7") == (200, ["7"])
    assert ask("PUT", "/things/7/parts/x") == (200, ["7", "x"])


def test_head_is_answered_like_get():
    assert ask("HEAD", "/things") == (200, "all")


@pytest.mark.parametrize("path", ["/", "", "*", "/thing", "/things/", "/things//", "//things"])
def test_another_path_is_404(path):
    if path == "/things/":
        # An empty part is a part; what it names is for the action to find out.
        assert ask("DELETE", path) == (200, [""])
        return
    error = {"error": {"status": 404, "reason": "there is nothing at this path"}}
    assert ask("GET", path) == (404, error)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/things", "GET, HEAD, POST"),
        ("get", "/things", "GET, HEAD, POST"),
        ("HEAD", "/things/7", "DELETE"),
        ("", "/things/7", "DELETE"),
    ],
)
def test_another_method_is_405_and_says_which_are_allowed(method, path, allowed):
    given = answer(ENDPOINTS, Asked(method, path))
    assert given.status == 405
    assert given.headers == (("Allow", allowed),)
    assert json.loads(given.body)["error"]["status"] == 405


def test_readiness_is_told_with_its_reason():
    state = [None]
    endpoints = health(lambda: state[0])
    ready = answer(endpoints, Asked("GET", "/readyz"))
    assert (ready.status, json.loads(ready.body)) == (200, {"ready": True})
    state[0] = "shutting down"
    not_ready = answer(endpoints, Asked("GET", "/readyz"))
    assert not_ready.status == 503
    assert json.loads(not_ready.body) == {"ready": False, "reason": "shutting down"}
    alive = answer(endpoints, Asked("GET", "/healthz"))
    assert (alive.status, json.loads(alive.body)) == (200, {"alive": True})
