"""wsgate.garbage: cycles are still collected, only rarely."""

import gc
import subprocess
import sys

PROGRAM = """
import gc, weakref
from wsgate.garbage import THRESHOLDS, collect_rarely
collect_rarely()
assert gc.isenabled() and gc.get_threshold() == THRESHOLDS
assert gc.get_freeze_count() > 0
class Node: pass
node = Node(); node.itself = node
gone = weakref.ref(node); del node
kept = [[] for _ in range(THRESHOLDS[0] + 1)]
assert gone() is None
"""


def test_cycles_are_collected_after_the_threshold_and_what_was_there_before_is_frozen():
    # In a process of its own: the settings hold for a whole interpreter.
    before = gc.get_threshold()
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
    assert gc.get_threshold() == before
