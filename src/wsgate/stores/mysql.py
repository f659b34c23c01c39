"""Connections to MySQL and MariaDB by PyMySQL, in a thread of their own each."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Any

import pymysql

from wsgate.config import StoreSettings
from wsgate.config.addresses import StoreAddress, parse
from wsgate.stores.errors import (
    StoreAnswer,
    StoreAway,
    StoreError,
    StoreTimeout,
    StoreUnusable,
    StoreValue,
)
from wsgate.stores.link import Link, Row, Seen, plain
from wsgate.stores.statement import (
    Dialect,
    SQLValue,
    Statement,
    StatementError,
    with_literals,
)

_TIMES_UP = {1969, 3024}
"""max_statement_time of MariaDB, max_execution_time of MySQL."""

_VALUES = {1264, 1265, 1267, 1270, 1271, 1292, 1300, 1366, 1367, 1406, 1411, 1690, 1977, 3988}
"""A value that cannot be converted to what it is compared with."""

_ABOUT_STATEMENTS = {1044, 1046, 1054, 1142, 1143, 1146, 1227, 1290, 1305, 1370, 1792}
"""What is not there, or not allowed; others may have a value in their text."""


class MySQL:
    """Makes connections to one database.

    Raises:
        StoreUnusable: a file of the URL is not there, or holds nothing of use.
    """

    dialect: Dialect = "mysql"

    def __init__(self, settings: StoreSettings, password: str) -> None:
        self._address = address = parse(settings.url)
        self.place = str(address)
        self._settings = settings
        self._how: dict[str, Any] = {
            "host": address.host or "localhost",
            "port": address.port,
            "user": address.user or None,
            "password": password or address.password,
            "database": address.database,
            "charset": "utf8mb4",
            "autocommit": True,
            "program_name": "wsgate",
            "read_timeout": settings.connect_timeout,
            "write_timeout": settings.connect_timeout,
        }
        secure = _security(address, f"stores.{settings.name}.url")
        if secure is None:
            self._how["ssl_disabled"] = True
        else:
            # Since 1.2, PyMySQL speaks to no server that has no TLS then.
            self._how["ssl"] = secure

    def connect(self, seen: Seen) -> Link:
        """Connect, which blocks. Raises StoreError."""
        try:
            stream = self._dial()
        except OSError as error:
            raise StoreAway(f"cannot connect: {error.strerror or error}") from None
        try:
            seen(stream.fileno())
            connection = pymysql.Connection(defer_connect=True, **self._how)
            connection.connect(stream)
            link = MySQLLink(connection)
            link.begin(self._settings)
            return link
        # PyMySQL says the user, never the password. On nonsense it raises whatever comes.
        except Exception as error:
            stream.close()
            raise StoreAway(f"cannot connect: {_why(error)}") from None

    def _dial(self) -> socket.socket:
        seconds = self._settings.connect_timeout
        if not self._address.path:
            place = (self._address.host, self._address.port)
            stream = socket.create_connection(place, seconds)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return stream
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.settimeout(seconds)
            stream.connect(self._address.path)
        except OSError:
            stream.close()
            raise
        return stream


def _security(address: StoreAddress, called: str) -> ssl.SSLContext | None:
    options = address.options
    wanted = options.get("ssl") == "true" or any(name.startswith("ssl_") for name in options)
    if not wanted or options.get("ssl") == "false":
        return None
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca"))
        if "ssl_cert" in options:
            context.load_cert_chain(options["ssl_cert"], options.get("ssl_key"))
    except OSError as error:
        why = error.strerror or "no certificates in it"
        names = ", ".join(path for name, path in options.items() if os.sep in path)
        raise StoreUnusable(f"{called}: {names}: {why}") from None
    return context


class MySQLLink:
    """One open connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.is_usable = True
        """Whether another statement may be sent."""

    def begin(self, settings: StoreSettings) -> None:
        """Tell the server what may be done, and for how long."""
        if "mariadb" in self._connection.get_server_info().lower():
            self._tell(f"SET SESSION max_statement_time = {settings.timeout:f}")
        else:
            milliseconds = max(1, round(settings.timeout * 1000))
            self._tell(f"SET SESSION max_execution_time = {milliseconds}")
        self._tell(f"SET SESSION sql_select_limit = {settings.max_rows}")
        if settings.read_only:
            self._tell("SET SESSION TRANSACTION READ ONLY")

    def _tell(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)

    def query(self, statement: Statement, values: tuple[SQLValue, ...], limit: int) -> list[Row]:
        """The first `limit` rows. Raises StoreError."""
        try:
            text = with_literals(statement, values)
        except StatementError as error:
            raise StoreValue(str(error)) from None
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(text)
                names = [column[0] for column in cursor.description or ()]
                rows = cursor.fetchmany(limit)
        # On nonsense it raises whatever comes.
        except Exception as error:
            raise self._in_words(error) from None
        return [dict(zip(names, map(plain, row), strict=True)) for row in rows]

    def close(self) -> None:
        """End it; harmless when it has ended."""
        self._connection._force_close()

    def _in_words(self, error: Exception) -> StoreError:
        number = error.args[0] if isinstance(error, pymysql.Error) and error.args else None
        self.is_usable = isinstance(number, int) and number < 2000 and self._connection.open
        if not isinstance(number, int) or not self._connection.open:
            if isinstance(error, pymysql.OperationalError):
                return StoreAway("the connection was lost")
            return StoreAnswer("it does not speak MySQL's protocol")
        if number in _TIMES_UP:
            return StoreTimeout("the server has ended the statement")
        if number in _VALUES:
            return StoreValue(f"error {number}")
        if number >= 2000:
            return StoreAway("the connection was lost")
        return StoreAnswer(_why(error) if number in _ABOUT_STATEMENTS else f"error {number}")


def _why(error: Exception) -> str:
    if isinstance(error, pymysql.Error) and len(error.args) == 2:
        return f"{error.args[1]} ({error.args[0]})"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it does not speak MySQL's protocol"
