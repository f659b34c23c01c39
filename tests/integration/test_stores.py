"""Stores against real servers: what they give, and what is told when they fail."""

import tempfile

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater

from tests.integration.gateway_process import free_port
from tests.integration.memcached_server import memcached_server
from tests.integration.redis_server import redis_server
from tests.integration.store_cases import StoreTestCase, babbler
from wsgate.config import Settings
from wsgate.stores import (
    StoreAnswer,
    StoreAway,
    StoreError,
    StoreFull,
    StoreTimeout,
)


class TestRedisStore(StoreTestCase):
    async def test_commands_and_scripts_are_answered(self):
        server = self.serve(redis_server())
        store = await self.up(self.store(server.url))
        self.assertEqual(store.kind, "redis")
        self.assertEqual(await store.ask("SET", "k", "v"), b"OK")
        self.assertEqual(await store.ask("GET", "k"), b"v")
        self.assertIsNone(await store.ask("GET", "other"))
        lua = "return redis.call('incrby', KEYS[1], ARGV[1])"
        self.assertEqual(await store.run(lua, ["n"], 2), 2)
        server.command("SCRIPT", "FLUSH")
        self.assertEqual(await store.run(lua, ["n"], 2), 4)
        self.assertEqual(store.outcomes["answered"], 5)

    async def test_what_is_asked_in_the_moment_after_the_start_waits_until_redis_is_reached(self):
        store = self.store(self.serve(redis_server()).url)
        self.assertFalse(store.is_up)
        self.assertEqual(await store.ask("PING"), b"PONG")

    async def test_what_redis_refuses_is_its_answer(self):
        store = await self.up(self.store(self.serve(redis_server()).url))
        await store.ask("SET", "k", "v")
        line = await self.error_of(store.ask("INCR", "k"), StoreAnswer)
        self.assertIn("not an integer", line)
        self.assertEqual(store.outcomes["error"], 1)

    async def test_commands_that_others_would_feel_are_refused(self):
        store = await self.up(self.store(self.serve(redis_server()).url))
        for words in (["subscribe", "c"], [b"MULTI"], ["BLPOP", "k", 0], ["SELECT", 1], []):
            with self.assertRaises(ValueError):
                store.ask(*words)

    async def test_a_redis_that_is_away_is_told_at_once_and_found_again(self):
        server = self.serve(redis_server())
        store = await self.up(self.store(server.url))
        server.kill()
        await self.until(lambda: not store.is_up)
        await self.error_of(store.ask("PING"), StoreAway)
        server.start()
        await self.up(store)
        self.assertEqual(await store.ask("PING"), b"PONG")

    async def test_a_redis_that_says_nothing_is_late_and_then_away(self):
        server = self.serve(redis_server())
        store = await self.up(self.store(server.url, timeout=0.3, waiting=2))
        server.freeze()
        asked = [store.ask("PING"), store.ask("PING")]
        await self.error_of(store.ask("PING"), StoreFull)
        for one in asked:
            self.assertIn("0.3 s", await self.error_of(one, StoreTimeout))
        await self.until(lambda: not store.is_up)
        server.thaw()
        await self.up(store)
        self.assertEqual(await store.ask("PING"), b"PONG")
        self.assertEqual(store.outcomes["late"], 2)
        self.assertEqual(store.outcomes["full"], 1)

    async def test_nonsense_from_a_redis_never_gives_an_answer(self):
        with babbler(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
            store = self.store(f"redis://127.0.0.1:{port}")
            await self.error_of(store.ask("PING"), StoreError)
            await deferLater(reactor, 0.2)
            self.assertFalse(store.is_up)

    async def test_a_password_comes_from_the_url_or_a_file_and_is_shown_nowhere(self):
        server = self.serve(redis_server("--requirepass", "hunter2"))
        file = f"{self.enterContext(tempfile.TemporaryDirectory())}/password"
        with open(file, "w") as out:
            out.write("hunter2\n")
        store = await self.up(self.store(server.url.replace("//", "//:hunter2@")))
        self.assertEqual(await store.ask("PING"), b"PONG")
        other = await self.up(self.store(server.url, password_file=file))
        self.assertEqual(await other.ask("PING"), b"PONG")
        self.assertNotIn("hunter2", repr(vars(store)) + repr(vars(other)))


class TestMemcachedStore(StoreTestCase):
    async def test_values_are_kept_and_forgotten(self):
        store = await self.up(self.store(self.serve(memcached_server()).url))
        self.assertEqual(store.kind, "memcached")
        self.assertIsNone(await store.get("k"))
        self.assertIsNone(await store.set("k", b"v\r\nEND\r\n"))
        self.assertEqual(await store.get("k"), b"v\r\nEND\r\n")
        self.assertIs(await store.add("k", b"other"), False)
        self.assertIs(await store.add("new", b"", 60), True)
        self.assertEqual(await store.get("new"), b"")
        self.assertIs(await store.delete("k"), True)
        self.assertIs(await store.delete("k"), False)

    async def test_what_is_asked_in_the_moment_after_the_start_waits_until_it_is_reached(self):
        store = self.store(self.serve(memcached_server()).url)
        self.assertFalse(store.is_up)
        self.assertIsNone(await store.get("k"))

    async def test_many_requests_share_the_connection(self):
        store = await self.up(self.store(self.serve(memcached_server()).url, waiting=1000))
        await gatherResults([store.set(f"é{n}", b"%d" % n) for n in range(500)])
        values = await gatherResults([store.get(f"é{n}") for n in range(500)])
        self.assertEqual(values, [b"%d" % n for n in range(500)])

    async def test_a_value_too_long_for_memcached_is_its_answer(self):
        store = await self.up(self.store(self.serve(memcached_server()).url))
        line = await self.error_of(store.set("k", bytes(2 * 2**20)), StoreAnswer)
        self.assertIn("too large", line)
        self.assertIsNone(await store.get("k"))

    async def test_a_key_cannot_carry_a_command(self):
        store = await self.up(self.store(self.serve(memcached_server()).url))
        await store.set("k", b"v")
        with self.assertRaises(ValueError):
            store.get("x\r\nflush_all")
        self.assertEqual(await store.get("k"), b"v")

    async def test_a_memcached_that_is_away_is_told_at_once_and_found_again(self):
        server = self.serve(memcached_server())
        store = await self.up(self.store(server.url))
        server.kill()
        await self.until(lambda: not store.is_up)
        await self.error_of(store.get("k"), StoreAway)
        server.start()
        await self.up(store)
        self.assertIsNone(await store.get("k"))

    async def test_a_memcached_that_is_not_there_at_the_start_is_found_later(self):
        with memcached_server() as server:
            server.kill()
            store = self.store(server.url)
            await self.error_of(store.get("k"), StoreAway)
            server.start()
            await self.up(store)
            self.assertIsNone(await store.get("k"))

    async def test_a_memcached_that_says_nothing_is_late_and_then_away(self):
        server = self.serve(memcached_server())
        store = await self.up(self.store(server.url, timeout=0.3))
        server.freeze()
        await self.error_of(store.get("k"), StoreTimeout)
        await self.until(lambda: not store.is_up)
        server.thaw()
        await self.up(store)
        self.assertIsNone(await store.get("k"))

    async def test_nonsense_ends_the_connection(self):
        with babbler(b"VERSION 1.6\r\n", b"NONSENSE\r\n", after=4096) as port:
            store = await self.up(self.store(f"memcached://127.0.0.1:{port}"))
            await self.error_of(store.get("k"), StoreAnswer)
            self.assertFalse(store.is_up)

    async def test_what_is_no_memcached_is_never_up(self):
        with babbler(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
            store = self.store(f"memcached://127.0.0.1:{port}")
            await deferLater(reactor, 0.3)
            self.assertFalse(store.is_up)


class TestChanges(StoreTestCase):
    async def test_what_is_unchanged_stays_and_what_is_not_becomes_what_it_is(self):
        server, other = self.serve(redis_server()), self.serve(redis_server())
        server.command("SET", "who", "first")
        other.command("SET", "who", "second")
        store = await self.up(self.store(server.url))
        self.stores.change(self.settings(server.url))
        self.assertEqual(await store.ask("GET", "who"), b"first")
        owed = store.ask("GET", "who")
        self.stores.change(self.settings(other.url))
        self.assertIs(self.stores["users"], store)
        self.assertEqual(await owed, b"first")
        await self.up(store)
        self.assertEqual(await store.ask("GET", "who"), b"second")

    async def test_a_store_that_is_not_asked_for_any_more_is_let_go(self):
        server = self.serve(redis_server())
        store = await self.up(self.store(server.url, timeout=0.1))
        self.stores.change(Settings())
        self.assertEqual(list(self.stores), [])
        await self.until(lambda: not store.is_up)
        await self.error_of(store.ask("PING"), StoreAway)

    async def test_a_store_of_another_kind_takes_the_place_of_what_was(self):
        first, second = self.serve(redis_server()), self.serve(memcached_server())
        store = await self.up(self.store(first.url))
        self.stores.change(self.settings(second.url))
        after = await self.up(self.stores["users"])
        self.assertIsNot(after, store)
        self.assertIsNone(await after.get("k"))

    async def test_nobody_listens_and_stop_takes_no_time(self):
        store = self.store(f"redis://127.0.0.1:{free_port()}")
        await deferLater(reactor, 0.1)
        await self.error_of(store.ask("PING"), StoreAway)
