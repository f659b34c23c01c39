"""The tests' own house: what all of them share is done in one place."""

from pathlib import Path

TESTS = Path(__file__).parent


def test_one_module_connects_with_websockets_sync():
    """It has the patience that a busy machine needs, and no race over TLS."""
    said = "from websockets.sync.client import connect"
    found = [path.name for path in TESTS.rglob("*.py") if f"\n{said}" in path.read_text()]
    assert found == ["websocket_client.py"]


def test_nothing_is_left_in_the_checkout():
    """Trial's own mktemp makes folders where pytest was started."""
    called = ".mktemp" + "()"
    assert [path.name for path in TESTS.rglob("*.py") if called in path.read_text()] == []
