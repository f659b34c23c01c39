<?php

declare(strict_types=1);

namespace Wsgate;

use Wsgate\Exception\InvalidValue;
use Wsgate\Exception\NotFromWsgate;

/** What happened on one connection: the reason why this script runs. */
final class Event
{
    /**
     * @param string $connectionId 32 hexadecimal digits, the same for all events of a connection
     * @param ?string $messageId set for a message: the connection's id, a colon, and its number from 1
     * @param ?string $user as bound by an earlier answer; null: none
     * @param ?string $subprotocol as agreed on with the client; null: none
     * @param bool $isBinary whether the message is bytes; false for text and for other events
     * @param ?int $sequence microseconds since 1970 when the connection came: of two connections of a
     *                       user, the one with the greater is the later; null on routes without connect
     *                       and disconnect
     * @param ?int $closeCode set for a disconnect; 1006: lost without a goodbye, 1005: without a code
     * @param ?string $closeReason set for a disconnect; often empty
     * @param bool $wasAccepted false for a disconnect of which nobody knows any more whether the
     *                          connect was answered, because wsgate or PHP was killed meanwhile
     * @param int $attempt from 2 on, PHP may have had this disconnect before; 1 for other events
     * @param array<string, string> $variables by their name in capitals
     */
    private function __construct(
        public readonly EventType $type,
        public readonly string $connectionId,
        public readonly ?string $messageId,
        public readonly ?string $user,
        public readonly ?string $subprotocol,
        public readonly bool $isBinary,
        public readonly ?int $sequence,
        public readonly ?int $closeCode,
        public readonly ?string $closeReason,
        public readonly bool $wasAccepted,
        public readonly int $attempt,
        private readonly array $variables,
        private ?string $body,
    ) {
    }

    /**
     * The event of this request. The message is read when it is asked for.
     *
     * @throws NotFromWsgate this script runs for an ordinary HTTP request, or on the command line
     */
    public static function fromGlobals(): self
    {
        return self::from($_SERVER, null);
    }

    /**
     * An event of given values, for tests and for frameworks that hide the globals.
     *
     * @param array<array-key, mixed> $server like $_SERVER
     * @param ?string $body the message; null: read it from php://input
     * @throws NotFromWsgate
     */
    public static function from(array $server, ?string $body = ''): self
    {
        $type = EventType::tryFrom(self::string($server, 'WSGATE_EVENT') ?? '');
        $connectionId = self::string($server, 'WSGATE_CONNECTION_ID');
        if ($type === null || $connectionId === null) {
            throw new NotFromWsgate('WSGATE_EVENT is missing: only wsgate starts this script');
        }
        $isDisconnect = $type === EventType::Disconnect;
        $sequence = self::string($server, 'WSGATE_SEQUENCE');
        return new self(
            $type,
            $connectionId,
            self::string($server, 'WSGATE_MESSAGE_ID'),
            self::string($server, 'WSGATE_USER'),
            self::string($server, 'WSGATE_SUBPROTOCOL'),
            self::string($server, 'WSGATE_OPCODE') === 'binary',
            $sequence === null ? null : (int) $sequence,
            $isDisconnect ? (int) self::string($server, 'WSGATE_CLOSE_CODE') : null,
            $isDisconnect ? self::string($server, 'WSGATE_CLOSE_REASON') ?? '' : null,
            self::string($server, 'WSGATE_ACCEPTED') !== 'unknown',
            (int) (self::string($server, 'WSGATE_ATTEMPT') ?? 1),
            self::variables($server),
            $body,
        );
    }

    public function isConnect(): bool
    {
        return $this->type === EventType::Connect;
    }

    public function isMessage(): bool
    {
        return $this->type === EventType::Message;
    }

    public function isDisconnect(): bool
    {
        return $this->type === EventType::Disconnect;
    }

    /** What an earlier answer of this connection set; null: nothing. The name's case is all one. */
    public function variable(string $name): ?string
    {
        return $this->variables[strtoupper($name)] ?? null;
    }

    /**
     * The message as text, which is valid UTF-8; empty for other events.
     *
     * @throws InvalidValue the client sent bytes
     */
    public function text(): string
    {
        if ($this->isBinary) {
            throw new InvalidValue('the message is binary, not text');
        }
        return $this->bytes();
    }

    /** The message, text or not, as it came; empty for other events. */
    public function bytes(): string
    {
        return $this->body ??= (string) file_get_contents('php://input');
    }

    /**
     * What the message says in JSON; objects become arrays.
     *
     * @throws InvalidValue it is not JSON
     */
    public function json(): mixed
    {
        try {
            return json_decode($this->text(), true, 512, JSON_THROW_ON_ERROR);
        } catch (\JsonException $error) {
            throw new InvalidValue('the message is not JSON: ' . $error->getMessage(), 0, $error);
        }
    }

    /** @param array<array-key, mixed> $server */
    private static function string(array $server, string $name): ?string
    {
        $value = $server[$name] ?? null;
        return is_string($value) && $value !== '' ? $value : null;
    }

    /**
     * @param array<array-key, mixed> $server
     * @return array<string, string>
     */
    private static function variables(array $server): array
    {
        $found = [];
        foreach ($server as $name => $value) {
            if (is_string($name) && is_string($value) && str_starts_with($name, 'WSGATE_VAR_')) {
                $found[substr($name, 11)] = $value;
            }
        }
        return $found;
    }
}
