"""What each worker gets: never more than the whole in all."""

from hypothesis import given
from hypothesis import strategies as st

from wsgate.config import Gateway, Limits, Pool, Settings
from wsgate.workers.shares import settings_of_worker, share


@given(st.integers(0, 10**6), st.integers(1, 256))
def test_shares_add_up_to_the_whole_and_differ_by_one_at_most(total, count):
    shares = [share(total, count, index) for index in range(count)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


def shared_out(count, pool=None, **limits):
    asked = Settings(
        gateway=Gateway(workers=count),
        limits=Limits(**limits),
        pools={"default": pool or Pool(name="default")},
    )
    return [settings_of_worker(asked, index) for index in range(count)]


def test_php_workers_and_connections_are_divided_without_a_rest():
    settings = shared_out(3, Pool(name="default", max_in_flight=8, queue=256), max_connections=100)
    assert [s.pools["default"].max_in_flight for s in settings] == [3, 3, 2]
    assert [s.pools["default"].queue for s in settings] == [86, 85, 85]
    assert [s.limits.max_connections for s in settings] == [34, 33, 33]


def test_a_foreign_pool_is_divided_too():
    pool = Pool(name="default", fastcgi=("tcp:127.0.0.1:9000",), max_in_flight=5)
    assert [s.pools["default"].max_in_flight for s in shared_out(2, pool)] == [3, 2]


def test_a_queue_has_one_place_at_least():
    pool = Pool(name="default", queue=1)
    assert [s.pools["default"].queue for s in shared_out(2, pool)] == [1, 1]


def test_streams_have_one_place_at_least_unless_there_are_to_be_none():
    for asked, shares in ((3, [2, 1]), (1, [1, 1]), (0, [0, 0])):
        pool = Pool(name="default", max_streams=asked)
        assert [s.pools["default"].streams for s in shared_out(2, pool)] == shares
    pool = Pool(name="default", max_in_flight=12)
    assert [s.pools["default"].streams for s in shared_out(2, pool)] == [1, 1]


def test_a_limit_for_each_address_is_rounded_up_and_none_stays_none():
    assert [s.limits.max_connections_per_address for s in shared_out(3)] == [67, 67, 67]
    assert [s.limits.new_connections_per_address for s in shared_out(3)] == [7, 7, 7]
    assert [s.limits.max_handshakes for s in shared_out(3)] == [342, 342, 342]
    settings = shared_out(2, max_connections_per_address=0)
    assert [s.limits.max_connections_per_address for s in settings] == [0, 0]


def test_a_worker_has_no_workers_and_everything_else_is_the_same():
    (alone,) = shared_out(1)
    assert alone == Settings(pools={"default": Pool(name="default")})
    assert shared_out(2)[1].gateway.workers == 1
