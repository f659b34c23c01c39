"""What was tried to make the way of a message shorter; a part of docs/performance.md."""

TRIED = """\
## What was tried, and what it gave

wsgate's own work for one 64-byte message without the system calls, in µs (`python -m bench.message`
in the `.venv`: real objects, sockets that only remember, the least of 30 runs). *Free* is a message
that finds an idle connection to PHP, *busy* one of 32 clients that share four. System calls come on
top, about 20 µs, as in Node.

| step | free | busy |
|---|---:|---:|
| Python throughout, with a `Deferred` and two timeouts for a request | 13.2 | 17.3 |
| the conversation is told without a `Deferred`; a kept connection's timer stays set | 10.6 | – |
| in C: a frame read, a request's PARAMS and records made, an answer read | 6.9 | – |
| in C: the head of an answer looked up among those seen, its text checked | 4.2 | – |
| one flag in place of nine checks before a frame; `doRead` called directly | 3.6 | 6.5 |
| one timer for all who wait in a pool | 3.6 | 5.2 |
| content types made once, tuples not in Python, fewer steps in the queue | 3.6 | 4.7 |
| no look-ups by enum, property or name of a field; the limit of one frame kept | 3.2 | 4.0 |
| all this, but in pure Python (`WSGATE_PURE_PYTHON=1`) | 8.3 | 9.6 |

Tried and left: mypyc on 17 typed modules as they were gave 13.2 → 10.8, for 25 s of compiling, a
build that needs mypy, and modules that hide their sources from whoever edits them. The six
functions in C are one file, and need a compiler only.

A read of a socket asks for less than 128 KiB at first: for more, glibc can map memory for each read
and give it back, and 2.3 µs became 17.

The row about look-ups was measured by turns with the one before, which then had 3.3 and 4.3.

A turn of Twisted's reactor costs 1.5 µs beside the waiting and what is done in it. With 32 clients
it serves some 2.4 messages, so that is 0.6 µs for each, and a loop of our own could save a part.
A message needs two reads, two writes and 0.4 `epoll_wait`, and no other system call. A request that
waits takes 0.19 µs to make; with only the fields that it needs at first it would be 0.16.

What is left is some 25 Python calls for each message.
"""
