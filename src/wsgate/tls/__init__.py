"""Where clients connect, and the certificates of `tls:PORT`.

`server_endpoint` reads one `--port` string, `read_certificates` the certificates. A handshake reads
nothing from disk, so no client waits for one or can cause a read: files are read when the service
is made (as root, where twistd drops privileges later), on SIGHUP, and when they have changed.

ports.py         the strings
certificates.py  chains and keys, from files or made in memory
handshakes.py    what a client is offered and asked for, and which certificate it sees
renewal.py       the certificates of now; read again and swapped
watch.py         notices that files have changed
clients.py       a client's own certificate, as PHP sees it
errors.py        the one error of this room
"""

from wsgate.tls.certificates import CertificateFiles, Identity
from wsgate.tls.clients import client_params
from wsgate.tls.errors import TLSError
from wsgate.tls.handshakes import Credentials
from wsgate.tls.ports import server_endpoint
from wsgate.tls.renewal import Certificates, read_certificates
from wsgate.tls.watch import CertificateWatch

__all__ = [
    "CertificateFiles",
    "CertificateWatch",
    "Certificates",
    "Credentials",
    "Identity",
    "TLSError",
    "client_params",
    "read_certificates",
    "server_endpoint",
]
