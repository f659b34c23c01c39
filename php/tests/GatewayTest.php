<?php

declare(strict_types=1);

namespace Wsgate\Tests;

use Wsgate\Exception\InvalidValue;
use Wsgate\Exception\NoAnswer;
use Wsgate\Exception\Refused;
use Wsgate\Exception\Unreachable;
use Wsgate\Gateway;
use Wsgate\Message;

/**
 * A server in a process of its own, which gives one scripted answer to each request, on a UNIX socket.
 *
 * What it heard is in a file. An answer of '' is none: it closes.
 */
final class Server
{
    public readonly string $endpoint;
    private readonly string $folder;
    private int $child;

    /** @param list<list<string>> $connections the answers on each of its connections, in order */
    public function __construct(array $connections, int $linger = 0)
    {
        $this->folder = sys_get_temp_dir() . '/wsgate-php-' . bin2hex(random_bytes(6));
        mkdir($this->folder, 0700);
        $this->endpoint = "unix:{$this->folder}/socket";
        $listener = stream_socket_server("unix://{$this->folder}/socket");
        $this->child = pcntl_fork();
        if ($this->child === 0) {
            try {
                foreach ($connections as $answers) {
                    $this->serve(stream_socket_accept($listener, 5), $answers);
                }
                sleep($linger);
            } finally {
                // Neither the destructor nor the other tests: they are the parent's.
                posix_kill((int) getmypid(), SIGKILL);
            }
        }
        fclose($listener);
    }

    public function __destruct()
    {
        posix_kill($this->child, SIGKILL);
        pcntl_waitpid($this->child, $status);
        array_map(unlink(...), glob("{$this->folder}/*") ?: []);
        rmdir($this->folder);
    }

    public function heard(): string
    {
        return (string) @file_get_contents("{$this->folder}/heard");
    }

    /** @param list<string> $answers */
    private function serve(mixed $socket, array $answers): void
    {
        foreach ($answers as $answer) {
            $length = 0;
            $text = '';
            while (($line = fgets($socket)) !== false) {
                $text .= $line;
                $length = stripos($line, 'Content-Length:') === 0 ? (int) substr($line, 15) : $length;
                if ($line === "\r\n") {
                    break;
                }
            }
            if ($text === '') {
                break;
            }
            $text .= $length > 0 ? stream_get_contents($socket, $length) : '';
            file_put_contents("{$this->folder}/heard", "$text\n", FILE_APPEND);
            fwrite($socket, $answer);
        }
        fclose($socket);
    }
}

function http(string $body, string $status = '200 OK', string ...$headers): string
{
    $lines = ["HTTP/1.1 $status", 'Content-Length: ' . strlen($body), ...$headers];
    return implode("\r\n", $lines) . "\r\n\r\n$body";
}

test('a message to a user is one request, and its answer a count', function (): void {
    $server = new Server([[http('{"delivered":2}')]]);
    same(2, (new Gateway($server->endpoint))->sendToUser('Ada Löve', ['a' => 1]));
    $heard = $server->heard();
    same(true, str_starts_with($heard, "POST /users/Ada%20L%C3%B6ve HTTP/1.1\r\nHost: localhost\r\n"));
    same(true, str_contains($heard, "\r\nContent-Type: application/json\r\n"));
    same(true, str_ends_with($heard, "\r\n\r\n{\"a\":1}\n"));
    same(false, str_contains($heard, 'Authorization'));
});

test('the connection is kept for the next call, and made anew where it was closed', function (): void {
    $ok = http('{"delivered":1}');
    $server = new Server([[$ok, $ok], [$ok]]);
    $gateway = new Gateway($server->endpoint, 'a-token-of-24-characters');
    same(1, $gateway->publish('room', 'x'));
    same(1, $gateway->publish('room', Message::binary("\0"), except: ID));
    usleep(50_000);
    same(1, $gateway->publish('room', 'y'));
    $heard = $server->heard();
    same(3, substr_count($heard, "Authorization: Bearer a-token-of-24-characters\r\n"));
    same(true, str_contains($heard, 'POST /channels/room?except=' . ID . ' HTTP/1.1'));
    same(true, str_contains($heard, "Content-Type: application/octet-stream\r\n"));
});

test('what is gone is false, and a wrong path is not', function (): void {
    $gone = http('{"error":{"status":404,"reason":"no such connection"}}', '404 Not Found');
    $server = new Server([[$gone, $gone, $gone, $gone, $gone, $gone]]);
    $gateway = new Gateway($server->endpoint);
    same(false, $gateway->sendToConnection(ID, 'x'));
    same(false, $gateway->close(ID, 4000, 'a b&c'));
    same(false, $gateway->subscribe(ID, 'room'));
    same(false, $gateway->unsubscribe(ID, 'room'));
    same(null, $gateway->connection(ID));
    throws(Refused::class, fn () => $gateway->publish('room', 'x'), '404');
    same(true, str_contains($server->heard(), 'DELETE /connections/' . ID . '?code=4000&reason=a%20b%26c '));
    same(true, str_contains($server->heard(), 'PUT /connections/' . ID . '/channels/room HTTP/1.1'));
});

test('presence is a count, and names where asked for', function (): void {
    $answer = http('{"channel":"room","subscribers":3,"users":["ada","bob"]}');
    $server = new Server([[$answer]]);
    $channel = (new Gateway($server->endpoint))->channel('room', users: true);
    same([3, ['ada', 'bob']], [$channel->subscribers, $channel->users]);
    same(true, str_contains($server->heard(), 'GET /channels/room?users=1 HTTP/1.1'));
});

test('a no has its status and reason', function (): void {
    $server = new Server([[http('{"error":{"status":401,"reason":"a token is needed"}}', '401 No')]]);
    $refused = throws(Refused::class, fn () => (new Gateway($server->endpoint))->sendToUser('a', 'b'));
    same('401: a token is needed', $refused->getMessage());
    same(401, $refused->status);
});

test('an answer may come in chunks, and after a 100', function (): void {
    $server = new Server([[
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        . "5\r\n{\"del\r\nA\r\nivered\":7}\r\n0\r\n\r\n",
        http('{"delivered":8}', '200 OK', 'Connection: close'),
    ]]);
    $gateway = new Gateway($server->endpoint);
    same(7, $gateway->publish('room', 'x'));
    same(8, $gateway->publish('room', 'x'));
});

test('nobody there, no answer and half an answer are told apart', function (): void {
    throws(Unreachable::class, fn () => (new Gateway('unix:/nowhere/socket'))->publish('a', 'b'));
    $closes = new Server([['']]);
    throws(NoAnswer::class, fn () => (new Gateway($closes->endpoint))->publish('a', 'b'), 'closed');
    $late = new Server([[http('{"error":{"status":504,"reason":"too late"}}', '504 Late')]]);
    throws(NoAnswer::class, fn () => (new Gateway($late->endpoint))->publish('a', 'b'), 'too late');
    $half = new Server([["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]]);
    throws(NoAnswer::class, fn () => (new Gateway($half->endpoint))->publish('a', 'b'), 'closed');
    $other = new Server([["SSH-2.0\r\n\r\n"]]);
    throws(NoAnswer::class, fn () => (new Gateway($other->endpoint))->publish('a', 'b'), 'not HTTP');
});

test('a call ends with its timeout', function (): void {
    // Never accepted: the kernel takes the connection, nobody answers.
    $silent = new Server([], linger: 5);
    throws(
        NoAnswer::class,
        fn () => (new Gateway($silent->endpoint, timeout: 0.2))->publish('a', 'b'),
        'within 0.2 s',
    );
});

test('an endless answer is not taken', function (): void {
    $server = new Server([["HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"]]);
    throws(NoAnswer::class, fn () => (new Gateway($server->endpoint))->publish('a', 'b'), 'too large');
    $server = new Server([["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"]]);
    throws(NoAnswer::class, fn () => (new Gateway($server->endpoint))->publish('a', 'b'), 'too large');
});

test('endpoints are written as --control has them, or as URLs', function (): void {
    foreach (['unix:/run/a.sock', 'unix:///run/a.sock', 'unix:/run/a.sock:mode=660'] as $good) {
        same('unix:///run/a.sock', \Wsgate\Internal\Endpoint::parse($good)->address);
    }
    $made = \Wsgate\Internal\Endpoint::parse('http://127.0.0.1:9100');
    same(['tcp://127.0.0.1:9100', '127.0.0.1:9100'], [$made->address, $made->host]);
    same('tls://[::1]:443', \Wsgate\Internal\Endpoint::parse('https://[::1]')->address);
    foreach (['', 'unix:', 'unix:relative', 'ftp://a', "http://a\r\nb", 'http://a/path', 'tcp:9100'] as $bad) {
        throws(InvalidValue::class, fn () => new Gateway($bad), 'is no control interface');
    }
});

test('all connections of a user are closed, and counted', function (): void {
    $server = new Server([[http('{"closed":3}')]]);
    same(3, (new Gateway($server->endpoint))->disconnectUser('42', 4001));
});

test('no name can leave its place in the path or the header', function (): void {
    $gateway = new Gateway('unix:/nowhere/socket');
    foreach (['../users/1', "a\r\nb", '', 'a/b', 'a?b', 'a#b'] as $evil) {
        throws(InvalidValue::class, fn () => $gateway->publish($evil, 'x'));
        throws(InvalidValue::class, fn () => $gateway->sendToConnection($evil, 'x'));
        throws(InvalidValue::class, fn () => $gateway->publish('room', 'x', except: $evil));
    }
    throws(InvalidValue::class, fn () => $gateway->sendToUser("a\nb", 'x'));
    throws(InvalidValue::class, fn () => $gateway->sendToUser('a', "\xff"), 'UTF-8');
    throws(InvalidValue::class, fn () => new Gateway('unix:/a', "token\r\nX: y"));
});
