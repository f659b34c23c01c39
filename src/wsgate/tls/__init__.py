"""Where clients connect, and the certificates of `tls:PORT`.

`server_endpoint` reads one `--port` string, `connection_creator` the certificates. All is read from
disk once, when the service is made (as root, where twistd drops privileges later): a handshake
never waits for a disk and no client can cause a read. A renewed certificate needs a restart.

ports.py         the strings
certificates.py  chains and keys, from files or made in memory
handshakes.py    what a client is offered, and which certificate it sees
errors.py        the one error of this room
"""

from wsgate.tls.errors import TLSError
from wsgate.tls.handshakes import connection_creator
from wsgate.tls.ports import server_endpoint

__all__ = ["TLSError", "connection_creator", "server_endpoint"]
