"""wsgate.fastcgi.errors: the type alone says how far a request got."""

import wsgate.fastcgi as fastcgi
from wsgate.fastcgi import errors

NOT_SENT = {"BackendUnavailable", "BackendBusy", "QueueFull", "QueueTimeout", "PoolStopped"}
OTHERS = {
    "ApplicationOverloaded",
    "ProtocolError",
    "ResponseNeverReceived",
    "ResponseCutOff",
    "ResponseTooLarge",
    "RequestTimeout",
    "ResponseTimeout",
    "StreamStopped",
}
STREAM = {"StreamsFull", "StreamTimeout"}


def test_the_tree_is_as_its_picture_says():
    assert {c.__name__ for c in errors.NotSent.__subclasses__()} == NOT_SENT
    assert {c.__name__ for c in errors.FastCGIError.__subclasses__()} == {"NotSent"} | OTHERS
    assert {c.__name__ for c in errors.StreamStopped.__subclasses__()} >= STREAM
    for name in NOT_SENT | OTHERS | STREAM:
        assert f"─ {name} " in errors.__doc__


def test_every_error_is_exported():
    others = {"FastCGIError", "NotSent", "CircuitOpen"}
    assert set(errors.__all__) == others | NOT_SENT | OTHERS | STREAM
    assert set(errors.__all__) <= set(fastcgi.__all__)


def test_an_error_carries_stderr_and_backend():
    error = errors.ResponseCutOff("text", stderr=b"PHP message", backend="app")
    assert (str(error), error.stderr, error.backend) == ("text", b"PHP message", "app")
    plain = errors.QueueFull("text")
    assert (plain.stderr, plain.backend) == (b"", "")
