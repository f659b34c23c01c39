<?php

declare(strict_types=1);

namespace Wsgate\Internal;

use Wsgate\Exception\InvalidValue;

/**
 * Where the control interface listens.
 *
 * @internal
 */
final class Endpoint
{
    private function __construct(
        /** as stream_socket_client() takes it */
        public readonly string $address,
        /** for the Host header */
        public readonly string $host,
    ) {
    }

    /**
     * @param string $text `unix:/path`, as wsgate's --control takes it, or `http://host:port`, or `https://`
     * @throws InvalidValue
     */
    public static function parse(string $text): self
    {
        if (preg_match('~\Aunix:(?://)?(/[^:\x00-\x1f]+)(?::\w+=[^:]*)*\z~', $text, $found)) {
            return new self("unix://{$found[1]}", 'localhost');
        }
        if (preg_match('~\A(https?)://(\[[0-9a-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?/?\z~i', $text, $found)) {
            $isSecure = strtolower($found[1]) === 'https';
            $port = $found[3] ?? ($isSecure ? '443' : '80');
            return new self(($isSecure ? 'tls' : 'tcp') . "://{$found[2]}:$port", "{$found[2]}:$port");
        }
        throw new InvalidValue(
            Check::shown($text) . ' is no control interface: unix:/run/wsgate/control.sock, or '
            . 'http://127.0.0.1:9100'
        );
    }
}
