"""wsgate.stores.statement: where values go, and what no quote or comment may change."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.stores.statement import (
    LONGEST,
    StatementError,
    numbered,
    parse,
    with_literals,
)

BOTH = pytest.mark.parametrize("dialect", ["postgresql", "mysql"])


@BOTH
def test_a_question_mark_is_where_a_value_goes(dialect):
    found = parse("select id from users where a = ? and b=?", dialect)
    assert found.pieces == ("select id from users where a = ", " and b=", "")
    assert found.count == 2


@BOTH
@pytest.mark.parametrize(
    "sql",
    [
        "select '?'",
        "select 'it''s ?'",
        'select "a?b"',
        "select 1 -- what?",
        "select 1 -- '?",
        "select /* ? ' */ 1",
        "select 'a -- ?'",
        "select '/*', 1 /* ? */",
        "select ??",
        "select 1; -- the end?",
    ],
)
def test_what_is_in_quotes_or_comments_is_none(sql, dialect):
    assert parse(sql, dialect).count == 0


@pytest.mark.parametrize(
    ("sql", "dialect", "count"),
    [
        ("select $$?$$, ?", "postgresql", 1),
        ("select $a$ $b$ ? $$ $a$, ?", "postgresql", 1),
        ("select a$$?", "postgresql", 1),
        ("select 'a\\', ?", "postgresql", 1),
        ("select /* /* ? */ ? */ ?", "postgresql", 1),
        ("select /* /* ? */ ?", "mysql", 1),
        ("select 1--?", "postgresql", 0),
        ("select 1--?", "mysql", 1),
        ("select 1 # ?", "mysql", 0),
        ("select 1 # ?", "postgresql", 1),
        ("select `a?``b?`, ?", "mysql", 1),
        ("select data #> ? from t", "postgresql", 1),
        ("select note, ? from t", "postgresql", 1),
        ("select `a\\`, ?", "mysql", 1),
    ],
)
def test_the_dialects_differ_as_the_servers_do(sql, dialect, count):
    assert parse(sql, dialect).count == count


@pytest.mark.parametrize(
    ("sql", "dialect", "why"),
    [
        ("", "mysql", "empty"),
        (" \n;", "postgresql", "empty"),
        ("select 1; select 2", "postgresql", "more than one"),
        ("select 1; drop table users", "mysql", "more than one"),
        ("select 1;;", "mysql", "more than one"),
        ("select 'x", "mysql", "does not end"),
        ('select "x', "postgresql", "does not end"),
        ("select `x", "mysql", "does not end"),
        ("select /* x", "mysql", "does not end"),
        ("select /* /* */", "postgresql", "does not end"),
        ("select $a$ x $b$", "postgresql", "does not end"),
        ("select $$ x $$", "mysql", "does not end"),
        ("select E'\\'', ?", "postgresql", "E'"),
        ("select e'x'", "postgresql", "E'"),
        ("select $1", "postgresql", "write ?"),
        ("select '\\'', ?", "mysql", "backslash"),
        ('select "\\"", ?', "mysql", "backslash"),
        ("select 1 /*! , ? */", "mysql", "executes"),
        ("select 1 /*M! , ? */", "mysql", "executes"),
        ("select 1\0", "postgresql", "NUL"),
    ],
)
def test_what_a_server_might_read_otherwise_is_refused(sql, dialect, why):
    with pytest.raises(StatementError, match=re.escape(why)):
        parse(sql, dialect)


@BOTH
def test_a_statement_may_be_as_long_as_the_bound(dialect):
    parse("select " + "1" * (LONGEST - 7), dialect)
    with pytest.raises(StatementError, match="longer"):
        parse("select " + "1" * (LONGEST - 6), dialect)


def test_numbers_do_not_run_into_what_follows():
    assert numbered(parse("select ?1, ?::int", "postgresql")) == "select  $1 1,  $2 ::int"


SQL = st.lists(
    st.sampled_from(
        [
            *("select", " ", "'", '"', "`", "?", "??", "--", "\n", "/*", "*/", "#", "$$", "$a$"),
            *("\\", "e", ";", "1", "/*!"),
        ]
    ),
    max_size=20,
).map("".join)


@given(SQL | st.text(max_size=60), st.sampled_from(["postgresql", "mysql"]))
def test_any_text_is_cut_or_refused_and_nothing_of_it_is_lost(sql, dialect):
    try:
        found = parse(sql, dialect)
    except StatementError:
        return
    kept = "?".join(found.pieces)
    assert kept in (sql, sql.replace("??", "?")) or ";" in sql or "??" in sql


@given(SQL, st.sampled_from(["postgresql", "mysql"]))
def test_a_quote_of_ours_around_it_swallows_every_value(sql, dialect):
    """Whatever stands in proper quotes has no values in it."""
    quoted = "'" + sql.replace("'", "''") + "'"
    asked = f"select {quoted}, ?"
    if dialect == "mysql" and "\\" in sql:
        with pytest.raises(StatementError, match="backslash"):
            parse(asked, dialect)
    else:
        assert parse(asked, dialect).count == 1


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.binary(max_size=40),
            st.text(st.characters(codec="utf-8"), max_size=40),
        ),
        max_size=5,
    )
)
def test_no_value_can_end_a_literal(values):
    statement = parse("select " + ", ".join("?" * len(values)) if values else "select 1", "mysql")
    text = with_literals(statement, tuple(values))
    literal = r"(NULL|-?[0-9]+|-?[0-9.]+(e[+-]?[0-9]+)?|(_utf8mb4 )?X'([0-9a-f]{2})*')"
    rest = rf"(select|, ) {literal} " if values else "select 1"
    assert re.sub(rest, "", text.replace("select ", "select", 1) if values else text) == ""


def test_values_are_written_in_hexadecimal():
    statement = parse("select ?, ?, ?, ?", "mysql")
    text = with_literals(statement, ("' or 1 = 1 -- ", b"\x00'", None, True))
    assert text == ("select  _utf8mb4 X'27206f722031203d2031202d2d20' ,  X'0027' ,  NULL ,  1 ")


@pytest.mark.parametrize("value", ["\ud800", float("nan"), float("inf"), object(), [1]])
def test_what_cannot_be_written_is_refused(value):
    with pytest.raises(StatementError):
        with_literals(parse("select ?", "mysql"), (value,))
