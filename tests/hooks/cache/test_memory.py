"""What is kept within a bound of bytes."""

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wsgate.hooks import Answer
from wsgate.hooks.cache.memory import OVERHEAD, Kept, Memory, Personal, Variants


def kept(size, end=10.0):
    return Kept(Answer(bytes(size)), end, end, end)


def test_it_takes_what_fits_and_not_one_byte_more():
    memory = Memory(room=2 * OVERHEAD + 10, largest=100)
    assert memory.put(b"a", kept(5))
    assert memory.put(b"b", kept(5))
    assert (len(memory), memory.size, memory.evicted) == (2, 2 * OVERHEAD + 10, 0)
    assert memory.put(b"b", kept(6))
    assert memory.get(b"a") is None
    assert memory.evicted == 1


def test_an_answer_of_the_largest_size_is_kept_and_one_past_it_is_not():
    memory = Memory(room=10 * OVERHEAD, largest=100)
    assert memory.put(b"a", kept(100))
    assert not memory.put(b"a", kept(101))
    assert memory.get(b"a") is None
    assert memory.size == 0


def test_what_was_not_used_for_longest_gives_way():
    memory = Memory(room=3 * OVERHEAD, largest=100)
    for key in (b"a", b"b", b"c"):
        memory.put(key, kept(0))
    memory.get(b"a")
    memory.put(b"d", kept(0))
    assert [key for key in (b"a", b"b", b"c", b"d") if memory.get(key)] == [b"a", b"c", b"d"]


def test_what_is_past_its_end_goes_when_it_is_swept_and_never_what_took_its_place():
    memory = Memory(room=100 * OVERHEAD, largest=100)
    memory.put(b"a", kept(0, end=1.0))
    memory.put(b"b", Variants(("cookie",), 2.0))
    memory.put(b"c", Personal(3.0))
    memory.put(b"a", kept(0, end=9.0))
    memory.sweep(2.0)
    assert memory.get(b"a") is not None
    assert memory.get(b"b") is None
    assert memory.get(b"c") is not None
    memory.sweep(9.0)
    assert (len(memory), memory.size) == (0, 0)


def test_a_sweep_takes_no_more_at_a_time_than_it_is_told():
    memory = Memory(room=100 * OVERHEAD, largest=100)
    for number in range(10):
        memory.put(b"%d" % number, kept(0, end=1.0))
    memory.sweep(5.0, most=4)
    assert len(memory) == 6


def test_replacing_for_ever_takes_no_more_memory():
    memory = Memory(room=100 * OVERHEAD, largest=100)
    for number in range(10_000):
        memory.put(b"a", kept(0, end=float(number)))
    assert len(memory._ends) < 100


def test_the_bound_holds_for_real_bytes():
    memory = Memory(room=4 * 1024 * 1024, largest=1024)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(20_000):
            headers = ()
            answer = Answer(b"%0100d" % number, headers=headers)
            memory.put(b"%032d" % number, Kept(answer, 1.0 + number, 2.0 + number, 3.0 + number))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert memory.evicted > 10_000
    assert after - before < 4 * 1024 * 1024


class ModelOfMemory(RuleBasedStateMachine):
    """Against a list of what was used, in order of use."""

    ROOM = 4 * OVERHEAD
    LARGEST = 2 * OVERHEAD

    def __init__(self):
        super().__init__()
        self.memory = Memory(self.ROOM, self.LARGEST)
        self.model = []
        self.now = 0

    keys = st.integers(0, 6).map(lambda number: b"%d" % number)

    @rule(key=keys, size=st.integers(0, 2 * OVERHEAD + 1), lifetime=st.integers(0, 5))
    def put(self, key, size, lifetime):
        self.model = [(k, s) for k, s in self.model if k != key]
        slot = kept(size, float(self.now + lifetime))
        stays = size <= self.LARGEST
        assert self.memory.put(key, slot) == stays
        if stays:
            self.model.append((key, slot))
            while sum(OVERHEAD + len(s.answer.payload) for _, s in self.model) > self.ROOM:
                self.model.pop(0)

    @rule(key=keys)
    def get(self, key):
        wanted = [pair for pair in self.model if pair[0] == key]
        assert self.memory.get(key) is (wanted[0][1] if wanted else None)
        self.model = [pair for pair in self.model if pair[0] != key] + wanted

    @rule(key=keys)
    def remove(self, key):
        self.memory.remove(key)
        self.model = [pair for pair in self.model if pair[0] != key]

    @rule(seconds=st.integers(0, 3))
    def sweep(self, seconds):
        self.now += seconds
        self.memory.sweep(float(self.now))
        self.model = [(k, s) for k, s in self.model if s.end > self.now]

    @rule()
    def clear(self):
        assert self.memory.clear() == len(self.model)
        self.model = []

    @invariant()
    def the_same(self):
        assert len(self.memory) == len(self.model)
        assert self.memory.size == sum(OVERHEAD + len(s.answer.payload) for _, s in self.model)
        assert self.memory.size <= self.ROOM


TestModelOfMemory = ModelOfMemory.TestCase
TestModelOfMemory.settings = settings(max_examples=50, deadline=None)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100))
def test_an_answer_ends_when_nothing_allows_it_any_more(fresh, revalidating, failing):
    answer = Kept(Answer(b""), fresh, revalidating, failing)
    assert answer.end == max(fresh, revalidating, failing)
