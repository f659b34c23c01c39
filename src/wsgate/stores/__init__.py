"""Stores that hooks may ask: Redis, memcached, PostgreSQL, MySQL and MariaDB.

make.py       those of the settings, by name, through all reloads
store.py      what they have in common: a name, a deadline for each request, figures
redis.py      Redis, on wsgate's own client
memcached.py  memcached; memcached_wire.py: its protocol (pure)
sql.py        databases: who runs which statement on which connection
lane.py       one connection to a database in a thread of its own; link.py: what a driver is to it
postgresql.py, mysql.py   connections by psycopg and by PyMySQL
statement.py  SQL with ? where values go (pure)
samples.py    their figures
errors.py     what can go wrong
"""

from wsgate.stores.errors import (
    StoreAnswer,
    StoreAway,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnusable,
    StoreValue,
)
from wsgate.stores.make import Stores, make_stores
from wsgate.stores.samples import store_samples
from wsgate.stores.store import Store

__all__ = [
    "Store",
    "StoreAnswer",
    "StoreAway",
    "StoreError",
    "StoreFull",
    "StoreTimeout",
    "StoreUnusable",
    "StoreValue",
    "Stores",
    "make_stores",
    "store_samples",
]
