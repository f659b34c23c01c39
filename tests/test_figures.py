"""wsgate.figures: several processes' figures become one."""

from wsgate.figures import CATALOGUE, lasting, merged, php_is_away

ANSWERED = ("wsgate_messages_total", "/", "answered")
OPEN = ("wsgate_connections",)
LAG = ("wsgate_reactor_lag_seconds",)
STARTED = ("process_start_time_seconds",)


def available(**pools):
    return {("wsgate_pool_available", name): value for name, value in pools.items()}


def test_counters_and_gauges_add_up_and_some_take_the_largest_or_smallest():
    first = {ANSWERED: 3, OPEN: 1, LAG: 0.5, STARTED: 100.0}
    second = {ANSWERED: 4, OPEN: 2, LAG: 0.25, STARTED: 200.0}
    assert merged([first, second]) == {ANSWERED: 7, OPEN: 3, LAG: 0.5, STARTED: 100.0}


def test_what_only_one_process_has_stays():
    assert merged([{}, {ANSWERED: 3}, {}]) == {ANSWERED: 3}
    assert merged([]) == {}


def test_only_counters_outlive_their_process():
    assert lasting({ANSWERED: 3, OPEN: 1, LAG: 0.5}) == {ANSWERED: 3}


def test_no_name_stands_twice():
    names = [metric.name for metric in CATALOGUE.values()]
    assert names == list(CATALOGUE)


def test_php_is_away_when_no_pool_can_be_asked():
    assert php_is_away(available(a=0, b=0)) == "PHP does not answer (pool a, b)"
    assert php_is_away(available(a=0, b=1)) is None
    assert php_is_away(available(a=2)) is None
    assert php_is_away({}) is None
