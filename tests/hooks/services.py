"""What hooks get of the gateway, without one."""

from collections.abc import Callable
from typing import Any

from wsgate.hooks import Services
from wsgate.timeouts import Timeouts


def made_services(
    clock: Any, count: Callable[[str, str], object] = lambda _name, _outcome: None, **others: Any
) -> Services:
    """Services on a clock of the test's, which is the time of day too; `others` as they are."""
    given = {
        "reactor": clock,
        "wall": clock.seconds,
        "timeouts": Timeouts(clock),
        "channels": None,
        "stores": {},
        "count": count,
    }
    return Services(**given | others)
