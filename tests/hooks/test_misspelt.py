"""wsgate.hooks.making: a route's name of a hook that is misspelt."""

import pytest
from twisted.internet.task import Clock

from tests.hooks.services import made_services
from wsgate.config.hooks import NamedHook
from wsgate.hooks import HookUnusable
from wsgate.hooks.making import make_hook


def test_the_nearest_of_the_names_in_the_settings_is_named_too():
    named = NamedHook(name="logni", use="logni", written="here", others=("login", "door"))
    with pytest.raises(HookUnusable, match="here: no hook or plugin logni; did you mean login"):
        make_hook(named, made_services(Clock()), "/")
