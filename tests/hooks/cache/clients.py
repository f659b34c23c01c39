"""A connection as the cache sees it."""

from __future__ import annotations


class Client:
    """Each attribute as `wsgate.hooks.Connection` has it; header fields are pairs."""

    def __init__(self, id="1", route="/prices", target="/prices", fields=(), **more):
        self.id = id
        self.route = route
        self.path, _, self.query_string = target.partition("?")
        self.is_secure = more.pop("is_secure", False)
        self.subprotocol = more.pop("subprotocol", None)
        self.user = more.pop("user", None)
        self.variables = more.pop("variables", {})
        self.params = more.pop("params", {})
        self.fields = [("host", "example.com"), *fields]
        self.memory = {}
        assert not more

    def header(self, name):
        return next(iter(self.headers(name)), None)

    def headers(self, name):
        return tuple(value for field, value in self.fields if field == name.lower())
