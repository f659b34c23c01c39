<?php

declare(strict_types=1);

namespace Wsgate;

use Wsgate\Exception\InvalidValue;
use Wsgate\Internal\Check;

/** One WebSocket message on its way to a client: text, JSON (which is text too) or bytes. */
final class Message
{
    private function __construct(
        public readonly string $payload,
        public readonly string $contentType,
    ) {
    }

    /** @throws InvalidValue it is not UTF-8, which a text message must be */
    public static function text(string $text): self
    {
        if (!Check::isUtf8($text)) {
            throw new InvalidValue('a text message must be UTF-8; send bytes with binary()');
        }
        return new self($text, 'text/plain; charset=utf-8');
    }

    /** @throws InvalidValue it cannot be written as JSON */
    public static function json(mixed $value): self
    {
        try {
            $json = json_encode(
                $value,
                JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE
            );
        } catch (\JsonException $error) {
            throw new InvalidValue('cannot be written as JSON: ' . $error->getMessage(), 0, $error);
        }
        return new self($json, 'application/json');
    }

    public static function binary(string $bytes): self
    {
        return new self($bytes, 'application/octet-stream');
    }

    /**
     * A string is text, an array or a JsonSerializable becomes JSON, a Message is what it is.
     *
     * @param string|array<mixed>|\JsonSerializable|self $message
     */
    public static function of(string|array|\JsonSerializable|self $message): self
    {
        return match (true) {
            $message instanceof self => $message,
            is_string($message) => self::text($message),
            default => self::json($message),
        };
    }
}
