"""wsgate.gateway.actions: what the Wsgate-* headers of an answer ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.gateway.actions import Actions, Close, Publish, Subscribe, read_actions


def read(*headers: tuple[str, str]) -> tuple[Actions, tuple[str, ...]]:
    _, actions, warnings = read_actions(headers)
    return actions or Actions(), warnings


def latin(text: str) -> str:
    """What PHP sends, as headers arrive."""
    return text.encode().decode("latin-1")


def test_without_any_there_is_nothing_to_do():
    assert read_actions((("content-type", "text/plain"),)) == (None, None, ())
    assert read_actions((("wsgate-close", "4001 bye"),)) == (Close(4001, "bye"), None, ())


@pytest.mark.parametrize(
    ("value", "channels", "recovers"),
    [
        ("room1", ("room1",), False),
        ("room1, room2", ("room1", "room2"), False),
        ("a,b ,a", ("a", "b"), False),
        ("room1; recover", ("room1",), True),
        ("a , b ;RECOVER", ("a", "b"), True),
        ("a;recover, b", ("a", "b"), True),
    ],
)
def test_subscribe_is_a_list_and_a_parameter_is_for_the_whole_line(value, channels, recovers):
    expected = tuple(Subscribe(channel, recovers) for channel in channels)
    assert read(("wsgate-subscribe", value)) == (Actions(subscribe=expected), ())


def test_several_headers_of_one_name_add_up():
    actions, warnings = read(
        ("wsgate-subscribe", "a"),
        ("wsgate-subscribe", "b; recover"),
        ("wsgate-unsubscribe", "c"),
        ("wsgate-unsubscribe", "d,e"),
        ("wsgate-publish", "a; except-self"),
        ("wsgate-publish", "b"),
        ("wsgate-set", "x=1"),
        ("wsgate-set", "y=2"),
    )
    assert not warnings
    assert actions == Actions(
        variables=(("X", "1"), ("Y", "2")),
        unsubscribe=("c", "d", "e"),
        subscribe=(Subscribe("a"), Subscribe("b", True)),
        publish=(Publish(("a",), True), Publish(("b",))),
    )


@pytest.mark.parametrize("name", ["subscribe", "unsubscribe", "publish"])
@pytest.mark.parametrize("bad", ["", "a b", "x" * 165, latin("é"), "a/b"])
def test_a_bad_channel_is_left_out_and_the_warning_names_header_and_mend(name, bad):
    actions, (warning,) = read((f"wsgate-{name}", f"good,{bad}"))
    assert warning.startswith(f"Wsgate-{name.title()}: ")
    assert "write 1 to 164 letters" in warning
    assert "good" in str(actions)


def test_a_publish_to_nobody_valid_is_still_no_message_to_the_sender():
    actions, warnings = read(("wsgate-publish", "a b"))
    assert actions.publish == (Publish(()),)
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("subscribe", "a; recovered", "only recover is"),
        ("unsubscribe", "a; recover", "none is"),
        ("publish", "a; except=me", "only except-self is"),
        ("publish", "a;", "only except-self is"),
    ],
)
def test_an_unknown_parameter_is_warned_about(name, value, says):
    _, (warning,) = read((f"wsgate-{name}", value))
    assert warning.endswith(says)


@pytest.mark.parametrize(("value", "user"), [("42", "42"), ("", ""), (latin("Zoë 7"), "Zoë 7")])
def test_a_user_is_bound_or_unbound(value, user):
    assert read(("wsgate-user", value)) == (Actions(user=user), ())


@pytest.mark.parametrize("value", ["x" * 129, "\xff", latin("a\u202eb"), "a\tb"])
def test_a_bad_user_changes_nothing(value):
    actions, (warning,) = read(("wsgate-user", value))
    assert actions.user is None
    assert warning.startswith("Wsgate-User: ")
    assert warning.endswith("the user stays as it was")


@pytest.mark.parametrize(
    ("value", "variable"),
    [
        ("name=value", ("NAME", "value")),
        ("Role = admin=yes, and more ", ("ROLE", "admin=yes, and more")),
        ("x=", ("X", "")),
        (latin("city=Zürich"), ("CITY", "Zürich")),
        ("a=%20", ("A", "%20")),
        ("x" * 64 + "=1", ("X" * 64, "1")),
    ],
)
def test_a_variable_has_a_name_and_a_value(value, variable):
    assert read(("wsgate-set", value)) == (Actions(variables=(variable,)), ())


@pytest.mark.parametrize(
    "value", ["", "name", "=x", "1a=x", "a-b=x", "a b=x", "x" * 65 + "=1", latin("é=1")]
)
def test_what_is_no_variable_is_not_kept(value):
    actions, (warning,) = read(("wsgate-set", value))
    assert actions == Actions()
    assert "is not name=value" in warning


@pytest.mark.parametrize("value", ["\xff", "a\tb", latin("a\u2028b")])
def test_a_value_is_printable_utf8(value):
    actions, (warning,) = read(("wsgate-set", "x=" + value))
    assert actions == Actions()
    assert "rawurlencode" in warning


@pytest.mark.parametrize(("value", "says"), [("lines", 0), ("Parts", 0), ("words", 1), ("", 1)])
def test_a_stream_of_an_unknown_kind_is_warned_about(value, says):
    actions, warnings = read(("wsgate-stream", value))
    assert actions == Actions()
    assert len(warnings) == says
    assert all("is not one of lines, parts" in warning for warning in warnings)


def test_an_unknown_header_is_warned_about():
    assert read(("wsgate-nope", "1")) == (Actions(), ("wsgate-nope: no such header is known",))


NAMES = st.sampled_from(["subscribe", "unsubscribe", "publish", "user", "set", "close", "nope"])


@given(st.lists(st.tuples(NAMES, st.text(st.characters(max_codepoint=255)))))
def test_whatever_php_says_is_an_action_or_a_warning(headers):
    close, actions, warnings = read_actions(tuple((f"wsgate-{n}", v) for n, v in headers))
    assert bool(headers) == bool(close or actions or warnings)
