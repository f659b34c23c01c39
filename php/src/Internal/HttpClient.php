<?php

declare(strict_types=1);

namespace Wsgate\Internal;

use Wsgate\Exception\GatewayException;
use Wsgate\Exception\NoAnswer;
use Wsgate\Exception\Unreachable;

/**
 * As much of HTTP/1.1 as one server needs: a request at a time, on one connection that is kept open.
 *
 * @internal
 */
final class HttpClient
{
    /** Shorter than the server's own patience, so that it never closes what is just being used. */
    private const IDLE_SECONDS = 10;
    private const LARGEST_ANSWER = 16 * 1024 * 1024;

    /** @var ?resource */
    private $socket = null;
    private float $deadline = 0.0;
    private float $lastUse = 0.0;
    private string $unread = '';

    public function __construct(private readonly Endpoint $endpoint, private readonly float $timeout)
    {
    }

    /**
     * One request and its whole answer, within the timeout.
     *
     * @param list<string> $headers
     * @return array{int, string} status and body
     * @throws GatewayException
     */
    public function request(string $method, string $target, array $headers, string $body): array
    {
        $this->deadline = self::now() + $this->timeout;
        try {
            $this->connect();
            $head = [
                "$method $target HTTP/1.1",
                "Host: {$this->endpoint->host}",
                'Content-Length: ' . strlen($body),
                ...$headers,
            ];
            $this->write(implode("\r\n", $head) . "\r\n\r\n" . $body);
            $answer = $this->read();
        } catch (GatewayException $error) {
            $this->disconnect();
            throw $error;
        }
        $this->lastUse = self::now();
        return $answer;
    }

    private function connect(): void
    {
        if ($this->socket !== null) {
            if (!$this->isStale()) {
                return;
            }
            $this->disconnect();
        }
        $this->socket = $this->open();
    }

    /** @return resource */
    private function open()
    {
        $warnings = [];
        // Of TLS nothing but a warning says what is wrong.
        set_error_handler(static function (int $level, string $message) use (&$warnings): bool {
            $warnings[] = $message;
            return true;
        });
        try {
            $socket = stream_socket_client($this->endpoint->address, $code, $error, $this->left());
        } finally {
            restore_error_handler();
        }
        if ($socket === false) {
            $reason = $error !== '' ? $error : implode('; ', $warnings);
            throw new Unreachable("{$this->endpoint->address}: " . preg_replace('/\s+/', ' ', $reason));
        }
        stream_set_blocking($socket, false);
        return $socket;
    }

    /** Whether the server has closed it meanwhile, or may do so any moment. */
    private function isStale(): bool
    {
        if (self::now() - $this->lastUse > self::IDLE_SECONDS) {
            return true;
        }
        // Nothing was asked: what can be read now is the end.
        return fread($this->stream(), 1) !== '' || feof($this->stream());
    }

    private function disconnect(): void
    {
        if ($this->socket !== null) {
            fclose($this->socket);
        }
        $this->socket = null;
        $this->unread = '';
    }

    private function write(string $bytes): void
    {
        while ($bytes !== '') {
            // A notice says "broken pipe"; the server may have answered before it went away.
            $count = @fwrite($this->stream(), $bytes);
            if ($count === false) {
                return;
            }
            $bytes = substr($bytes, $count);
            if ($bytes !== '') {
                $this->wait(isReading: false);
            }
        }
    }

    /** @return array{int, string} */
    private function read(): array
    {
        do {
            $head = $this->readUntil("\r\n\r\n");
            if (!preg_match('~\AHTTP/1\.[01] (\d{3})[ \r]~', "$head\r", $found)) {
                throw new NoAnswer("{$this->endpoint->address}: this is not HTTP");
            }
            $status = (int) $found[1];
            // RFC 9110 §15.2: those of 100 to 199 come before the answer.
        } while ($status < 200);
        $body = $this->readBody($status, $head);
        if (self::field($head, 'connection') === 'close') {
            $this->disconnect();
        }
        return [$status, $body];
    }

    private function readBody(int $status, string $head): string
    {
        if ($status === 204 || $status === 304) {
            return '';
        }
        if (self::field($head, 'transfer-encoding') === 'chunked') {
            return $this->readChunks();
        }
        $length = self::field($head, 'content-length');
        if ($length === null || !ctype_digit($length)) {
            throw new NoAnswer("{$this->endpoint->address}: an answer without its length");
        }
        return $this->readExactly((int) $length);
    }

    private function readChunks(): string
    {
        $body = '';
        do {
            $size = hexdec($this->readUntil("\r\n"));
            $this->keepWithin(strlen($body) + $size);
            $body .= $this->readExactly((int) $size);
            $this->readUntil("\r\n");
        } while ($size > 0);
        return $body;
    }

    private static function field(string $head, string $name): ?string
    {
        return preg_match("~^$name:[ \t]*([^\r\n]*?)[ \t]*\r?$~mi", $head, $found)
            ? strtolower($found[1]) : null;
    }

    private function readUntil(string $end): string
    {
        while (($at = strpos($this->unread, $end)) === false) {
            $this->readMore();
        }
        $text = substr($this->unread, 0, $at);
        $this->unread = substr($this->unread, $at + strlen($end));
        return $text;
    }

    private function readExactly(int $count): string
    {
        $this->keepWithin($count);
        while (strlen($this->unread) < $count) {
            $this->readMore();
        }
        $bytes = substr($this->unread, 0, $count);
        $this->unread = substr($this->unread, $count);
        return $bytes;
    }

    private function readMore(): void
    {
        while (($bytes = (string) fread($this->stream(), 65536)) === '') {
            if (feof($this->stream())) {
                throw new NoAnswer("{$this->endpoint->address}: closed before it answered");
            }
            $this->wait(isReading: true);
        }
        $this->unread .= $bytes;
        $this->keepWithin(strlen($this->unread));
    }

    private function keepWithin(int|float $size): void
    {
        if ($size > self::LARGEST_ANSWER) {
            throw new NoAnswer("{$this->endpoint->address}: the answer is too large");
        }
    }

    private function wait(bool $isReading): void
    {
        $reading = $isReading ? [$this->stream()] : null;
        $writing = $isReading ? null : [$this->stream()];
        $none = null;
        $left = $this->left();
        $seconds = (int) $left;
        // A signal ends it early, with a warning; whoever waits looks again.
        $ready = @stream_select($reading, $writing, $none, $seconds, (int) (($left - $seconds) * 1e6));
        if ($ready === 0 || self::now() > $this->deadline) {
            throw new NoAnswer("{$this->endpoint->address}: no answer within {$this->timeout} s");
        }
    }

    private function left(): float
    {
        return max(0.001, $this->deadline - self::now());
    }

    private static function now(): float
    {
        return hrtime(true) / 1e9;
    }

    /** @return resource */
    private function stream()
    {
        return $this->socket ?? throw new NoAnswer('not connected');
    }
}
