"""wsgate.websocket.template: a connection is open as Autobahn would have left it."""

import pytest

from tests.websocket.test_protocol import DEFLATE, TEXT, Gateway, frame
from wsgate.websocket.template import NobodyWaits, _check_shareable


def test_the_state_of_a_connection_is_the_one_autobahn_leaves():
    ours = Gateway()
    ours.open()
    autobahns = Gateway(compression=True)
    autobahns.open()
    different = {"transport", "factory", "peer", "perMessageCompressionAccept"}
    different |= {"trafficStats", "utf8validator", "is_open", "is_closed", "_transport_details"}
    for name, value in vars(autobahns.protocol).items():
        if name in different or name.startswith(("http_", "_conversation", "_wskey")):
            continue
        if name == "autoPingPendingCall":
            assert ours.protocol.autoPingPendingCall is not None
            continue
        assert getattr(ours.protocol, name) == value, name


def test_connections_share_no_state_that_changes():
    gateway = Gateway()
    gateway.open()
    first = gateway.protocol
    gateway.connect()
    gateway.open()
    second = gateway.protocol
    assert first.utf8validator is not second.utf8validator
    first.dataReceived(frame(TEXT, b"\xc3", fin=False))
    assert first.inside_message
    assert not second.inside_message
    assert second.current_frame is None


def test_an_idle_connection_has_few_attributes_of_its_own():
    gateway = Gateway()
    gateway.open()
    assert len(vars(gateway.protocol)) < 10


def test_a_connection_with_compression_is_opened_by_autobahn():
    gateway = Gateway(compression=True)
    gateway.open(DEFLATE)
    assert gateway.protocol._perMessageCompress is not None
    plain = Gateway(compression=True)
    plain.open()
    assert plain.protocol._perMessageCompress is None


def test_an_attribute_that_can_change_and_is_not_known_is_refused():
    factory = Gateway().factory
    _check_shareable("state", 3, factory)
    _check_shareable("is_open", NobodyWaits(), factory)
    with pytest.raises(TypeError, match="new_in_autobahn"):
        _check_shareable("new_in_autobahn", [], factory)
