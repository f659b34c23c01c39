"""`--workers N`: several processes on the same ports.

The twistd process is the parent: it binds the ports and watches the workers, nothing else. A
worker is a whole gateway with its share of the limits and a private PHP of its own; it inherits
the listening sockets.

service.py       the parent's service
supervisor.py    all workers: start, restart one by one, stop
slot.py          one worker: restarts and successors
process.py       one worker process, from the parent's side
inside.py        a worker's own side; `wsgate.worker` is its program
adopted.py       ports that the parent has bound
balance.py       who has how many connections, so that all get equally many
credentials.py   certificates and keys, for the way to a worker
shares.py        what of the settings each worker gets
brief.py, reports.py   what goes down and up between the two
"""

from wsgate.workers.brief import Brief
from wsgate.workers.inside import BUS, run
from wsgate.workers.reports import Figures
from wsgate.workers.service import WorkersService

__all__ = ["BUS", "Brief", "Figures", "WorkersService", "run"]
