"""The program of one worker: `python -m wsgate.worker NUMBER`. Only the parent starts it.

The number is for people who read a list of processes; everything else is in the brief.
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module


def main() -> None:
    """Serve until the parent says stop, or has gone."""
    # Ctrl-C at a terminal and a terminal's end are for the parent, which then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from wsgate.workers.inside import read_brief

    brief = read_brief()
    if brief is None:
        sys.exit("wsgate: a worker is started by wsgate --workers N, not by hand")
    import_module(brief.reactor).install()
    from wsgate.service import run_worker

    run_worker(brief)


if __name__ == "__main__":
    main()
