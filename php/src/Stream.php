<?php

declare(strict_types=1);

namespace Wsgate;

use Wsgate\Exception\AlreadySent;
use Wsgate\Exception\InvalidValue;
use Wsgate\Internal\Output;

/**
 * An answer in many messages, each of them out at the client the moment it is sent. Behind the last one
 * wsgate tells the client that this was all: {"stream":"end",...}.
 *
 *     $stream = Stream::lines();
 *     foreach ($model->tokens($prompt) as $token) {
 *         $stream->send(['token' => $token]);
 *     }
 */
final class Stream
{
    private function __construct(private readonly bool $isLines)
    {
    }

    /**
     * Each message is one line of text.
     *
     * @param ?Answer $with what else shall happen, as Answer::nothing()->subscribe('room1')
     * @throws AlreadySent something was printed before
     */
    public static function lines(?Answer $with = null): self
    {
        return self::begin('lines', 'text/plain; charset=utf-8', $with);
    }

    /**
     * Each message is what was sent at once, line ends and all; beyond 64 KiB it becomes several.
     *
     * @param ?Answer $with what else shall happen
     * @param string $contentType decides between text and binary messages
     * @throws AlreadySent something was printed before
     */
    public static function parts(
        ?Answer $with = null,
        string $contentType = 'text/plain; charset=utf-8',
    ): self {
        return self::begin('parts', $contentType, $with);
    }

    /**
     * One message.
     *
     * @param string|array<mixed>|\JsonSerializable $message a string is text, an array becomes JSON
     * @return bool false: the client is gone, and there is no more use in going on
     * @throws InvalidValue a line with a line end in it, or not UTF-8; use parts()
     */
    public function send(string|array|\JsonSerializable $message): bool
    {
        // Bytes are no error in a part, whose Content-Type says whether it is text.
        $text = is_string($message) && !$this->isLines ? $message : Message::of($message)->payload;
        if ($this->isLines && strpbrk($text, "\r\n") !== false) {
            throw new InvalidValue('a line cannot have a line end in it; use Stream::parts() or JSON');
        }
        echo $this->isLines ? "$text\n" : $text;
        flush();
        return connection_aborted() === 0;
    }

    /**
     * A message for each item, as a generator gives them, until the client is gone.
     *
     * @param iterable<string|array<mixed>|\JsonSerializable> $messages
     */
    public function sendAll(iterable $messages): bool
    {
        foreach ($messages as $message) {
            if (!$this->send($message)) {
                return false;
            }
        }
        return true;
    }

    private static function begin(string $kind, string $contentType, ?Answer $with): self
    {
        Output::begin(200, [
            ...($with?->headers() ?? []),
            'Content-Type' => [$contentType],
            'Wsgate-Stream' => [$kind],
        ]);
        // PHP would collect 4 KiB (output_buffering) before it lets go of anything.
        while (ob_get_level() > 0 && ob_end_flush()) {
        }
        return new self($kind === 'lines');
    }
}
