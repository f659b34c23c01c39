"""The hook `sql`: asks a database before PHP is asked (docs/ask-my-database.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from wsgate.config.errors import did_you_mean
from wsgate.config.hooks import OptionError
from wsgate.config.sql import SqlOptions
from wsgate.hooks.connection import Connection
from wsgate.hooks.hook import Hook, OnConnect, OnMessage, Refuse
from wsgate.hooks.message import Message
from wsgate.hooks.params import check_param
from wsgate.hooks.services import Services
from wsgate.hooks.sqlvalues import param_text, values_of
from wsgate.stores import StoreAnswer, StoreAway, StoreValue

DATABASES = ("postgresql", "mysql")


class Sql(Hook):
    """Refuses a client, or a message, for which a query finds no row.

    `happened` is told a word for each: let_in, missing (a value), no_row, wrong_value.
    """

    def __init__(
        self, options: SqlOptions, stores: Mapping[str, Any], happened: Callable[[str], None]
    ) -> None:
        self._options = options
        self._stores = stores
        self._happened = happened
        self._refusal = Refuse(options.status, options.reason)

    async def on_connect(self, connection: Connection) -> OnConnect:
        """A client wants in."""
        return await self._ask(connection, None)

    async def _ask(self, connection: Connection, message: Message | None) -> Refuse | None:
        options = self._options
        values = values_of(options.values, options.max_value, connection, message)
        if values is None:
            return self._refused("missing")
        # Looked for each time: a reload may have put another in its place.
        store = self._stores.get(options.store)
        if store is None or store.kind not in DATABASES:
            raise StoreAway(f"store {options.store} is none any more that can be asked")
        try:
            rows = await store.query(options.query, *values)
        except StoreValue:
            # The client's doing. As a failure it would be let in where failures are.
            return self._refused("wrong_value")
        if not rows:
            return self._refused("no_row")
        return self._let_in(connection, rows[0])

    def _let_in(self, connection: Connection, row: Mapping[str, object]) -> Refuse | None:
        options = self._options
        if options.user_column is not None:
            user = param_text(self._column(row, options.user_column))
            if not user:
                return self._refused("no_row")
            connection.bind_user(user)
        for param, column in options.params.items():
            connection.set_param(param, param_text(self._column(row, column)))
        self._happened("let_in")
        return None

    def _column(self, row: Mapping[str, object], column: str) -> object:
        if column not in row:
            raise StoreAnswer(f"the rows of the query have no column {column}")
        return row[column]

    def _refused(self, why: str) -> Refuse:
        self._happened(why)
        return self._refusal


class SqlOfMessages(Sql):
    """The same, asked for each message instead."""

    def on_connect(self, connection: Connection) -> Any:
        """Everybody may come in."""
        return None

    async def on_message(self, connection: Connection, message: Message) -> OnMessage:
        """One message."""
        try:
            return await self._ask(connection, message)
        except Exception:
            # Where failures pass, PHP must not take what an earlier message got for this one's.
            for param in self._options.params:
                connection.set_param(param, "")
            raise


def make(services: Services, options: SqlOptions) -> Sql:
    """The hook, as its options ask for it.

    Raises:
        OptionError: there is no such database, or it would not take the query.
    """
    store = services.stores.get(options.store)
    if store is None:
        mend = did_you_mean(options.store, services.stores)
        raise OptionError("store", f"no such store{mend or '; name its URL below [stores]'}")
    if store.kind not in DATABASES:
        raise OptionError("store", f"a {store.kind}; this hook asks PostgreSQL or MySQL")
    try:
        store.check(options.query, len(options.values))
    except ValueError as error:
        raise OptionError("query", str(error)) from None
    _check_params(options.params)
    made = SqlOfMessages if options.on == "message" else Sql
    return made(options, services.stores, partial(services.count, services.name))


def _check_params(params: Iterable[str]) -> None:
    for param in params:
        try:
            check_param(param, "")
        except ValueError as error:
            raise OptionError("params", f"{error}; write another name") from None
