"""The FastCGI room against real php-fpm, over UNIX and TCP, connections kept and not kept."""

import contextlib
import hashlib
import os
import resource
import signal
import socket
import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import DeferredList, gatherResults
from twisted.internet.endpoints import UNIXClientEndpoint, clientFromString
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.integration.php_fpm import php_fpm
from wsgate.fastcgi import (
    Backend,
    BackendBusy,
    BackendUnavailable,
    ConnectionPool,
    FastCGIError,
    NotSent,
    PoolLimits,
    Request,
    RequestTimeout,
    Response,
    ResponseCutOff,
    ResponseNeverReceived,
    ResponseTimeout,
    ResponseTooLarge,
    encode_params,
)
from wsgate.fastcgi.records import encode_record
from wsgate.fastcgi.unix import UNIXEndpoint

ALL_BYTES = bytes(range(256))
# Each script that must not run twice leaves a line for each time it ran.
RAN = "file_put_contents(__FILE__ . '.ran', getmypid() . \"\\n\", FILE_APPEND | LOCK_EX);"
SCRIPTS = {
    "digest.php": "<?php $b = file_get_contents('php://input');"
    " echo hash('sha256', $b), ' ', strlen($b), ' ', $_SERVER['CONTENT_LENGTH'];",
    "mirror.php": "<?php echo file_get_contents('php://input');",
    "unread.php": f"<?php {RAN} echo ini_get('memory_limit'), ' ', $_SERVER['SCRIPT_NAME'];",
    "param.php": "<?php echo hash('sha256', $_SERVER[file_get_contents('php://input')]);",
    "stderr.php": "<?php error_log(\"first\\nline\"); echo 'one '; flush();"
    " trigger_error('second', E_USER_WARNING); echo 'two '; flush();"
    " error_log('third'); echo 'three';",
    "loud.php": "<?php for ($i = 0; $i < 100; $i++) error_log(str_repeat('x', 1000)); echo 'done';",
    "fatal.php": "<?php undefined_function();",
    "exit.php": "<?php echo 'before'; flush(); exit(3);",
    "silent.php": f"<?php {RAN} sleep(30); echo 'late';",
    "half.php": f"<?php echo 'half'; flush(); {RAN} sleep(30); echo 'late';",
    "short.php": f"<?php usleep(20000); {RAN} echo 'done';",
    "pid.php": "<?php echo getmypid();",
    "large.php": "<?php echo str_repeat('x', (int) file_get_contents('php://input'));",
}


def params(script, stdin=b"", **more):
    """What php-fpm needs to run a script, and `more`."""
    pairs = {
        "SCRIPT_FILENAME": script,
        "SCRIPT_NAME": "/" + os.path.basename(script),
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "application/octet-stream",
        "CONTENT_LENGTH": str(len(stdin)),
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        **more,
    }
    return encode_params((name.encode(), value.encode()) for name, value in pairs.items())


def body(response):
    return response.stdout.partition(b"\r\n\r\n")[2]


def header(response):
    return response.stdout.partition(b"\r\n\r\n")[0]


class PassingClock:
    """The reactor's clock, whose pending calls a test can take back: trial wants none left."""

    def __init__(self):
        self.calls = []

    def seconds(self):
        return reactor.seconds()

    def callLater(self, delay, function, *args):
        call = reactor.callLater(delay, function, *args)
        self.calls = [call, *(old for old in self.calls if old.active())]
        return call

    def cancel_all(self):
        for call in self.calls:
            if call.active():
                call.cancel()


class PHPFPMTestCase(TestCase):
    """`self.fpm` is running; `self.pool(...)` talks to it and is stopped at the end."""

    timeout = 60
    listen = "unix"
    twisted_client = False
    keep = False
    workers = 2

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        cls.fpm = cls.start_php_fpm(cls.stack)

    @classmethod
    def start_php_fpm(cls, stack, **settings):
        settings = {"workers": cls.workers, "scripts": SCRIPTS, "listen": cls.listen, **settings}
        # Without it a reload kills what runs.
        settings["fpm"] = {"process_control_timeout": "5", **settings.get("fpm", {})}
        return stack.enter_context(php_fpm(**settings))

    def setUp(self):
        for trace in Path(self.fpm.scripts).glob("*.ran"):
            trace.unlink()

    def make_pool(self, *fpms, **settings):
        backends = [Backend(fpm.endpoint, self.endpoint(fpm)) for fpm in fpms or [self.fpm]]
        settings = {"max_in_flight": self.workers, "keep_connections": self.keep} | settings
        return self.clean_up(lambda clock: ConnectionPool(clock, backends, PoolLimits(**settings)))

    def endpoint(self, fpm):
        """As the service makes it: our own client for UNIX, Twisted's for all else."""
        if fpm.socket and not self.twisted_client:
            return UNIXEndpoint(reactor, lambda: fpm.socket)
        return clientFromString(reactor, fpm.endpoint)

    def clean_up(self, make):
        clock = PassingClock()
        pool = make(clock)

        async def stop():
            await pool.stop()
            clock.cancel_all()
            await self.sleep(0.02)  # the turns in which aborted connections are closed

        self.addCleanup(stop)
        return pool

    def make_folder(self):
        # Not trial's own mktemp: the path of a UNIX socket holds 107 bytes.
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return folder.name

    def sleep(self, seconds):
        return deferLater(reactor, seconds)

    def ask(self, pool, script, stdin=b"", **more):
        path = self.fpm.script_path(script)
        return pool.request(Request(params(path, stdin, **more), stdin))

    def runs(self, script):
        """The pid of each run that the script has left a trace of."""
        trace = Path(self.fpm.script_path(script) + ".ran")
        return [int(line) for line in trace.read_text().split()] if trace.exists() else []

    async def wait_for_run(self, script):
        while not self.runs(script):
            await self.sleep(0.01)
        return self.runs(script)[0]


class EveryWay:
    """What must hold over UNIX and TCP, with connections kept and not kept."""

    async def check_digest(self, pool, stdin):
        response = await self.ask(pool, "digest.php", stdin)
        expected = f"{hashlib.sha256(stdin).hexdigest()} {len(stdin)} {len(stdin)}"
        self.assertEqual(body(response), expected.encode())
        self.assertEqual((response.stderr, response.app_status), (b"", 0))

    async def test_php_gets_bodies_of_every_length_whole(self):
        pool = self.make_pool()
        for size in (0, 1, 65527, 65528, 65529, 131055, 131056, 131057, 131071, 2**20):
            await self.check_digest(pool, (ALL_BYTES * (size // 256 + 1))[:size])
        self.assertEqual((pool.responses, pool.errors, pool.surplus), (10, {}, 0))

    async def test_answers_of_every_length_come_back_whole(self):
        pool = self.make_pool()
        for size in (0, 1, 8191, 65400, 65528, 65529, 131071, 2**20):
            stdin = (ALL_BYTES * (size // 256 + 1))[:size]
            self.assertEqual(body(await self.ask(pool, "mirror.php", stdin)), stdin)

    async def test_an_answer_of_16_mib_comes_back_and_beyond_the_limit_is_an_error(self):
        pool = self.make_pool(max_answer_size=2**24 + 1000)
        self.assertEqual(len(body(await self.ask(pool, "large.php", b"%d" % 2**24))), 2**24)
        with self.assertRaises(ResponseTooLarge):
            await self.ask(pool, "large.php", b"%d" % (2**24 + 1001))
        await self.check_digest(pool, b"after")

    async def test_stderr_is_kept_apart_from_stdout(self):
        response = await self.ask(self.make_pool(), "stderr.php")
        self.assertEqual(body(response), b"one two three")
        for text in (b"first\nline", b"second", b"third"):
            self.assertIn(text, response.stderr)

    async def test_much_stderr_is_cut_at_8_kib(self):
        response = await self.ask(self.make_pool(), "loud.php")
        self.assertEqual(body(response), b"done")
        self.assertEqual(len(response.stderr), 8192)

    async def test_a_fatal_error_is_an_answer_with_status_500_and_stderr(self):
        response = await self.ask(self.make_pool(), "fatal.php")
        self.assertIn(b"Status: 500", header(response))
        self.assertEqual(body(response), b"")
        self.assertIn(b"undefined_function", response.stderr)

    async def test_a_missing_script_is_an_answer_with_status_404_and_stderr(self):
        response = await self.ask(self.make_pool(), "missing.php")
        self.assertIn(b"Status: 404", header(response))
        self.assertIn(b"Primary script unknown", response.stderr)

    async def test_exit_after_output_is_an_answer(self):
        self.assertEqual(body(await self.ask(self.make_pool(), "exit.php")), b"before")

    async def test_a_worker_killed_before_its_first_output_is_no_answer_and_runs_once(self):
        pool = self.make_pool()
        asked = self.ask(pool, "silent.php")
        os.kill(await self.wait_for_run("silent.php"), signal.SIGKILL)
        with self.assertRaises(ResponseNeverReceived) as caught:
            await asked
        self.assertEqual(caught.exception.backend, self.fpm.endpoint)
        await self.check_digest(pool, b"after")
        await self.sleep(0.4)
        self.assertEqual(len(self.runs("silent.php")), 1)

    async def test_a_worker_killed_after_its_first_output_is_no_answer_and_runs_once(self):
        pool = self.make_pool()
        asked = self.ask(pool, "half.php")
        os.kill(await self.wait_for_run("half.php"), signal.SIGKILL)
        with self.assertRaises(ResponseCutOff):
            await asked
        await self.check_digest(pool, b"after")
        await self.sleep(0.4)
        self.assertEqual(len(self.runs("half.php")), 1)

    async def test_an_idle_worker_that_was_killed_is_not_noticed(self):
        pool = self.make_pool()
        for _ in range(3):
            pid = int(body(await self.ask(pool, "pid.php")))
            os.kill(pid, signal.SIGKILL)
            await self.sleep(0.1)
        self.assertEqual(pool.errors, {})

    async def test_a_script_that_takes_too_long_is_a_timeout_and_others_go_on(self):
        pool = self.make_pool(response_timeout=0.3)
        with self.assertRaises(ResponseTimeout):
            await self.ask(pool, "silent.php")
        await self.check_digest(pool, b"after")
        os.kill(self.runs("silent.php")[0], signal.SIGKILL)
        self.assertEqual(len(self.runs("silent.php")), 1)

    async def test_a_body_that_looks_like_records_is_only_a_body(self):
        pool = self.make_pool()
        path = self.fpm.script_path("unread.php")
        evil = (
            encode_record(1, bytes([0, 1, 1, 0, 0, 0, 0, 0]))
            + params(path, PHP_VALUE="memory_limit=7M", SCRIPT_NAME="/smuggled")
            + encode_record(4)
            + encode_record(5)
        )
        offsets = (0, 1, 65528 - 8, 65528, 65528 + 8, 98304 - 8, 98304, 131072)
        for offset in offsets:
            response = await self.ask(pool, "unread.php", bytes(offset) + evil)
            self.assertEqual(body(response), b"512M /unread.php")
            self.assertEqual(body(await self.ask(pool, "mirror.php", evil)), evil)
        await self.sleep(0.1)
        self.assertEqual(len(self.runs("unread.php")), len(offsets))
        self.assertEqual((pool.surplus, pool.errors), (0, {}))

    async def test_a_script_that_leaves_1_mib_of_its_body_unread_is_answered(self):
        pool = self.make_pool()
        for _ in range(10):
            response = await self.ask(pool, "unread.php", bytes(2**20))
            self.assertEqual(body(response), b"512M /unread.php")
        self.assertEqual(len(self.runs("unread.php")), 10)

    async def test_a_body_that_no_worker_takes_is_given_up_and_others_go_on(self):
        pool = self.make_pool(write_timeout=0.5)
        workers = self.fpm.worker_pids()
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            # More than the kernel keeps for a connection.
            with self.assertRaises(RequestTimeout):
                await self.ask(pool, "digest.php", bytes(16 * 2**20))
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
        await self.check_digest(pool, b"after")

    async def test_params_of_every_length_arrive(self):
        pool = self.make_pool()
        name_sizes = (1, 127, 128, 300)
        value_sizes = (0, 127, 128, 255, 256, 65528 - 8 - 300)
        for name in ("N" * size for size in name_sizes):
            for value in ("v" * size for size in value_sizes):
                response = await self.ask(pool, "param.php", name.encode(), **{name: value})
                self.assertEqual(
                    body(response), hashlib.sha256(value.encode()).hexdigest().encode()
                )

    async def test_params_in_several_records_arrive(self):
        pool = self.make_pool()
        stdin = b"LAST"
        more = encode_params((b"P%d" % n, b"x" * 30000) for n in range(7))
        more += encode_params([(b"LAST", b"the last")])
        path = self.fpm.script_path("param.php")
        response = await pool.request(Request(params(path, stdin) + more, stdin))
        self.assertEqual(body(response), hashlib.sha256(b"the last").hexdigest().encode())

    async def test_fifty_requests_at_once_are_all_answered_by_two_workers(self):
        pool = self.make_pool(queue=48)
        stdins = [b"%d" % number for number in range(50)]
        responses = await gatherResults([self.ask(pool, "mirror.php", stdin) for stdin in stdins])
        self.assertEqual([body(response) for response in responses], stdins)
        self.assertEqual((pool.requests, pool.responses, pool.errors), (50, 50, {}))

    async def test_a_reload_loses_at_most_what_it_interrupts_and_runs_nothing_twice(self):
        pool = self.make_pool(queue=1000)
        asked = [self.ask(pool, "short.php") for _ in range(100)]
        await self.wait_for_run("short.php")
        before = set(self.fpm.worker_pids())
        os.kill(self.fpm.pid, signal.SIGUSR2)
        outcomes = await DeferredList(asked, consumeErrors=True)
        good = [result for success, result in outcomes if success]
        failed = [result.value for success, result in outcomes if not success]
        self.assertTrue(all(isinstance(error, FastCGIError) for error in failed), failed)
        # A worker that finishes what it has closes its kept connection; a request that is written
        # just then is lost. Without kept connections there is nothing to lose.
        self.assertLessEqual(len(failed), self.workers if self.keep else 0, failed)
        self.assertGreaterEqual(len(self.runs("short.php")), len(good))
        self.assertLessEqual(len(self.runs("short.php")), 100)
        while set(self.fpm.worker_pids()) & before:
            await self.sleep(0.02)
        await self.check_digest(pool, b"after")


class UnixTests(EveryWay, PHPFPMTestCase):
    pass


class UnixKeptTests(EveryWay, PHPFPMTestCase):
    keep = True


class TwistedUnixTests(EveryWay, PHPFPMTestCase):
    twisted_client = True


class TCPTests(EveryWay, PHPFPMTestCase):
    listen = "tcp"


class TCPKeptTests(EveryWay, PHPFPMTestCase):
    listen = "tcp"
    keep = True


class KeptConnectionTests(PHPFPMTestCase):
    keep = True
    workers = 1

    async def test_one_worker_answers_all_on_one_connection(self):
        pool = self.make_pool()
        pids = {body(await self.ask(pool, "pid.php")) for _ in range(5)}
        self.assertEqual(len(pids), 1)
        self.assertEqual(repr(pool), "<ConnectionPool default: 0 in flight, 1 idle, 0 waiting>")

    async def test_hold_frees_the_worker_for_others(self):
        kept, other = self.make_pool(), self.make_pool()
        await self.ask(kept, "pid.php")
        asked = self.ask(other, "pid.php")
        await self.sleep(0.1)
        self.assertFalse(asked.called)
        kept.hold()
        await asked


class AvailabilityTests(PHPFPMTestCase):
    """The backend goes away, comes back, or is too small."""

    async def test_a_stopped_php_fpm_is_unavailable_and_serves_again_after_its_start(self):
        for listen in ("unix", "tcp"):
            with contextlib.ExitStack() as stack:
                fpm = self.start_php_fpm(stack, listen=listen)
                pool = self.make_pool(fpm)
                self.assertEqual(body(await self.ask(pool, "mirror.php", b"1")), b"1")
                fpm.stop()
                with self.assertRaises(BackendUnavailable):
                    await self.ask(pool, "mirror.php", b"2")
                fpm.start()
                self.assertEqual(body(await self.ask(pool, "mirror.php", b"3")), b"3")
                await pool.stop()

    async def test_a_socket_that_was_left_behind_is_unavailable_at_each_try(self):
        path = os.path.join(self.make_folder(), "dead.sock")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
        for endpoint in (UNIXEndpoint(reactor, lambda: path), UNIXClientEndpoint(reactor, path)):
            backend = Backend("dead", endpoint)
            pool = self.clean_up(lambda clock, backend=backend: ConnectionPool(clock, [backend]))
            with self.assertRaises(BackendUnavailable) as caught:
                await self.ask(pool, "mirror.php")
            self.assertIn("dead: Connection", str(caught.exception))

    async def test_requests_go_on_while_one_of_two_is_stopped_and_started(self):
        with contextlib.ExitStack() as stack:
            other = self.start_php_fpm(stack)
            pool = self.make_pool(self.fpm, other, max_in_flight=4, queue=1000)
            for action in (lambda: None, other.stop, other.start):
                action()
                stdins = [b"%d" % number for number in range(40)]
                asked = [self.ask(pool, "mirror.php", stdin) for stdin in stdins]
                self.assertEqual([body(r) for r in await gatherResults(asked)], stdins)
            self.assertEqual(pool.errors, {})
            await pool.stop()

    async def test_a_full_unix_backlog_is_busy_after_four_tries_and_no_busy_loop(self):
        path = os.path.join(self.make_folder(), "full.sock")
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as filler:
            listener.bind(path)
            listener.listen(0)
            filler.connect(path)
            await self.check_busy(UNIXEndpoint(reactor, lambda: path))
            await self.check_busy(UNIXClientEndpoint(reactor, path))

    async def check_busy(self, endpoint):
        counting = CountingEndpoint(endpoint)
        backend = Backend("full", counting)
        pool = self.clean_up(lambda clock: ConnectionPool(clock, [backend]))
        before = cpu_seconds()
        with self.assertRaises(BackendBusy):
            await self.ask(pool, "mirror.php")
        self.assertLess(cpu_seconds() - before, 0.15)
        self.assertEqual(counting.connects, 4)
        self.assertEqual(backend.breaker.refusals, 0)
        self.assertEqual(repr(backend), "<Backend full: 0 connections>")

    async def test_a_backlog_that_overflows_refuses_some_and_runs_each_other_once(self):
        with contextlib.ExitStack() as stack:
            fpm = self.start_php_fpm(stack, workers=1, fpm={"listen.backlog": "1"})
            pool = self.make_pool(fpm, max_in_flight=40)
            path = fpm.script_path("short.php")
            asked = [pool.request(Request(params(path), b"")) for _ in range(40)]
            outcomes = await DeferredList(asked, consumeErrors=True)
            good = [result for success, result in outcomes if success]
            failed = [result.value for success, result in outcomes if not success]
            self.assertTrue(good)
            self.assertTrue(failed)
            self.assertTrue(all(isinstance(r, Response) and body(r) == b"done" for r in good))
            self.assertTrue(all(isinstance(error, BackendBusy) for error in failed), failed)
            ran = Path(path + ".ran").read_text().split()
            self.assertEqual(len(ran), len(good))
            await pool.stop()

    async def test_workers_that_end_after_a_few_requests_lose_none(self):
        with contextlib.ExitStack() as stack:
            fpm = self.start_php_fpm(stack, fpm={"pm.max_requests": "3"})
            pool = self.make_pool(fpm, queue=1000)
            stdins = [b"%d" % number for number in range(100)]
            asked = [self.ask(pool, "mirror.php", stdin) for stdin in stdins]
            self.assertEqual([body(r) for r in await gatherResults(asked)], stdins)
            await pool.stop()

    async def test_no_file_descriptors_left_is_not_sent_and_passes(self):
        pool = self.make_pool()
        await self.sleep(0)  # the reactor itself opens files when it starts
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with self.assertRaises(NotSent):
                await self.ask(pool, "mirror.php", b"1")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(body(await self.ask(pool, "mirror.php", b"2")), b"2")


class TwistedAvailabilityTests(AvailabilityTests):
    """The same through Twisted's own client, which any endpoint string may name."""

    twisted_client = True


class CountingEndpoint:
    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.connects = 0

    def connect(self, factory):
        self.connects += 1
        return self.endpoint.connect(factory)


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
