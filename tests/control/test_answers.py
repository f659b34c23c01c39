"""wsgate.control.answers and .health: which path and method gets which answer."""

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.control.answers import (
    Asked,
    Endpoint,
    Operation,
    Parameter,
    Part,
    answer,
    endpoint_at,
    template,
    told,
)
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


# -- names in paths, parameters in queries


def one_letter(text):
    if len(text) != 1:
        raise ValueError("not one letter")
    return text.upper()


LETTER = Part("letter", "a letter", {"type": "string"}, one_letter)
SIZE = Parameter("size", "a size", {"type": "string"}, one_letter, default="S")
GET = Operation(lambda asked: told(200, [*asked.parts, asked.values]), "get", "gets", {}, (SIZE,))
TABLE = [
    Endpoint(("letters", LETTER), {"GET": GET}),
    Endpoint(("none",), {"GET": Operation(lambda asked: told(200, asked.values), "n", "n", {})}),
    Endpoint(("gone", LETTER._replace(status=404)), {"GET": GET}),
    Endpoint(("bare", None), {"GET": lambda asked: told(200, [asked.query, *asked.values])}),
]


def asks(path, query=""):
    given = answer(TABLE, Asked("GET", path, query=query))
    body = json.loads(given.body)
    return given.status, body["error"]["reason"] if "error" in body else body


def test_a_part_is_decoded_by_itself_and_read():
    assert asks("/letters/a") == (200, ["A", {"size": "S"}])
    assert asks("/letters/%2f") == (200, ["/", {"size": "S"}])
    assert asks("/%6cetters/%C3%A4") == (200, ["Ä", {"size": "S"}])
    assert asks("/letters/+") == (200, ["+", {"size": "S"}])


def test_a_part_that_is_wrong_is_refused_with_its_status():
    assert asks("/letters/ab") == (400, "not one letter")
    assert asks("/letters/") == (400, "not one letter")
    assert asks("/gone/ab") == (404, "not one letter")


@pytest.mark.parametrize("bad", ["%", "%4", "%zz", "%u0041", "\xe4", " ", "\x7f", "%+1"])
def test_a_path_or_query_that_is_not_encoded_rightly_is_400(bad):
    assert asks(f"/letters/{bad}") == (400, "the path is not percent-encoded rightly")
    assert asks("/letters/a", f"size={bad}") == (400, "the query is not percent-encoded rightly")


@pytest.mark.parametrize("bad", ["%ff", "%C3", "%C0%AF", "%ED%A0%80"])
def test_a_path_or_query_that_is_not_utf8_is_400(bad):
    assert asks(f"/letters/{bad}") == (400, "the path is not UTF-8")
    assert asks("/letters/a", f"size={bad}") == (400, "the query is not UTF-8")


def test_a_parameter_is_decoded_and_read():
    assert asks("/letters/a", "size=%C3%B6") == (200, ["A", {"size": "Ö"}])
    assert asks("/letters/a", "size=+") == (200, ["A", {"size": " "}])
    assert asks("/letters/a", "size=%2B") == (200, ["A", {"size": "+"}])
    assert asks("/letters/a", "siz%65=%26") == (200, ["A", {"size": "&"}])


def test_a_parameter_that_is_wrong_unknown_or_repeated_is_named():
    assert asks("/letters/a", "size=XL") == (400, "parameter size: not one letter")
    assert asks("/letters/a", "size") == (400, "parameter size: not one letter")
    assert asks("/letters/a", "size=S&size=S") == (400, "parameter size is given twice")
    assert asks("/letters/a", "Size=S") == (400, "unknown parameter 'Size'; known: size")
    assert asks("/letters/a", "size=S&") == (400, "unknown parameter ''; known: size")
    assert asks("/none", "x=1") == (400, "unknown parameter 'x'; there is none here")
    assert asks("/none", "%00" * 99)[1].count("x00") == 40


def test_a_bare_action_reads_the_query_itself():
    assert asks("/bare/x", "any=%zz&any") == (200, ["any=%zz&any"])


@given(st.text(), st.text())
def test_what_is_encoded_is_decoded_to_the_same(part, value):
    asked = Asked("GET", f"/echo/{quote(part, safe='')}", query=urlencode({"it": value}))
    it = Parameter("it", "it", {}, str)
    echo = Operation(lambda a: told(200, [a.parts[0], a.values["it"]]), "e", "e", {}, (it,))
    given = answer([Endpoint(("echo", None), {"GET": echo})], asked)
    assert json.loads(given.body) == [part, value]


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_no_path_and_no_query_is_an_error_of_ours(path, query):
    assert answer(TABLE, Asked("GET", path, query=query)).status in (200, 400, 404)


def test_a_path_is_told_as_the_table_has_it():
    assert [template(endpoint) for endpoint in TABLE] == [
        "/letters/{letter}",
        "/none",
        "/gone/{letter}",
        "/bare/{}",
    ]
    assert endpoint_at(TABLE, "/letters/secret") is TABLE[0]
    assert endpoint_at(TABLE, "/letters/%zz") is None
    assert endpoint_at(TABLE, "/nothing/here") is None
