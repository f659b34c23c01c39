"""docs/performance.md: the table, the plots, the method, and how to repeat it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bench import plots
from bench.gateways import Gateway
from bench.report import Results, row_table, targets_table
from bench.rows import Row
from bench.tried import TRIED

_METHOD = """\
## Method

- **One PHP-FPM** for all: `pm = static`, 4 workers, opcache, a UNIX socket. The script reads
  `php://input`, changes the first byte and sends it back. Every answer is compared with what was
  sent, byte for byte; one wrong answer, or one lost connection, and the cell has no figure.
- **The gateways**: wsgate with `--fastcgi unix:…`, with and without `keep_connections`; Debian's
  nginx with `lua-nginx-websocket` (a loop of `recv_frame`, `ngx.location.capture` to a location
  with `fastcgi_pass` and `fastcgi_keep_conn on`, `send_text`), one worker process; Node with `ws`
  and a FastCGI client written for it ([bench/peers/node_gateway.js]): params encoded once per
  connection, one write per request, at most 4 connections kept or 8 for one request each; a
  straightforward gateway of Autobahn's and Twisted's own classes; Debian's Pushpin with `zurl` and
  nginx before PHP-FPM, with a script that speaks GRIP. All send PHP the same set of params and
  listen on loopback; none writes a log line per message or offers compression. wsgate keeps
  its pings, timeouts, limits, checks of UTF-8 and counters; only the limits that would refuse this
  much work from one address are raised.
- **The limit** is PHP-FPM itself, driven by a C program over 4 kept connections.
- **Rounds**: every gateway is started anew for each group of rows, all take their turn within a
  round, and another one begins each round. Tables show medians over the rounds; ratios are taken
  within a round, and their median counts.
- **Load**: a closed loop, each client sends, waits for the answer, and sends again; picows
  (compiled) on uvloop in a process of its own, plain sockets for handshakes. It stops sending
  before the second reading of CPU, and all answers are awaited, so the CPU belongs to exactly the
  messages counted. *Generator's CPU* is its share of one core: near 100 it would be the bottleneck.
- **CPU** is user + system time of all processes of a gateway (`/proc/PID/task/*/schedstat`, in
  nanoseconds), Pushpin's with the nginx it needs. **Peak** is the sum of their VmHWM, set back
  before each row. **Memory per idle connection** is the growth of their resident memory from half
  of the connections to all of them, divided by that half: the first half fills what the process
  had allocated anyway. Each connection has sent one message and got its answer before.
- **Handshakes** are whole lives of a connection: TCP, TLS 1.3 with an ECDSA P-256 certificate and
  no resumption, request, 101, close frame, its answer.
- **Calm clients** pause 0.1 s between an answer and the next message; the busy ones beside them
  never pause.
- nginx + Lua grows dearer with the age of a connection: its subrequests stay in the memory of the
  request that became the WebSocket (8 s of messages over 32 connections: 240 µs each and 450 MiB,
  half a second: 80 µs). Short runs flatter it.
- What fails is shown as failed: Pushpin drops connections when a thousand are busy and does not
  pass on messages of 1 MiB as it is packaged; nginx + Lua has no queue before PHP-FPM.
- **Echo without PHP**: each gateway's own way from a message to its answer. wsgate has no such
  setting: there its connections and conversations run with a responder in the place of the pool
  that answers at once ([bench/peers/wsgate_echo.py]); the others send back what came.
- **Cached answers**: all clients send one and the same message, and the script allows its answer to
  be given again for an hour. Once every message goes to PHP, once the route has the hook `cache`
  ([cached-answers.md](cached-answers.md)); nothing else differs.
- **16 MiB past the gateway**: the same beside a C program that moves 16 MiB at a time to a PHP-FPM
  of its own and back. What the calm clients lose there they lose to the processor alone, and no
  gateway can give it back: on two cores a message of 16 MiB keeps PHP-FPM and a client busy for
  tens of milliseconds, and whoever is woken beside them waits for the scheduler.
- **Turns** are what everybody waits for: from one return of `epoll_wait` to the next call of it.
  The client sends 16 MiB of two-byte characters. By the clock a turn also holds the time in which
  PHP-FPM and the generators had the core; CPU time is wsgate's own. The meter costs a little.
- **One message to 10,000 subscribers**: each has subscribed through PHP; PHP publishes a message
  when the last one has the message before. Node has no PHP there: it loops over a `Set` of its
  sockets, and its turn is that loop. Memory per subscription is what subscribing and the first
  messages add to a connection that has sent one before.
- **One connection per request** is measured where it makes a difference: not for handshakes, idle
  connections and tails. Rows of memory and of turns take 3 rounds. A cell that fails twice and
  never gave a figure is not tried again.
- PHP-FPM, gateway and generator share the cores of the machine, so messages per second depend on
  all three, and a ratio between two gateways is smaller than that of their own costs.

[bench/peers/node_gateway.js]: ../bench/peers/node_gateway.js
[bench/peers/wsgate_echo.py]: ../bench/peers/wsgate_echo.py

## How to repeat it

```
scripts/bench            # all rows, 5 rounds: about half an hour; writes this page
scripts/bench --quick    # one short round of most rows: under two minutes, writes no page
scripts/bench --only 64B-32,1MiB --gateways wsgate-kept,node-kept --rounds 3
```

It installs what is missing (Debian's nginx with Lua, Pushpin, zurl, php-fpm, Node; `ws`; a Python
environment with picows and matplotlib under `.tools/`). `reports/bench/latest.json` holds every
measurement of every round; that of this page is [performance.json](performance.json).
"""


def write(
    results: Results, rows: Sequence[Row], gateways: Sequence[Gateway], docs: Path
) -> list[Path]:
    """Write the page, its figures and its plots into `docs`; the result is the files."""
    written = [docs / "performance.json", docs / "performance.md"]
    written[0].write_text(json.dumps(results, indent=1) + "\n")
    parts = [_head(results), "## Targets\n", _markdown(targets_table(results))]
    for title, path in plots.write(results, rows, gateways, docs / "performance"):
        parts.append(f"![{title}](performance/{path.name})\n")
        written.append(path)
    parts.append("## All rows\n")
    for row in rows:
        parts.append(f"### {row.title[0].upper()}{row.title[1:]}\n")
        parts.append(_markdown(row_table(results, row, gateways)))
    if results["failures"]:
        parts.append(_failures(results))
    parts += (TRIED, _METHOD)
    written[1].write_text("\n".join(parts))
    return written


def _head(results: Results) -> str:
    about = results["about"]
    versions = "; ".join(f"{name} {version}" for name, version in about["versions"].items())
    quick = " This was a quick run: take its figures as examples." if about["quick"] else ""
    return (
        "# Performance\n\n<!-- Made by scripts/bench; change bench/page.py instead. -->\n\n"
        f"Measured {about['date']} at {about['commit']}, {about['rounds']} rounds of "
        f"{about['seconds']:g} s each, on {about['cores']} cores of {about['processor']}, "
        f"Linux {about['kernel']}.{quick}\n{versions.replace('wsgate Python', 'Python')}.\n"
    )


def _markdown(table: list[list[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in table]
    lines.insert(1, f"|---|{'---:|' * (len(table[0]) - 1)}")
    return "\n".join(lines) + "\n"


def _failures(results: Results) -> str:
    line = "- round {round}, {gateway}, {row}: {why}"
    lines = ["### What failed\n", *(line.format(**failure) for failure in results["failures"])]
    return "\n".join(lines) + "\n"
