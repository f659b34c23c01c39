"""Connections to PostgreSQL by psycopg, in a thread of their own each."""

from __future__ import annotations

import os
import ssl
from contextlib import closing, suppress
from itertools import islice
from typing import Any

import psycopg
from psycopg import errors, pq
from psycopg.types.string import TextLoader

from wsgate.config import StoreSettings
from wsgate.config.addresses import parse
from wsgate.stores.errors import (
    StoreAnswer,
    StoreAway,
    StoreError,
    StoreTimeout,
    StoreUnusable,
    StoreValue,
)
from wsgate.stores.link import Link, Row, Seen, plain
from wsgate.stores.statement import Dialect, SQLValue, Statement, numbered

_AS_TEXT = ("json", "jsonb")


class PostgreSQL:
    """Makes connections to one database.

    Raises:
        StoreUnusable: a file of the URL is not there.
    """

    dialect: Dialect = "postgresql"

    def __init__(self, settings: StoreSettings, password: str) -> None:
        address = parse(settings.url)
        self.place = str(address)
        options = dict(address.options)
        for name in ("sslrootcert", "sslcert", "sslkey"):
            path = options.get(name, "")
            if path and path != "system" and not os.access(path, os.R_OK):
                raise StoreUnusable(f"stores.{settings.name}.url: {name}: cannot read {path}")
        if options.get("sslmode", "").startswith("verify") and "sslrootcert" not in options:
            options["sslrootcert"] = _authorities()
        self._how: dict[str, Any] = {
            "host": address.path or address.host,
            "port": address.port,
            "dbname": address.database,
            "user": address.user,
            "password": password or address.password,
            # libpq takes whole seconds, 2 at least; whoever waits for it is not bound by that.
            "connect_timeout": max(2, round(settings.connect_timeout)),
            "application_name": "wsgate",
            **options,
        }
        self._how = {name: value for name, value in self._how.items() if value}
        self._reads_only = settings.read_only
        milliseconds = max(1, round(settings.timeout * 1000))
        self._begin = (
            f"set statement_timeout = {milliseconds}; set standard_conforming_strings = on; "
            f"set default_transaction_read_only = {'on' if settings.read_only else 'off'}"
        )

    def connect(self, seen: Seen) -> Link:
        """Connect, which blocks. Raises StoreError."""
        connection = None
        try:
            connection = psycopg.connect(autocommit=True, prepare_threshold=None, **self._how)
            seen(connection.fileno())
            connection.execute(self._begin)
        # libpq's own texts never have the password in them.
        except (psycopg.Error, OSError) as error:
            if connection is not None:
                connection.close()
            if isinstance(error, errors.OperationalError):
                raise StoreAway(f"cannot connect: {error}") from None
            raise StoreAway(f"cannot connect: {type(error).__name__}") from None
        for name in _AS_TEXT:
            connection.adapters.register_loader(name, TextLoader)
        return PostgreSQLLink(connection, reads_only=self._reads_only)


def _authorities() -> str:
    """The file of the authorities that this machine trusts; libpq would look in a home."""
    paths = ssl.get_default_verify_paths()
    found = [path for path in (paths.cafile, paths.openssl_cafile) if path and os.path.exists(path)]
    return next(iter([*found, *filter(os.path.exists, _KNOWN_AUTHORITIES)]), "system")


_KNOWN_AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


class PostgreSQLLink:
    """One open connection."""

    def __init__(self, connection: psycopg.Connection[Any], *, reads_only: bool) -> None:
        self._connection = connection
        self._reads_only = reads_only

    @property
    def is_usable(self) -> bool:
        """Whether another statement may be sent."""
        idle = pq.TransactionStatus.IDLE
        return not self._connection.closed and self._connection.info.transaction_status == idle

    def query(self, statement: Statement, values: tuple[SQLValue, ...], limit: int) -> list[Row]:
        """The first `limit` rows. Raises StoreError."""
        cursor = psycopg.RawCursor(self._connection)
        try:
            rows = self._rows(cursor, numbered(statement).encode(), values, limit)
        except UnicodeEncodeError:
            raise StoreValue("a text that is not Unicode") from None
        except psycopg.Error as error:
            raise self._in_words(error) from None
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, map(plain, row), strict=True)) for row in rows]

    def _rows(
        self, cursor: Any, asked: bytes, values: tuple[SQLValue, ...], limit: int
    ) -> list[Any]:
        if self._reads_only:
            # Row by row; closing it cancels what is left.
            with closing(cursor.stream(asked, values)) as found:
                return list(islice(found, limit))
        # What changes something has no rows, which `stream` takes for a mistake.
        cursor.execute(asked, values)
        return list(cursor.fetchmany(limit)) if cursor.description else []

    def close(self) -> None:
        """End it; harmless when it has ended."""
        with suppress(psycopg.Error, OSError):
            self._connection.close()

    def _in_words(self, error: psycopg.Error) -> StoreError:
        code = error.sqlstate or ""
        if isinstance(error, errors.QueryCanceled):
            return StoreTimeout("the server has ended the statement")
        if self._connection.closed or code.startswith(("08", "57")):
            return StoreAway("the connection was lost")
        if isinstance(error, errors.DataError):
            return StoreValue(f"{type(error).__name__} {code}")
        if code.startswith(("25", "3", "42")):
            # About the statement; others may have a value in their text.
            return StoreAnswer(f"{error.diag.message_primary} ({code})")
        return StoreAnswer(f"{type(error).__name__} {code}")
