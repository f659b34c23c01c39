"""wsgate.compiled: the compiled functions give what the Python gives, for any arguments."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib import import_module, util

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import wsgate.fastcgi.records
import wsgate.gateway.answer
import wsgate.gateway.route
import wsgate.websocket.fastlane
import wsgate.websocket.frames
from tests.fastcgi.fakes import end, record, stderr, stdout
from tests.websocket.test_protocol import BINARY, TEXT, frame
from wsgate.compiled import PURE
from wsgate.fastcgi.records import RecordDecoder

IS_BUILT = util.find_spec("wsgate._speedups") is not None
needs_compiled = pytest.mark.skipif(not IS_BUILT, reason="_speedups.c was not built here")


def outcome(function, arguments):
    """What a call comes to: its result with the types in it, or its exception's type and text."""
    try:
        result = function(*arguments)
    except (ValueError, UnicodeEncodeError) as error:
        return type(error), str(error)
    parts = result if isinstance(result, tuple) else (result,)
    return result, [type(part) for part in parts]


def compare(name, *arguments):
    compiled = getattr(import_module("wsgate._speedups"), name)
    assert outcome(compiled, arguments) == outcome(PURE[name], arguments)
    return compiled(*arguments)


@needs_compiled
def test_every_compiled_function_has_its_python_and_the_other_way_round():
    module = import_module("wsgate._speedups")
    assert {name for name in vars(module) if not name.startswith("__")} == set(PURE)


# -- take_message

MASKS = st.binary(min_size=4, max_size=4)
FRAMES = st.builds(
    frame,
    st.sampled_from([TEXT, TEXT, BINARY, 0, 3, 8, 9]),
    st.binary(max_size=300) | st.text(max_size=90).map(str.encode),
    st.sampled_from([True, True, True, False]),
    MASKS,
)


@st.composite
def damaged(draw, whole):
    """Bytes that are almost right: cut off, with some bytes changed, or with something around."""
    data = bytearray(draw(st.binary(max_size=9)) + draw(whole) + draw(st.binary(max_size=9)))
    for at in draw(st.lists(st.integers(0, max(0, len(data) - 1)), max_size=3)):
        if data:
            data[at] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


@needs_compiled
@given(damaged(FRAMES) | st.binary(max_size=40), st.integers(0, 60), st.integers(0, 400))
def test_take_message_is_the_same_for_any_bytes(data, start, limit):
    compare("take_message", data, start, limit)
    compare("take_message", data, start, 2**70)


@needs_compiled
@given(FRAMES, st.integers(0, 40))
def test_take_message_is_the_same_for_whole_frames_and_every_cut_of_them(data, before):
    for length in {*range(min(len(data), 16)), len(data) - 1, len(data)}:
        compare("take_message", b"." * before + data[:length], before, 10**6)


@needs_compiled
@pytest.mark.parametrize("size", [0, 1, 3, 7, 8, 9, 125, 126, 127, 65535, 65536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_take_message_is_the_same_at_every_bound(size, opcode):
    data = frame(opcode, b"x" * size)
    for limit in (size - 1, size, size + 1):
        compare("take_message", data, 0, limit)


@needs_compiled
@pytest.mark.parametrize(
    "payload", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"aaaaaaa\xc3", b"\xe2\x82"]
)
def test_take_message_leaves_text_that_is_not_utf8(payload):
    assert compare("take_message", frame(TEXT, payload), 0, 100) is None


@needs_compiled
def test_take_message_keeps_to_the_bytes_it_is_given():
    compiled = import_module("wsgate._speedups").take_message
    assert compiled(frame(TEXT, b"x"), 8, 9) is None
    assert compiled(frame(TEXT, b"x"), -1, 9) is None
    view = memoryview(frame(TEXT, b"hello") + b"rest")
    assert compiled(view, 0, 9) == (b"hello", False, 11)
    with pytest.raises(TypeError):
        compiled("text", 0, 9)
    with pytest.raises(TypeError):
        compiled(b"")


# -- encode_frame


@needs_compiled
@given(st.integers(-2, 258), st.binary(max_size=300))
def test_encode_frame_is_the_same(first, payload):
    compiled = import_module("wsgate._speedups").encode_frame
    assert outcome(compiled, (first, payload)) == outcome(PURE["encode_frame"], (first, payload))


@needs_compiled
@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_encode_frame_is_the_same_at_every_bound_and_for_views(size):
    payload = b"x" * size
    assert compare("encode_frame", 0x81, payload) == compare(
        "encode_frame", 0x81, memoryview(payload)
    )


# -- request_params and encode_request


@needs_compiled
@given(
    st.binary(max_size=20),
    st.binary(max_size=20),
    st.binary(max_size=200) | st.just(b"k" * 65_480),
    st.text(max_size=150),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**63 - 1),
)
@example(b"", b"", b"", "i" * 125, 1, 0)
@example(b"", b"", b"", "i" * 126, 1, 0)
@example(b"", b"", b"", "i" * 65_480, 1, 0)
@example(b"", b"", b"", "\ud800", 1, 0)
def test_request_params_is_the_same(route, connection, kind, connection_id, number, size):
    arguments = (route, connection, kind, connection_id, number, size)
    compiled = import_module("wsgate._speedups").request_params
    assert outcome(compiled, arguments) == outcome(PURE["request_params"], arguments)


@needs_compiled
@pytest.mark.parametrize("room", range(-2, 3))
def test_the_longest_params_record_is_the_same(room):
    size = 65528 - len(b"..CONTENT_LENGTH0..WSGATE_MESSAGE_IDi:1") + room
    arguments = (b"", b"", b"k" * size, "i", 1, 0)
    compiled = import_module("wsgate._speedups").request_params
    expected = outcome(PURE["request_params"], arguments)
    assert outcome(compiled, arguments) == expected
    assert (expected[0] is ValueError) == (room > 0)


@needs_compiled
@given(
    st.binary(max_size=20),
    st.binary(max_size=40),
    st.binary(max_size=40) | st.sampled_from([65527, 65528, 65529, 131_056, 131_057]).map(bytes),
)
def test_encode_request_is_the_same(begin, params, stdin):
    compare("encode_request", begin, params, stdin)
    compare("encode_request", begin, params, bytearray(stdin))


def test_a_request_of_any_size_is_well_formed():
    data = wsgate.fastcgi.records.encode_request(b"", b"", b"x" * 131_057)
    records = RecordDecoder().feed(data)
    assert [(r.type, len(r.content)) for r in records] == [
        *((4, 0), (5, 65528), (5, 65528), (5, 1), (5, 0))
    ]


# -- whole_answer

ANSWERS = st.builds(
    lambda parts, last: b"".join(parts) + last,
    st.lists(
        st.builds(
            lambda make, content, padding: make(content, padding=padding),
            st.sampled_from([stdout, stdout, stdout, stderr, lambda c, padding: record(3, c)]),
            st.binary(max_size=60),
            st.integers(0, 255),
        ),
        min_size=1,
        max_size=2,
    ),
    st.sampled_from([end(), end(), end(), end(1), end(0, 1), b""]),
)


@needs_compiled
@given(damaged(ANSWERS) | ANSWERS, st.integers(0, 70))
def test_whole_answer_is_the_same_for_any_bytes(data, limit):
    compare("whole_answer", data, limit)
    compare("whole_answer", data, 2**70)


@needs_compiled
def test_whole_answer_takes_the_plainest_one_and_no_more_than_the_limit():
    assert compare("whole_answer", stdout(b"text", padding=4) + end(), 4) == b"text"
    assert compare("whole_answer", stdout(b"text") + end(), 3) is None
    assert compare("whole_answer", stdout(b"") + end(), 0) == b""
    for length in range(len(stdout(b"text") + end())):
        assert compare("whole_answer", (stdout(b"text") + end())[:length], 9) is None


# -- known_answer

ENDS = [b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\n\n", b"\n"]
HEADS = [name + end for name in (b"", b"A: b") for end in ENDS]


@needs_compiled
@given(
    st.sampled_from([*HEADS, b"", b"\n", b"\r", b"C: d\r\n"]),
    st.binary(max_size=20) | st.text(max_size=20).map(str.encode) | st.sampled_from(HEADS),
    st.dictionaries(st.sampled_from(HEADS), st.booleans()),
)
def test_known_answer_is_the_same_for_any_bytes(head, body, heads):
    compare("known_answer", head + body, heads)
    compare("known_answer", bytearray(head + body), heads)


@needs_compiled
@given(st.text(alphabet="\r\na", max_size=12))
def test_known_answer_finds_the_same_empty_line(text):
    data = text.encode()
    compare("known_answer", data, {data[:length]: True for length in range(len(data) + 1)})


# -- which of the two is in use


def said_with(**environment):
    """What `wsgate --version` says."""
    result = subprocess.run(
        [sys.executable, "-m", "wsgate", "--version"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()


def test_the_environment_turns_the_compiled_part_off():
    assert said_with(WSGATE_PURE_PYTHON="1").endswith(", pure Python)")


def test_the_version_says_what_is_in_use():
    expected = "compiled" if IS_BUILT else "pure Python"
    assert said_with(WSGATE_PURE_PYTHON="").endswith(f", {expected})")
    assert said_with(WSGATE_PURE_PYTHON="0").endswith(f", {expected})")


@pytest.mark.slow
@needs_compiled
def test_the_rooms_of_these_functions_pass_their_tests_in_pure_python_too():
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"),
            *("tests/fastcgi", "tests/gateway", "tests/websocket"),
        ],
        env={**os.environ, "WSGATE_PURE_PYTHON": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert re.search(r"^\d+ passed", result.stdout, re.MULTILINE)


@pytest.mark.slow
def test_it_compiles_without_a_warning(tmp_path):
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    headers = sysconfig.get_path("include")
    if not (os.path.exists(f"{headers}/Python.h") and shutil.which(compiler[0])):
        pytest.skip("no C compiler, or no headers of Python")
    source = os.path.join(os.path.dirname(wsgate.__file__), "_speedups.c")
    flags = ("-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{headers}", "-c")
    subprocess.run([*compiler, *flags, source, "-o", tmp_path / "speedups.o"], check=True)
