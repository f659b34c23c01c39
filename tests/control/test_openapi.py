"""wsgate.control.openapi: the description is that of the table, and of nothing else."""

import json
from collections import Counter

import pytest
from twisted.internet.task import Clock

from wsgate.control.answers import Asked, Endpoint, Operation, Part, answer, told
from wsgate.control.health import health
from wsgate.control.metrics import metrics
from wsgate.control.openapi import described
from wsgate.control.push import push
from wsgate.grip.publish import MAX_ITEMS
from wsgate.grip.publishing import Publishers, publishing
from wsgate.timeouts import Timeouts

TABLE = [
    *health(lambda: None),
    *metrics(Clock(), dict),
    *push(lambda: None, Counter()),
    *publishing(lambda: None, Publishers([(None, "")]), Timeouts(Clock())),
    Endpoint(("bare", None), {"GET": lambda asked: told(200, 1)}),
]


@pytest.fixture(params=[True, False], ids=["token", "no token"])
def needs_token(request):
    return request.param


@pytest.fixture
def document(needs_token):
    endpoints = described(TABLE, needs_token=needs_token)
    given = answer(endpoints, Asked("GET", "/openapi.json"))
    assert (given.status, given.content_type) == (200, "application/json")
    return json.loads(given.body)


def operations(document):
    methods = ("get", "put", "post", "delete")
    return {
        (path, method): item[method]
        for path, item in document["paths"].items()
        for method in methods
        if method in item
    }


def test_every_operation_is_described_itself_included(document):
    assert set(operations(document)) == {
        ("/healthz", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
        ("/openapi.json", "get"),
        ("/connections/{id}", "get"),
        ("/connections/{id}", "post"),
        ("/connections/{id}", "delete"),
        ("/connections/{id}/channels/{channel}", "put"),
        ("/connections/{id}/channels/{channel}", "delete"),
        ("/channels/{channel}", "get"),
        ("/channels/{channel}", "post"),
        ("/users/{user}", "post"),
        ("/users/{user}", "delete"),
        ("/publish/", "post"),
    }
    assert document["openapi"] == "3.1.0"


def test_what_is_not_there_now_is_not_described_and_not_found(needs_token):
    there = []
    endpoints = described(
        [e._replace(is_there=lambda: bool(there)) if e.path[0] == "publish" else e for e in TABLE],
        needs_token=needs_token,
    )

    def told():
        description = json.loads(answer(endpoints, Asked("GET", "/openapi.json")).body)
        return "/publish/" in description["paths"]

    assert not told()
    assert answer(endpoints, Asked("GET", "/publish/")).status == 404
    there.append(True)
    assert told()
    assert answer(endpoints, Asked("GET", "/publish/")).status == 405


def test_every_name_is_once(document):
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(names)) == len(names)


def test_the_token_is_described_where_there_is_one(document, needs_token):
    assert ("security" in document) == needs_token
    for operation in operations(document).values():
        assert ("401" in operation["responses"]) == needs_token


def test_what_stands_in_braces_is_described(document):
    for path, item in document["paths"].items():
        named = [p["name"] for p in item.get("parameters", ()) if p["in"] == "path"]
        assert named == [s[1:-1] for s in path.split("/") if s.startswith("{")]
        assert all(p["required"] for p in item.get("parameters", ()))


def test_messages_are_what_posts_take(document):
    for (path, method), operation in operations(document).items():
        assert ("requestBody" in operation) == (method == "post"), path


@pytest.mark.parametrize("endpoint", TABLE, ids=lambda e: str(e.path[0]))
def test_the_rules_that_are_told_are_those_that_are_kept(endpoint):
    """A few values by each: what the schema's pattern has, the reader takes."""
    for part in endpoint.path:
        if isinstance(part, Part) and "pattern" in part.schema:
            assert part.read("0123456789abcdef" * 2)
            with pytest.raises(ValueError, match="no "):
                part.read("a b")
    for operation in endpoint.methods.values():
        known = operation.parameters if isinstance(operation, Operation) else ()
        for parameter in known or ():
            for value in parameter.schema.get("enum", ()):
                parameter.read(value)


def test_what_publish_takes_and_says_is_described(document):
    publish = operations(document)["/publish/", "post"]
    schema = publish["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["items"]
    assert schema["properties"]["items"]["maxItems"] == MAX_ITEMS
    said = {status: list(answer["content"]) for status, answer in publish["responses"].items()}
    for status in ("200", "400", "503"):
        assert said[status] == ["text/plain; charset=utf-8"]
