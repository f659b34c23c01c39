"""Stands between wsgate and its private PHP, so that PHP never outlives wsgate.

A program of its own: `python -I -S guardian.py KEY=VALUE… -- COMMAND…`. It imports nothing of
wsgate, to be small and to start at once. Its keys:

    folder   the private folder, removed when wsgate has gone
    socket   the path PHP listens on; a left-over there is removed first
    listen   backlog: bind `socket` here and hand it to PHP as its descriptor 0
             (FCGI_LISTENSOCK_FILENO, FastCGI 1.0 §2.2); left out: PHP binds it itself
    stop     the number of the signal that asks PHP to stop, sent to its first process
    uid, gid, groups   whom PHP becomes; left out: nobody else

Descriptors: 0 is the lifeline, a pipe that nobody but wsgate can write to: its end means that
wsgate has gone, whatever the way. 1 takes reports, one a line: `started PID`, then
`ended WAIT_STATUS`. 2 takes PHP's log. 3 holds the lock on the folder.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time

try:
    import ctypes
except ImportError:  # a Python built without libffi: two safety nets fewer, nothing else
    ctypes = None  # type: ignore[assignment]  # the name stays bound to a module otherwise

LIFELINE, REPORTS, LOG, LOCK = range(4)

# <linux/prctl.h>
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# Seconds a stopping PHP gets: for the script that runs, then after SIGTERM, then after SIGKILL.
# wsgate's own patience (service.STOP_PATIENCE) must be longer than their sum.
FINISHING, TERMINATING, KILLING = 1.0, 0.3, 1.0

# While PHP stops, workers that are not our children can end without a SIGCHLD for us.
GLANCE = 0.02


def main(arguments: list[str]) -> int:
    """Run PHP until it ends or wsgate goes; 0 unless the arguments are wrong."""
    border = arguments.index("--")
    options = dict(argument.split("=", 1) for argument in arguments[:border])
    # Ctrl-C at a terminal is for wsgate, which first lets its clients' requests finish.
    with contextlib.suppress(PermissionError):  # we already lead one, run by hand
        os.setsid()
    os.set_inheritable(LOCK, False)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        Guard(options, arguments[border + 1 :]).run()
    except OSError as error:
        os.write(LOG, f"ERROR: cannot start PHP: {error}\n".encode())
    if lifeline_ended():
        remove_folder(options["folder"])
    return 0


class Guard:
    """One PHP: its first process, and the process group that all its workers are in."""

    def __init__(self, options: dict[str, str], command: list[str]) -> None:
        self._stop_signal = int(options["stop"])
        self._told_to_stop = False
        self._status: int | None = None
        self._poll = select.poll()
        self._poll.register(LIFELINE, select.POLLIN)
        self._watch_signals()
        self._pid = start(options, command)
        report(f"started {self._pid}")

    def run(self) -> None:
        """Wait for PHP's end, or for a reason to end it; leave none of its processes behind."""
        while self._status is None and not self._told_to_stop and not lifeline_ended():
            self._wait(None)
        # Once it has ended it is readable for ever, so poll would no longer wait.
        self._poll.unregister(LIFELINE)
        if self._status is None:
            self._stop()
        # php-fpm's workers go on accepting when their master was killed.
        self._end_group(signal.SIGKILL, KILLING)
        report(f"ended {self._status if self._status is not None else int(signal.SIGKILL)}")

    def _watch_signals(self) -> None:
        self._signals, wake = os.pipe()
        os.set_blocking(self._signals, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._poll.register(self._signals, select.POLLIN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._tell_to_stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _tell_to_stop(self, *_: object) -> None:
        self._told_to_stop = True

    def _wait(self, seconds: float | None) -> None:
        self._poll.poll(None if seconds is None else seconds * 1000)
        with contextlib.suppress(BlockingIOError):
            os.read(self._signals, 4096)
        self._reap()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._pid:
                    self._status = status

    def _stop(self) -> None:
        os.kill(self._pid, self._stop_signal)
        self._wait_for_group(FINISHING)
        self._end_group(signal.SIGTERM, TERMINATING)

    def _end_group(self, signum: int, seconds: float) -> None:
        if self._group_lives():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signum)
            self._wait_for_group(seconds)

    def _wait_for_group(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._group_lives() and time.monotonic() < deadline:
            self._wait(GLANCE)

    def _group_lives(self) -> bool:
        self._reap()
        try:
            os.killpg(self._pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def start(options: dict[str, str], command: list[str]) -> int:
    """Start PHP as the leader of its own process group; its process id."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(options["socket"])
    listener = None
    if "listen" in options:
        listener = listen(options["socket"], int(options["listen"]))
    guardian = os.getpid()
    pid = os.fork()
    if pid == 0:
        become_php(options, command, guardian, listener)
    if listener is not None:
        listener.close()
    return pid


def listen(path: str, backlog: int) -> socket.socket:
    """A listening socket that only our own user (and root) can connect to."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    listener.bind(path)
    os.umask(before)
    listener.listen(backlog)
    return listener


def become_php(
    options: dict[str, str], command: list[str], guardian: int, listener: socket.socket | None
) -> None:
    """Turn this new process into PHP. Never returns."""
    try:
        os.setsid()
        give_descriptors(listener)
        reset_signals()
        os.chdir("/")
        # What a service manager gives php-fpm; twistd's own would make unreadable uploads.
        os.umask(0o022)
        drop_privileges(options)
        # After the change of user, which clears it.
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == guardian:
            os.execv(command[0], command)
    except OSError as error:
        os.write(LOG, f"ERROR: cannot run {command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def give_descriptors(listener: socket.socket | None) -> None:
    """Leave 0 (the listening socket, or nothing to read), 1 and 2 (the log), and no others."""
    first = listener.fileno() if listener else os.open(os.devnull, os.O_RDONLY)
    os.dup2(first, 0)
    os.dup2(LOG, 1)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > LOG:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def reset_signals() -> None:
    """Give PHP the signals as a shell would: ignored ones would stay ignored through exec."""
    signal.set_wakeup_fd(-1)
    for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def drop_privileges(options: dict[str, str]) -> None:
    """Become the user that was asked for, for good."""
    if "uid" in options:
        uid, gid = int(options["uid"]), int(options["gid"])
        os.setgroups([int(group) for group in options["groups"].split(",")])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def prctl(option: int, value: int) -> None:
    """Ask Linux for one of its safety nets; without it the others have to do."""
    if ctypes is not None:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def lifeline_ended() -> bool:
    """Whether wsgate has gone, or has closed the lifeline to stop us."""
    ready, _, _ = select.select([LIFELINE], [], [], 0)
    return bool(ready) and os.read(LIFELINE, 4096) == b""


def report(line: str) -> None:
    """Tell wsgate, if it is still there."""
    with contextlib.suppress(OSError):
        os.write(REPORTS, f"{line}\n".encode())


def remove_folder(folder: str) -> None:
    """Remove the private folder; it holds files only."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
