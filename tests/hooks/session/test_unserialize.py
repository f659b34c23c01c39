"""What PHP serializes is read, within bounds, and no object is made."""

import contextlib
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hooks.session.php_values import VALUES, PHPWriter, expected, shown
from wsgate.hooks.session.unserialize import (
    MAX_DEPTH,
    MAX_VALUES,
    Float,
    Opaque,
    Unreadable,
    unserialize,
)

needs_php = pytest.mark.skipif(shutil.which("php") is None, reason="needs php-cli")


@pytest.fixture(scope="module")
def php():
    writer = PHPWriter("serialize($value)")
    yield writer
    writer.close()


@needs_php
@given(value=VALUES)
def test_what_php_writes_is_read(php, value):
    written = php.write(value)
    assert shown(unserialize(written)) == expected(value), written


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (b"N;", None),
        (b"b:1;", True),
        (b"b:0;", False),
        (b"i:-9223372036854775808;", -(2**63)),
        (b"i:9223372036854775807;", 2**63 - 1),
        (b"d:0.5;", 0.5),
        (b"d:-INF;", float("-inf")),
        (b"d:1.0E+25;", 1e25),
        (b's:3:"a"b";', b'a"b'),
        (b's:0:"";', b""),
        (b"a:0:{}", {}),
        (b'a:2:{i:5;i:1;s:1:"5";i:2;}', {b"5": 2}),
        (b'O:1:"P":1:{s:1:"a";i:1;}', Opaque.OBJECT),
        (b'C:1:"P":4:{any}}', Opaque.OBJECT),
        (b'E:11:"Suit:Hearts";', Opaque.OBJECT),
    ],
)
def test_a_value_is_read(written, value):
    assert unserialize(written) == value


def test_a_float_remembers_how_php_wrote_it():
    value = unserialize(b"d:0.30000000000000004;")
    assert isinstance(value, Float)
    assert value.written == "0.30000000000000004"


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"N",
        b"x;",
        b"b:2;",
        b"b:1",
        b"i:;",
        b"i:9223372036854775808;",
        b"i:-9223372036854775809;",
        b"i:" + b"9" * 5000 + b";",
        b"d:1e5;",
        b"d:nan;",
        b"d:" + b"1" * 401 + b";",
        b's:4:"abc";',
        b's:2:"abc";',
        b's:-1:"";',
        b's:99999999999:"";',
        b's:3:"abc"',
        b'S:3:"abc";',
        b"a:1:{}",
        b"a:0:{i:0;i:1;}",
        b"a:1:{i:0;i:1;",
        b"a:1:{b:1;i:1;}",
        b"a:1:{N;i:1;}",
        b"a:-1:{}",
        b'o:1:{s:1:"a";i:1;}',
        b'O:1:"P":1:{}',
        b'O:5:"P":0:{}',
        b'C:1:"P":5:{any}',
        b"R:1;",
        b"r:1;",
        b"a:1:{i:0;R:0;}",
        b"a:1:{i:0;R:3;}",
        b"N;N;",
        b"i:1; ",
    ],
)
def test_what_php_does_not_write_is_refused(written):
    with pytest.raises(Unreadable) as caught:
        unserialize(written)
    assert "\n" not in str(caught.value)


def test_nothing_of_the_content_is_in_the_error():
    with pytest.raises(Unreadable) as caught:
        unserialize(b's:9:"hunter2";')
    assert "hunter2" not in str(caught.value)


def nested(levels):
    return b"a:1:{i:0;" * levels + b"N;" + b"}" * levels


def test_as_many_levels_as_may_be_are_read_and_not_one_more():
    unserialize(nested(MAX_DEPTH))
    with pytest.raises(Unreadable, match="levels"):
        unserialize(nested(MAX_DEPTH + 1))
    with pytest.raises(Unreadable, match="levels"):
        unserialize(b"a:1:{i:0;" * 100_000)


def test_the_levels_of_objects_count_too():
    with pytest.raises(Unreadable, match="levels"):
        unserialize(b'O:1:"P":1:{s:1:"a";' * (MAX_DEPTH + 1) + b"N;" + b"}" * (MAX_DEPTH + 1))


def test_as_many_values_as_may_be_are_read_and_not_one_more():
    def array(count):
        return b"a:%d:{%s}" % (count, b"".join(b"i:%d;N;" % number for number in range(count)))

    assert len(unserialize(array(MAX_VALUES - 1))) == MAX_VALUES - 1
    with pytest.raises(Unreadable, match="values"):
        unserialize(array(MAX_VALUES))


def test_a_count_that_is_only_said_costs_nothing():
    with pytest.raises(Unreadable):
        unserialize(b"a:9999999999:{}")


def test_references_to_references_share_one_array_and_double_nothing():
    # With copies this would be 2^50 values.
    levels = b"".join(
        b"i:%d;a:2:{i:0;R:%d;i:1;R:%d;}" % (number, number + 1, number + 1)
        for number in range(1, 51)
    )
    value = unserialize(b"a:51:{i:0;a:1:{i:0;i:7;}" + levels.replace(b"R:2;", b"R:2;") + b"}")
    assert value[b"0"] == {b"0": 7}
    assert value[b"1"][b"0"] is value[b"1"][b"1"]


def test_an_array_may_hold_itself():
    value = unserialize(b'a:1:{s:4:"self";R:1;}')
    assert value[b"self"] is value


def test_the_fields_of_an_object_are_not_reachable_but_count_in_references():
    value = unserialize(b'a:3:{i:0;O:1:"P":2:{s:1:"a";i:7;s:1:"b";i:8;}i:1;r:2;i:2;R:4;}')
    assert value == {b"0": Opaque.OBJECT, b"1": Opaque.OBJECT, b"2": 8}


def test_references_behind_what_a_class_has_written_itself_are_not_followed():
    value = unserialize(b'a:3:{i:0;i:7;i:1;C:1:"P":2:{xx}i:2;R:2;}')
    assert value[b"2"] is Opaque.OBJECT


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(data):
    with contextlib.suppress(Unreadable):
        unserialize(data)


PIECES = [b"a:1:{", b"i:0;", b"}", b's:1:"x";', b"R:1;", b'O:1:"P":1:{', b"N;", b"r:2;", b"d:1;"]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join))
def test_any_order_of_good_pieces_is_a_value_or_refused(data):
    with contextlib.suppress(Unreadable):
        unserialize(data)
