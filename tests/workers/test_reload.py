"""What the parent's log says of a reload, by how many workers could be replaced."""

from dataclasses import replace

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent

from wsgate.config import Gateway, Limits, Settings
from wsgate.workers import WorkersService

BEFORE = Settings(gateway=Gateway(port=(), workers=3))
AFTER = replace(BEFORE, limits=Limits(max_fragments=7))


class Supervisor:
    """Replaces as many workers as the test says."""

    slots = (1, 2, 3)

    def __init__(self, replaced):
        self.replaced = replaced

    async def reload(self):
        return self.replaced


def reloaded(replaced):
    """A parent after a reload, and what it logged as an error."""
    service = WorkersService(Clock(), BEFORE, None, lambda: AFTER, lambda asked: asked)
    service.supervisor = Supervisor(replaced)
    with capturedLogs() as events:
        service.reload()
    return service, [formatEvent(e) for e in events if e["log_level"] is LogLevel.error]


def test_all_workers_have_the_new_settings():
    service, errors = reloaded(3)
    assert errors == []
    assert service.reload.settings == AFTER


def test_no_worker_has_the_new_settings():
    service, errors = reloaded(0)
    assert errors == ["SIGHUP: a worker could not be replaced; the settings stay as they were"]
    assert service.reload.settings == BEFORE


@pytest.mark.parametrize(("replaced", "who"), [(1, "worker 1 has"), (2, "workers 1 to 2 have")])
def test_the_log_says_which_workers_have_the_new_settings(replaced, who):
    service, errors = reloaded(replaced)
    rest = "the new settings, the others those of before"
    assert errors == [f"SIGHUP: a worker could not be replaced; {who} {rest}"]
    assert service.reload.settings == BEFORE
