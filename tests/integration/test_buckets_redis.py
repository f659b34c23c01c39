"""Redis does with a bucket what wsgate.bus.buckets does: the same steps, at the same times."""

import random
import socket

import hiredis
import pytest

from tests.integration.redis_server import redis_server
from wsgate.bus import lua
from wsgate.bus.buckets import ROUNDING, Bucket
from wsgate.channels.tokens import LEASE, Ask

# The script with a clock of the test's.
SOURCE = lua.TAKE.source.replace("redis.call('TIME')", "{ARGV[9], 0}")


class Connection:
    """Asks, and waits for the answer."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.reader = hiredis.Reader()

    def ask(self, *words):
        self.socket.sendall(hiredis.pack_command(words))
        while (said := self.reader.gets()) is False:
            self.reader.feed(self.socket.recv(65536))
        assert not isinstance(said, hiredis.ReplyError), said
        return said

    def take(self, node, asked, now, source=SOURCE):
        key, rate, burst, *counts = asked
        words = (node, repr(rate), burst, *counts, repr(LEASE), repr(ROUNDING), repr(now))
        return self.ask("EVAL", source, 1, key, *words)


@pytest.fixture(scope="module")
def redis():
    with redis_server() as server:
        connection = Connection(server.port)
        yield connection
        connection.socket.close()


def steps(seed):
    """What three nodes ask, and when."""
    chance = random.Random(seed)
    now = 1_700_000_000.0 + seed
    for _ in range(150):
        now += chance.choice([0, 0, 0.01, 0.1, 0.3, 1.0, 1.99, 2.0, 5.0, -3.0])
        counts = [chance.randrange(top) for top in (3, 6, 5)]
        yield str(chance.randrange(3)), counts, now


@pytest.mark.parametrize("seed", range(20))
def test_redis_gives_what_the_bucket_in_python_gives(redis, seed):
    rate, burst = random.Random(-seed).choice([(0.5, 3), (10.0, 10), (3.0, 7)])
    bucket = Bucket()
    for node, counts, now in steps(seed):
        asked = Ask(f"bucket{seed}", rate, burst, *counts)
        expected = bucket.take(node, asked, now)
        granted, ahead, wait = redis.take(node, asked, now)
        assert (granted, ahead) == expected[:2]
        assert wait / 1000 == pytest.approx(expected.wait, abs=0.002)


def test_a_bucket_is_gone_from_redis_when_it_is_full(redis):
    redis.take("a", Ask("gone", 100.0, 2, 1, 1), 0.0, lua.TAKE.source)
    assert 1900 < redis.ask("PTTL", "gone") <= 1000 * (2 / 100 + LEASE) + 1


def test_with_the_clock_of_redis_there_are_as_many_as_burst_says(redis):
    taken = [redis.take("a", Ask("real", 0.01, 5, 1), 0.0, lua.TAKE.source) for _ in range(7)]
    assert [one[0] for one in taken] == [1, 1, 1, 1, 1, 0, 0]
    assert 99_000 < taken[-1][2] <= 100_000
