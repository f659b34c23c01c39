"""Values as PHP has them, for hypothesis; what PHP writes of them, and what is read of that."""

import base64
import json
import struct
import subprocess

from hypothesis import strategies as st

from wsgate.hooks.session.unserialize import Float, Opaque

WRITE = r"""
enum Suit: string { case Hearts = 'h'; case Spades = 's'; }
class Plain { public $a = 1; protected $b = [1, 2]; private $c = 'x'; }
class Own { public $held = [1]; function __serialize(): array { return [5 => 1, 'k' => $this]; }
    function __unserialize(array $data): void {} }
function made($v) {
    switch ($v[0]) {
        case 'null': return null;
        case 'bool': case 'int': return $v[1];
        case 'float': return unpack('E', base64_decode($v[1]))[1];
        case 'string': return base64_decode($v[1]);
        case 'object': return [new Plain, new Own, Suit::Hearts, new ArrayObject([1]),
            (object)['a' => new Plain]][$v[1] % 5];
        case 'twice': $o = new Plain; return [$o, $o, [$o]];
        case 'same': $x = made($v[1]); return ['one' => &$x, 'two' => &$x, 'after' => 1];
        case 'self': $x = ['here' => 7]; $x['self'] = &$x; return [&$x];
        case 'array':
            $array = [];
            foreach ($v[1] as [$key, $held]) {
                $array[is_int($key) ? $key : base64_decode($key)] = made($held);
            }
            return $array;
    }
}
"""
"""PHP that makes a value of what hypothesis has drawn, as JSON."""


def _base64(data):
    return base64.b64encode(data).decode()


INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=True)
SCALARS = st.one_of(
    st.just(["null"]),
    st.tuples(st.just("bool"), st.booleans()).map(list),
    st.tuples(st.just("int"), INT64).map(list),
    FLOATS.map(lambda number: ["float", number]),
    st.binary(max_size=40).map(lambda data: ["string", data]),
    st.sampled_from(range(5)).map(lambda which: ["object", which]),
    st.just(["twice"]),
    st.just(["self"]),
)
KEYS = st.one_of(INT64, st.integers(-3, 3), st.binary(max_size=12), st.sampled_from([b"5", b"05"]))


def _composed(inner):
    arrays = st.lists(st.tuples(KEYS, inner), max_size=5).map(lambda items: ["array", items])
    return st.one_of(arrays, inner.map(lambda value: ["same", value]))


VALUES = st.recursive(SCALARS, _composed, max_leaves=12)
ARRAYS = st.lists(st.tuples(KEYS, VALUES), max_size=5).map(lambda items: ["array", items])


def for_php(value):
    """What `made` of PHP makes the value of, for JSON."""
    kind, *rest = value
    if kind == "float":
        return [kind, _base64(struct.pack(">d", rest[0]))]
    if kind == "string":
        return [kind, _base64(rest[0])]
    if kind == "same":
        return [kind, for_php(rest[0])]
    if kind == "array":
        items = [
            [key if isinstance(key, int) else _base64(key), for_php(held)] for key, held in rest[0]
        ]
        return [kind, items]
    return value


def expected(value):
    """What is to be read of it, in a form that `shown` gives too."""
    kind, *rest = value
    if kind == "array":
        keys = [(b"%d" % key if isinstance(key, int) else key, held) for key, held in rest[0]]
        return {key: expected(held) for key, held in keys}
    if kind == "same":
        inner = expected(rest[0])
        return {b"one": inner, b"two": inner, b"after": 1}
    if kind == "twice":
        return {b"0": Opaque.OBJECT, b"1": Opaque.OBJECT, b"2": {b"0": Opaque.OBJECT}}
    if kind == "self":
        return {b"0": {b"here": 7, b"self": "itself"}}
    if kind == "float":
        return ("float", repr(rest[0]))
    return {"null": None, "object": Opaque.OBJECT}.get(kind, rest[0] if rest else None)


def shown(value, above=()):
    """A value that was read, without references to what holds it."""
    if isinstance(value, Float):
        return ("float", repr(float(value)))
    if not isinstance(value, dict):
        return value
    if any(value is holder for holder in above):
        return "itself"
    return {key: shown(held, (*above, value)) for key, held in value.items()}


class PHPWriter:
    """One PHP that writes values as long as it is asked: a start for each would take too long."""

    def __init__(self, expression, *options):
        program = (
            WRITE
            + "while (($line = fgets(STDIN)) !== false) { $value = made(json_decode($line, true));"
            + f' echo base64_encode({expression}), "\\n"; }}'
        )
        self._process = subprocess.Popen(
            ["php", *options, "-r", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def write(self, value):
        """The bytes that PHP makes of it."""
        self._process.stdin.write(json.dumps(for_php(value)).encode() + b"\n")
        self._process.stdin.flush()
        return base64.b64decode(self._process.stdout.readline())

    def close(self):
        """End it."""
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()
