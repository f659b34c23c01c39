"""wsgate.pusher.roster: the first to come and the last to go, over connections and nodes."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.pusher.roster import BadMember, Person, Roster, person_of

ANN = Person("1", {"name": "Ann"})
BOB = Person("2", None)


@pytest.mark.parametrize(
    ("data", "person"),
    [
        ('{"user_id":"1","user_info":{"name":"Ann"}}', ANN),
        ('{"user_id":2}', BOB),
        ('{"user_id":"' + "x" * 128 + '"}', Person("x" * 128, None)),
    ],
)
def test_channel_data_names_a_person(data, person):
    assert person_of(data) == person


@pytest.mark.parametrize(
    "data",
    [
        *(None, "", "[]", "{}", "x", '{"user_id":""}', '{"user_id":true}', '{"user_id":1.5}'),
        *('{"user_id":null}', '{"user_id":["1"]}', json.dumps({"user_id": "x" * 129})),
    ],
)
def test_channel_data_without_a_user_id_names_nobody(data):
    with pytest.raises(BadMember):
        person_of(data)


def test_only_the_first_connection_joins_and_only_the_last_leaves():
    roster = Roster()
    assert roster.join(ANN)
    assert not roster.join(ANN)
    assert not roster.leave("1")
    assert roster.members == {"1": {"name": "Ann"}}
    assert roster.leave("1")
    assert not roster.leave("1")
    assert len(roster) == 0


def test_a_user_with_a_connection_on_another_node_does_not_leave():
    roster = Roster()
    roster.set_node("b", ANN, 2)
    assert not roster.join(ANN)
    assert not roster.leave("1")
    assert roster.drop_node("b") == ["1"]
    assert "1" not in roster


def test_a_node_that_is_gone_takes_only_its_own_with_it():
    roster = Roster()
    roster.set_node("b", ANN, 1)
    roster.set_node("b", BOB, 1)
    roster.join(ANN)
    assert roster.of_node() == [(ANN, 1)]
    assert roster.drop_node("b") == ["2"]
    assert roster.drop_node("b") == []
    assert list(roster.members) == ["1"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.booleans())))
def test_who_is_there_is_who_has_a_connection_anywhere(steps):
    roster, expected = Roster(), Counter()
    for node, user, comes in steps:
        was = any(count for (_, who), count in expected.items() if who == user)
        if comes:
            expected[node, user] += 1
            assert roster.join(Person(user, None), node) is not was
        else:
            had = expected[node, user] > 0
            expected[node, user] -= had
            gone = had and not any(count for (_, who), count in expected.items() if who == user)
            assert roster.leave(user, node) is gone
        assert set(roster.members) == {user for (_, user), count in expected.items() if count}
