"""wsgate.stores.sql and .lane with a driver that does what a test wants, in real threads."""

import threading

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from wsgate.config.stores import StoreSettings
from wsgate.stores import StoreAnswer, StoreAway, StoreError, StoreTimeout
from wsgate.stores.sql import SQLStore
from wsgate.stores.store import Recipe
from wsgate.timeouts import Timeouts


class Driver:
    """Connects when `lets_connect` is set; a statement is what it does, by its first word."""

    dialect = "mysql"
    place = "nowhere"

    def __init__(self):
        self.lets_connect = threading.Event()
        self.lets_go = threading.Event()
        self.links = 0
        self.fault = None

    def connect(self, seen):
        self.lets_connect.wait(20)
        if self.fault is not None:
            raise self.fault
        self.links += 1
        return Link(self)


class Link:
    is_usable = True

    def __init__(self, driver):
        self.driver = driver

    def query(self, statement, values, limit):
        word = statement.pieces[0].split()[0]
        if word == "hang":
            self.driver.lets_go.wait(20)
        if word == "break":
            raise RuntimeError("a bug of the driver's with a value in its text")
        return [{"word": word}]

    def close(self):
        pass


class TestSQLStore(TestCase):
    timeout = 60

    def make(self, **more):
        settings = StoreSettings(name="db", url="mysql://h/db", **more)
        self.driver = Driver()
        self.store = SQLStore(reactor, Timeouts(reactor), Recipe(settings), self.driver)
        self.store.start()
        self.addCleanup(self.end)

    async def end(self):
        self.driver.lets_connect.set()
        self.driver.lets_go.set()
        await self.store.stop()
        while self.store._threads:
            await deferLater(reactor, 0.01)
        self.store._timeouts.close()

    async def failure_of(self, deferred):
        try:
            await deferred
        except StoreError as error:
            return error
        raise AssertionError("it did not fail")

    async def test_who_asks_before_the_first_connection_is_answered_when_it_is_there(self):
        self.make(timeout=20.0)
        asked = [self.store.query("one"), self.store.query("two")]
        self.assertFalse(self.store.is_up)
        self.driver.lets_connect.set()
        self.assertEqual(await gatherResults(asked), [[{"word": "one"}], [{"word": "two"}]])
        self.assertTrue(self.store.is_up)

    async def test_connects_that_never_end_take_so_many_threads_and_no_more(self):
        self.make(timeout=0.05, connect_timeout=0.1, connections=2)
        for _ in range(10):
            self.assertIsInstance(
                await self.failure_of(self.store.query("one")), (StoreTimeout, StoreAway)
            )
            await deferLater(reactor, 0.1)
            self.assertLessEqual(len(self.store._threads), 4)
        self.driver.lets_connect.set()
        while not self.store.is_up:
            await deferLater(reactor, 0.01)
        self.assertEqual(await self.store.query("one"), [{"word": "one"}])

    async def test_statements_that_never_end_leave_the_others_their_connections(self):
        self.make(timeout=0.2, connections=2)
        self.driver.lets_connect.set()
        for _ in range(2):
            self.assertIsInstance(await self.failure_of(self.store.query("hang")), StoreTimeout)
            self.assertEqual(await self.store.query("one"), [{"word": "one"}])
        self.assertTrue(self.store.is_up)
        self.assertLessEqual(len(self.store._threads), 4)

    async def test_what_is_late_does_not_count_among_those_that_wait(self):
        self.make(timeout=0.05, connections=1)
        before_a_connection = self.store.query("one")
        self.assertIsInstance(await self.failure_of(before_a_connection), StoreTimeout)
        self.assertEqual(self.store.waiting, 0)
        self.driver.lets_connect.set()
        while not self.store.is_up:
            await deferLater(reactor, 0.01)
        self.assertIsInstance(await self.failure_of(self.store.query("hang")), StoreTimeout)
        self.assertEqual(self.store.waiting, 0)
        self.assertEqual(self.store.outcomes["late"], 2)

    async def test_a_bug_of_a_driver_costs_its_connection_and_tells_no_value(self):
        self.make()
        self.driver.lets_connect.set()
        error = await self.failure_of(self.store.query("break"))
        self.assertIsInstance(error, StoreAnswer)
        self.assertNotIn("value", str(error))
        while not self.store.is_up:
            await deferLater(reactor, 0.01)
        self.assertEqual(await self.store.query("one"), [{"word": "one"}])
        self.assertEqual(self.driver.links, 2)

    async def test_a_bug_while_connecting_is_a_store_that_is_away(self):
        self.make()
        self.driver.fault = RuntimeError("x")
        self.driver.lets_connect.set()
        self.assertIsInstance(await self.failure_of(self.store.query("one")), StoreAway)
        self.driver.fault = None
        while not self.store.is_up:
            await deferLater(reactor, 0.01)

    async def test_one_that_is_cancelled_disturbs_nobody(self):
        self.make(timeout=20.0, connections=1)
        self.driver.lets_connect.set()
        cancelled = self.store.query("one")
        cancelled.addErrback(lambda _: None)
        cancelled.cancel()
        self.assertEqual(await self.store.query("two"), [{"word": "two"}])
        self.assertEqual(self.store.outcomes["answered"], 2)
        self.assertEqual(self.store.waiting, 0)
