"""PostgreSQL and MariaDB as stores: what they give, and what is told when they fail."""

import contextlib
import os
import shutil
import tempfile
import threading
from pathlib import Path

import psycopg
import pymysql
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater

from tests.integration.mariadb_server import ESCAPED, PASSWORD, MariaDBServer, mariadb_server
from tests.integration.postgresql_server import PostgreSQLServer, postgresql_server
from tests.integration.server_process import running
from tests.integration.store_cases import StoreTestCase, babbler
from tests.integration.test_tls_service import Authority
from wsgate.stores import (
    StoreAnswer,
    StoreAway,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreValue,
)

TABLE = """
create table users (id int primary key, name varchar(100), token varchar(100));
insert into users values (1, 'Ada', 'secret-1'), (2, 'Grace', 'secret-2'), (0, 'Nobody', 'x');
"""

ATTACKS = (
    "' or '1'='1",
    "' or 1=1 -- ",
    "'; drop table users; -- ",
    "\\' or 1=1 -- ",
    "\\",
    "secret-1'",
    "%' or '%'='",
    "%s",
    "%(x)s",
    "?",
    "$1",
    "\x1a",
    "\xbf' or 1=1 -- ",
    "/*",
    "0",
    "",
)


def made(folder):
    folder.mkdir()
    return folder


class SQLCases:
    """What holds for both."""

    kind: str
    slow: str
    """A statement that takes seconds."""
    many: str
    """A statement with 1,000,000 rows, n from 1."""
    many_at_once = "2"

    def server(self):
        raise NotImplementedError

    async def ready(self, **more):
        """A server with the table, and a store that is up."""
        self.running = self.serve(self.server())
        self.running.run(TABLE)
        return await self.up(self.store(self.running.url, **more))

    async def test_rows_come_by_the_names_of_columns(self):
        store = await self.ready()
        self.assertEqual(store.kind, self.kind)
        asked = "select id, name from users where token = ?"
        self.assertEqual(await store.query(asked, "secret-1"), [{"id": 1, "name": "Ada"}])
        self.assertEqual(await store.query(asked, "nobody's"), [])
        rows = await store.query("select name as n from users where id > ? order by id", 0)
        self.assertEqual(rows, [{"n": "Ada"}, {"n": "Grace"}])
        self.assertEqual(store.outcomes["answered"], 3)

    async def test_values_of_rows_are_plain(self):
        store = await self.ready()
        sql = (
            "select cast('2026-11-23' as date) as day, cast(1.50 as decimal(5,2)) as price,"
            " null as nothing, 7 as n, 'é😀' as t"
        )
        (row,) = await store.query(sql)
        expected = {"day": "2026-11-23", "price": "1.50", "nothing": None, "n": 7, "t": "é😀"}
        self.assertEqual(row, expected)

    async def test_values_of_any_kind_come_as_they_were_sent(self):
        store = await self.ready()
        for value in ("é😀 'quoted\" \\ %s ?", "x" * 10_000, *ATTACKS):
            (row,) = await store.query(self.echo, value)
            self.assertEqual(row, {"v": value})

    async def test_no_value_can_change_the_statement(self):
        store = await self.ready()
        for attack in ATTACKS:
            rows = await store.query("select id from users where token = ?", attack)
            self.assertEqual(rows, [], attack)
        self.assertEqual(len(await store.query("select id from users")), 3)

    async def test_a_value_that_cannot_be_is_told_as_such(self):
        store = await self.ready()
        for value in ("\ud800", *self.impossible):
            await self.error_of(
                store.query("select id from users where name = ? or id = 5", value), StoreValue
            )
        self.assertEqual(len(await store.query("select id from users where id = ?", 1)), 1)

    async def test_a_statement_with_another_number_of_values_is_not_asked(self):
        store = await self.ready()
        for values in ((), ("a", "b")):
            with self.assertRaises(ValueError):
                store.query("select id from users where token = ?", *values)
        with self.assertRaises(ValueError):
            store.query("select 1; select 2")

    async def test_an_error_of_the_server_is_its_answer_and_the_connection_stays(self):
        store = await self.ready(connections=1)
        before = await store.query(self.who)
        line = await self.error_of(store.query("select x from nowhere"), StoreAnswer)
        self.assertIn("nowhere", line)
        self.assertEqual(await store.query(self.who), before)
        self.assertEqual(store.outcomes["error"], 1)

    async def test_nothing_can_be_written_unless_the_settings_say_so(self):
        store = await self.ready()
        change = "update users set name = ? where id = 1"
        await self.error_of(store.query(change, "Eve"), StoreAnswer)
        writing = await self.up(self.store(self.running.url, read_only=False))
        self.assertEqual(await writing.query(change, "Eve"), [])
        self.assertEqual(await store.query("select name from users where id=1"), [{"name": "Eve"}])

    async def test_rows_are_given_up_to_the_bound_and_not_one_more(self):
        store = await self.ready(max_rows=3, timeout=20.0)
        for count, given in ((2, 2), (3, 3), (4, 3), (1_000_000, 3)):
            rows = await store.query(self.many, count)
            self.assertEqual([row["n"] for row in rows], list(range(1, given + 1)))
        self.assertEqual(await store.query("select 1 as n"), [{"n": 1}])

    async def test_a_slow_statement_is_late_and_holds_up_nobody(self):
        # For the others it includes a connection, which is made only now.
        store = await self.ready(timeout=2.0, connections=2)
        slow = store.query(self.slow)
        self.assertEqual(await store.query("select 1 as n"), [{"n": 1}])
        await self.error_of(slow, StoreTimeout)
        self.assertEqual(await store.query("select 2 as n"), [{"n": 2}])
        self.assertEqual(store.outcomes["late"], 1)

    async def test_those_who_wait_are_served_in_turn_and_one_too_many_is_refused(self):
        store = await self.ready(timeout=5.0, connections=1, waiting=2)
        slow = store.query(self.pause)
        waiting = [store.query("select 1 as n"), store.query("select 2 as n")]
        await self.error_of(store.query("select 3 as n"), StoreFull)
        await slow
        self.assertEqual(await gatherResults(waiting), [[{"n": 1}], [{"n": 2}]])
        self.assertEqual(store.outcomes["full"], 1)
        self.assertEqual(store.in_use, 1)

    async def test_connections_are_made_up_to_the_bound(self):
        store = await self.ready(timeout=10.0, connections=3)
        await gatherResults([store.query(self.pause) for _ in range(7)])
        self.assertEqual(store.in_use, 3)
        self.assertEqual(store.outcomes["answered"], 7)

    async def test_a_server_that_dies_is_told_at_once_and_found_again(self):
        store = await self.ready()
        under_way = store.query(self.pause)
        await deferLater(reactor, 0.1)
        self.running.kill()
        await self.error_of(under_way, StoreAway)
        await self.until(lambda: not store.is_up)
        await self.error_of(store.query("select 1"), StoreAway)
        self.running.start()
        await self.up(store)
        self.assertEqual(await store.query("select 1 as n"), [{"n": 1}])

    async def test_an_idle_connection_that_ends_is_noticed_without_asking(self):
        store = await self.ready()
        self.running.kill()
        await self.until(lambda: not store.is_up, 5)
        self.assertEqual(store.outcomes["away"], 0)

    async def test_a_server_that_is_not_there_at_the_start_is_found_later(self):
        with self.server() as server:
            server.kill()
            store = self.store(server.url)
            # Whoever asks before that is known waits for it.
            await self.error_of(store.query("select 1"), StoreAway)
            server.start()
            await self.up(store)
            self.assertEqual(await store.query("select 1 as n"), [{"n": 1}])

    async def test_a_server_that_hangs_is_late_then_away_and_found_again(self):
        store = await self.ready(timeout=0.4, connect_timeout=1.0, connections=2)
        self.running.freeze()
        threads = threading.active_count()
        for _ in range(8):
            await self.error_of(store.query("select 1"), StoreError)
        self.assertLessEqual(threading.active_count(), threads + 4)
        self.assertGreaterEqual(store.outcomes["late"], 1)
        await self.until(lambda: not store.is_up)
        self.running.thaw()
        await self.up(store)
        self.assertEqual(await store.query("select 1 as n"), [{"n": 1}])

    async def test_too_many_connections_leave_those_that_there_are(self):
        store = await self.ready(timeout=20.0, connections=8)
        with contextlib.ExitStack() as others:
            # Until the server takes no more.
            with self.assertRaises((psycopg.OperationalError, pymysql.err.OperationalError)):
                for _ in range(20):
                    others.enter_context(contextlib.closing(self.another()))
            answers = await gatherResults([store.query(self.pause) for _ in range(3)])
            self.assertEqual(len(answers), 3)
            self.assertTrue(store.is_up)
            self.assertEqual(store.in_use, 1)
        await gatherResults([store.query(self.pause) for _ in range(6)])
        await self.until(lambda: store.in_use > 1)

    async def test_nonsense_never_gives_an_answer(self):
        for words in ([b"\0" * 200], [b"HTTP/1.1 400 Bad Request\r\n\r\n"], [os.urandom(4096)], []):
            with babbler(*words) as port:
                url = self.url_of(port)
                store = self.store(url, timeout=0.5, connect_timeout=0.5)
                await self.error_of(store.query("select 1"), StoreError)
                await deferLater(reactor, 0.7)
                self.assertFalse(store.is_up)
                await self.stores.stop()

    async def test_a_wrong_password_is_told_without_it(self):
        with self.server() as server:
            store = self.store(server.url.replace(ESCAPED, "hunter2"))
            line = await self.error_of(store.query("select 1"), StoreAway)
            self.assertIn("app", line)
            for text in (line, repr(vars(store)), str(vars(store._driver).keys())):
                self.assertNotIn("hunter2", text)

    async def test_over_tls_the_certificate_and_its_name_are_verified(self):
        with tempfile.TemporaryDirectory() as folder:
            authority, other = (Authority(made(Path(folder, name))) for name in ("ours", "another"))
            # It is for 127.0.0.1 too.
            authority.issue("db.example")
            server = self.secure_server()
            for kind in ("crt", "key"):
                file = Path(shutil.copy(authority.folder / f"db.example.{kind}", server.folder))
                file.chmod(0o600)
                shutil.chown(file, server.folder.owner(), server.folder.group())
            self.serve(running(server))
            good = server.url + self.verified.format(authority.path)
            store = await self.up(self.store(good))
            self.assertIn("TLS", str(await store.query(self.cipher)))
            for bad in (
                server.url + self.verified.format(other.path),
                good.replace("127.0.0.1", "localhost"),
            ):
                store = self.store(bad)
                await self.error_of(store.query("select 1"), StoreAway)
                self.assertFalse(store.is_up)

    async def test_the_password_comes_from_a_file(self):
        with self.server() as server:
            url = server.url.replace(":" + ESCAPED, "")
            with tempfile.NamedTemporaryFile("w") as file:
                file.write(PASSWORD + "\n")
                file.flush()
                store = await self.up(self.store(url, password_file=file.name))
            self.assertEqual(await store.query("select 1 as n"), [{"n": 1}])

    async def test_a_change_lets_statements_under_way_finish(self):
        store = await self.ready(timeout=5.0)
        slow = store.query(self.pause)
        await deferLater(reactor, 0.1)
        self.stores.change(self.settings(self.running.url, timeout=4.0))
        self.assertIs(self.stores["users"], store)
        self.assertEqual(await store.query("select 1 as n"), [{"n": 1}])
        self.assertEqual(len(await slow), 1)
        await self.until(lambda: len(store._threads) == 1)

    async def test_a_stop_ends_every_thread_and_fails_what_is_under_way(self):
        store = await self.ready(timeout=20.0)
        slow = store.query(self.slow)
        await deferLater(reactor, 0.1)
        await self.stores.stop()
        await self.error_of(slow, StoreAway)
        await self.until(lambda: not store._threads)
        # A thread says that it is over a moment before it is.
        await self.until(lambda: "wsgate-store" not in {t.name for t in threading.enumerate()})


class TestPostgreSQLStore(SQLCases, StoreTestCase):
    kind = "postgresql"
    slow = "select pg_sleep(30)"
    pause = "select pg_sleep(0.4)"
    many = "select n from generate_series(1, ?) as n"
    echo = "select ?::text as v"
    who = "select pg_backend_pid() as n"
    impossible = ("\0",)
    verified = "?sslmode=verify-full&sslrootcert={}"
    cipher = "select version from pg_stat_ssl where pid = pg_backend_pid()"

    def secure_server(self):
        return PostgreSQLServer(
            *("-c", "ssl=on", "-c", "ssl_cert_file=../db.example.crt"),
            *("-c", "ssl_key_file=../db.example.key"),
        )

    def server(self):
        return postgresql_server(
            "-c", "max_connections=10", "-c", "superuser_reserved_connections=0"
        )

    def url_of(self, port):
        return f"postgresql://app:x@127.0.0.1:{port}/postgres"

    def another(self):
        return psycopg.connect(self.running.url)

    async def test_a_text_that_is_no_number_is_a_wrong_value(self):
        store = await self.ready()
        line = await self.error_of(
            store.query("select id from users where id = ?", "Robert'); --"), StoreValue
        )
        self.assertNotIn("Robert", line)
        self.assertEqual(await store.query("select id from users where id = ?", "1"), [{"id": 1}])

    async def test_json_is_text_and_arrays_are_lists(self):
        store = await self.ready()
        sql = """select '{"a": 1}'::jsonb ?? ? as has, '{"a":1}'::json as j, array[1,2] as l"""
        rows = await store.query(sql, "a")
        self.assertEqual(rows, [{"has": True, "j": '{"a":1}', "l": [1, 2]}])

    async def test_it_is_reached_by_its_unix_socket(self):
        with self.server() as server:
            url = f"postgresql://app:{ESCAPED}@/postgres?host={server.folder}"
            store = self.store(url)
            # The port is part of the socket's name.
            await self.error_of(store.query("select 1"), StoreAway)


class TestMariaDBStore(SQLCases, StoreTestCase):
    kind = "mysql"
    slow = "select sleep(30)"
    pause = "select sleep(0.4)"
    many = (
        "with recursive s as (select 1 as n union all select n + 1 from s where n < ?)"
        " select n from s"
    )
    echo = "select ? as v"
    who = "select connection_id() as n"
    impossible = ()
    verified = "?ssl_ca={}"
    cipher = "show session status like 'Ssl_version'"

    def secure_server(self):
        server = MariaDBServer()
        for kind, option in (("crt", "cert"), ("key", "key")):
            server.options.append(f"--ssl-{option}={server.folder}/db.example.{kind}")
        return server

    def server(self):
        return mariadb_server("--max-connections=10", "--max-recursive-iterations=2000000")

    def url_of(self, port):
        return f"mysql://app:x@127.0.0.1:{port}/app"

    def another(self):
        return pymysql.connect(
            host="127.0.0.1", port=self.running.port, user="app", password=PASSWORD
        )

    async def test_it_is_reached_by_its_unix_socket(self):
        with self.server() as server:
            url = f"mariadb://app:{ESCAPED}@/app?unix_socket={server.folder}/socket"
            store = await self.up(self.store(url))
            self.assertEqual(await store.query("select 1 as n"), [{"n": 1}])

    async def test_a_server_without_tls_is_not_told_the_password_where_tls_is_wanted(self):
        with mariadb_server("--skip-ssl") as server:
            store = self.store(server.url + "?ssl=true")
            await self.error_of(store.query("select 1"), StoreAway)

    async def test_settings_of_the_server_do_not_change_how_values_are_read(self):
        modes = "--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT"
        with mariadb_server(modes, "--character-set-server=latin1") as server:
            server.run(TABLE)
            store = await self.up(self.store(server.url))
            for attack in ATTACKS:
                rows = await store.query("select id from users where token = ?", attack)
                self.assertEqual(rows, [], attack)
