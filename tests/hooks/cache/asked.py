"""A cache between clients and a PHP that answers when the test says so."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from os import urandom

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from tests.hooks.cache.clients import Client
from tests.hooks.services import made_services
from wsgate.channels import Channels
from wsgate.config.cache import CacheOptions
from wsgate.hooks import Answer, Message
from wsgate.hooks.cache.hook import Cache
from wsgate.hooks.cache.purging import MARK_SIZE, TOPIC, Purge, written
from wsgate.timeouts import Timeouts

OPTIONS = CacheOptions(memory=1024 * 1024, largest_answer=1024, longest_message=1024)


def answer(payload=b"7", said="public, max-age=60", *fields, **more):
    return Answer(payload, headers=(("cache-control", said), *fields), **more)


class Said:
    """What a client gets for one message, when it does."""

    def __init__(self, given):
        self.answer = self.error = None
        self.is_over = False
        self.was_at_once = not hasattr(given, "__await__")
        if self.was_at_once:
            self._over(given)
        else:
            self.waits = given if isinstance(given, Deferred) else ensureDeferred(given)
            self.waits.addCallbacks(self._over, self._failed)

    def _over(self, given):
        assert not self.is_over
        self.is_over, self.answer = True, given

    def _failed(self, failure):
        assert not self.is_over
        self.is_over, self.error = True, failure.value

    @property
    def payload(self):
        return None if self.answer is None else self.answer.payload


class Around:
    """A cache, its clock, and PHP: `questions` are those that it works on."""

    def __init__(self, shelf=None, **options):
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self._counts = Counter()
        self.timeouts = Timeouts(self.clock)
        self.channels = Channels(self.clock)
        self.services = made_services(
            self.clock,
            self._count,
            name="cache",
            route="/prices",
            timeouts=self.timeouts,
            channels=self.channels,
        )
        self.cache = Cache(self.services, replace(OPTIONS, **options), shelf)
        self.cache.start()
        self.questions = []
        self.runs = 0

    def ask(self, client=None, payload=b"price", is_binary=False):
        client = client or Client()
        asked = []

        def php(message):
            assert not asked, "a message ran twice"
            asked.append(message)
            self.runs += 1
            question = Deferred()
            self.questions.append(question)
            return question

        message = Message("1:1", payload, is_binary, php)
        given = self.cache.on_message(client, message)
        said = Said(message.ask() if given is None else given)
        said.asked = asked
        return said

    def _count(self, name, outcome, times=1):
        self._counts[outcome] += times

    @property
    def counts(self):
        """What the metrics would say now."""
        self.cache.figures()
        return self._counts

    def purge(self, route=""):
        self.channels.notify(TOPIC, written(Purge(urandom(MARK_SIZE), route)))

    def php_says(self, *args, **more):
        self.questions.pop(0).callback(answer(*args, **more))

    def php_fails(self, error):
        self.questions.pop(0).errback(error)
