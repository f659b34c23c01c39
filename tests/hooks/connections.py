"""A connection as hooks see it, without a gateway."""

from urllib.parse import parse_qs

from wsgate.timeouts import Timeouts


class FakeConnection:
    """Keeps what a hook did in `params`, `closed` and so on."""

    def __init__(self, clock=None, path="/chat", query="", headers=(), cookies=None, offered=()):
        self.id = "c1"
        self.route = "/"
        self.path = path
        self.query_string = query
        self.remote_address = "192.0.2.1"
        self.is_secure = True
        self.offered_subprotocols = tuple(offered)
        self.subprotocol = None
        self.memory = {}
        self.params = {}
        self.room = 8192
        self.user = None
        self.variables = {}
        self.closed = None
        self.sent = []
        self._headers = [(name.lower(), value) for name, value in headers]
        self._cookies = cookies or {}
        self.timeouts = Timeouts(clock) if clock else None

    def take_subprotocol(self, name):
        assert name is None or name in self.offered_subprotocols
        self.subprotocol = name

    def header(self, name):
        return next(iter(self.headers(name)), None)

    def headers(self, name):
        return tuple(value for key, value in self._headers if key == name.lower())

    def cookie(self, name):
        return self._cookies.get(name)

    def query(self, name):
        return parse_qs(self.query_string, keep_blank_values=True).get(name, [None])[0]

    def set_param(self, name, value):
        if not value.isprintable() or len(value) > self.room:
            raise ValueError(name)
        self.params.pop(name, None)
        if value:
            self.params[name] = value

    def bind_user(self, user):
        if not user.isprintable():
            raise ValueError(user)
        self.user = user or None

    def close(self, code=1000, reason=""):
        self.closed = self.closed or (code, reason)

    def send(self, payload):
        self.sent.append(payload)
        return True

    def call_later(self, delay, function):
        return self.timeouts.call_later(delay, function)
