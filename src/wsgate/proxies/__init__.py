"""Proxies in front of wsgate: which of them are believed, and what they say of a client.

trusted.py    the list of those that are believed. Pure
forwarded.py  the client's address and scheme from X-Forwarded-*. Pure
header.py     the header of the PROXY protocol, versions 1 and 2. Pure
port.py       ports where each connection begins with that header
"""

from wsgate.proxies.forwarded import client_address, client_scheme
from wsgate.proxies.port import ProxiedEndpoint
from wsgate.proxies.trusted import LOCAL, TrustedProxies

__all__ = ["LOCAL", "ProxiedEndpoint", "TrustedProxies", "client_address", "client_scheme"]
