"""One client that floods beside twenty that ask and wait, through the service and real PHP."""

import contextlib
import threading
from itertools import pairwise

from websockets.exceptions import ConnectionClosed

from tests.integration.gateway_process import gateway

POLITE = 20
ROUNDS = 20
FLOOD = 10_000

# Each answer is the number of its run, over all clients.
COUNT = """<?php
$file = fopen('{scripts}/count', 'c+');
flock($file, LOCK_EX);
$n = (int) fread($file, 20) + 1;
rewind($file);
fwrite($file, (string) $n);
flock($file, LOCK_UN);
usleep(1000);
echo $n;
"""


def flood(client):
    """Send everything at once; whoever reads the answers is somebody else."""
    with contextlib.suppress(ConnectionClosed):
        for _ in range(FLOOD):
            client.send("busy")


def drain(client, answered):
    with contextlib.suppress(ConnectionClosed):
        for message in client:
            answered.append(int(message))


def test_ten_thousand_pipelined_messages_do_not_make_twenty_polite_clients_wait():
    with gateway(
        "--set=limits.new_connections_per_address=0",
        scripts={"count.php": COUNT},
        script="count.php",
        workers=1,
    ) as running:
        running.ask_php()
        busy_answers, runs = [], []
        with contextlib.ExitStack() as stack:
            busy = stack.enter_context(running.connect())
            polite = [stack.enter_context(running.connect()) for _ in range(POLITE)]
            threads = [
                threading.Thread(target=flood, args=(busy,)),
                threading.Thread(target=drain, args=(busy, busy_answers)),
                *(threading.Thread(target=ask, args=(client, runs)) for client in polite),
            ]
            for thread in threads:
                thread.start()
            for thread in threads[2:]:
                thread.join(60)
            assert len(runs) == POLITE
            busy.close()
            for thread in threads[:2]:
                thread.join(60)
        gaps = [b - a for numbers in runs for a, b in pairwise(numbers)]
        # One of each other client between two answers (tests/gateway/test_fairness.py); here more,
        # while these clients are themselves slow, but never the flood.
        gaps.sort()
        assert gaps[len(gaps) // 2] <= 10 * (POLITE + 1)
        assert gaps[-1] <= FLOOD / 4
        assert busy_answers == sorted(busy_answers)
        assert len(busy_answers) < FLOOD


def ask(client, runs):
    numbers = []
    for _ in range(ROUNDS):
        client.send("polite")
        numbers.append(int(client.recv(timeout=30)))
    runs.append(numbers)
