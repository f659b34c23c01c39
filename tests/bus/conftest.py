"""What tests of several nodes share."""

import pytest
from twisted.internet.task import Clock

from tests.bus.memory_bus import new_exchange


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def exchange(clock):
    return new_exchange(clock)
