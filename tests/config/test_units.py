"""wsgate.config.units: sizes and times as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.config.units import GIB, KIB, MIB, parse_size, parse_time, show_size, show_time


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("64KiB", 65536),
        ("1MiB", 1048576),
        ("2GiB", 2147483648),
        ("1 MiB", 1048576),
        ("512", 512),
        (512, 512),
        (0, 0),
    ],
)
def test_a_size_is_bytes_or_a_number_with_a_binary_unit(written, size):
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written",
    ["1MB", "1mib", "1.5MiB", "-1", "", "MiB", " 1", "1\n", "١", True, 1.0, None, [], "9" * 19],
)
def test_anything_else_is_not_a_size(written):
    with pytest.raises(ValueError, match=r"^not a size; write bytes or KiB/MiB/GiB, like 1MiB$"):
        parse_size(written)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5.0),
        ("2min", 120.0),
        ("1h", 3600.0),
        ("1.5s", 1.5),
        ("1.5", 1.5),
        (5, 5.0),
        (0.25, 0.25),
    ],
)
def test_a_time_is_seconds_or_a_number_with_a_unit(written, seconds):
    result = parse_time(written)
    assert result == seconds
    assert type(result) is float


@pytest.mark.parametrize("written", ["5 sec", "5S", "-5s", "", "s", "1e3", "١s", False, None, {}])
def test_anything_else_is_not_a_time(written):
    with pytest.raises(ValueError, match=r"^not a time; write seconds or ms/s/min/h, like 5s$"):
        parse_time(written)


def test_a_number_too_large_for_a_float_is_an_endless_time():
    assert parse_time(10**400) == float("inf")


@given(st.integers(0, 10**17))
def test_a_shown_size_reads_back_as_itself(size):
    assert parse_size(show_size(size).removesuffix(" bytes").removesuffix(" byte")) == size


@given(st.integers(0, 10**7).map(lambda ms: ms / 1000))
def test_a_shown_time_reads_back_as_nearly_itself(seconds):
    assert parse_time(show_time(seconds)) == pytest.approx(seconds, rel=1e-5)


@pytest.mark.parametrize(
    ("size", "shown"),
    [(1, "1 byte"), (125, "125 bytes"), (KIB, "1KiB"), (3 * MIB, "3MiB"), (2 * GIB, "2GiB")],
)
def test_a_size_is_shown_in_the_largest_unit_that_divides_it(size, shown):
    assert show_size(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.01, "10ms"), (1.5, "1.5s"), (30.0, "30s"), (600, "10min")]
)
def test_a_time_is_shown_in_the_largest_unit_that_leaves_a_whole_number(seconds, shown):
    assert show_time(seconds) == shown
