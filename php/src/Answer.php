<?php

declare(strict_types=1);

namespace Wsgate;

use Wsgate\Exception\AlreadySent;
use Wsgate\Exception\InvalidValue;
use Wsgate\Internal\Check;
use Wsgate\Internal\Output;

/**
 * What the script says: a message or none, and what shall happen to the connection.
 *
 * Each method gives the same answer back, so that calls can follow one another; send() ends them.
 * wsgate does it all in this order: variables, user, unsubscribe, subscribe, publish, the message, the
 * close. A framework with responses of its own takes status(), headers() and body() instead of send().
 */
final class Answer
{
    /** @var array<string, list<string>> values by the header's name */
    private array $headers = [];

    private function __construct(private readonly int $status, private ?Message $message = null)
    {
    }

    /** @throws InvalidValue it is not UTF-8 */
    public static function text(string $text): self
    {
        return new self(200, Message::text($text));
    }

    /** @throws InvalidValue it cannot be written as JSON */
    public static function json(mixed $value): self
    {
        return new self(200, Message::json($value));
    }

    public static function binary(string $bytes): self
    {
        return new self(200, Message::binary($bytes));
    }

    /** No message; only what the further calls ask for. Right for a disconnect too. */
    public static function nothing(): self
    {
        return new self(204);
    }

    /** To a connect: let the client in. text(), json() and binary() do so too, with a first message. */
    public static function accept(): self
    {
        return new self(204);
    }

    /**
     * To a connect: turn the client away. Programs see status and text, pages in browsers only a 1006.
     *
     * @param int $status 400 to 599
     * @throws InvalidValue another status
     */
    public static function reject(int $status = 403, string $text = ''): self
    {
        if ($status < 400 || $status > 599) {
            throw new InvalidValue("$status does not refuse; take 400 to 599, as 401 or 403");
        }
        return new self($status, Message::text($text));
    }

    /**
     * Make this connection a listener of a channel; more than once is the same as once.
     *
     * @param bool $recover deliver the channel's messages in envelopes, and first those that were
     *                      missed since `?last=EPOCH:OFFSET` of the URL (docs/channels.md)
     */
    public function subscribe(string $channel, bool $recover = false): self
    {
        return $this->add('Wsgate-Subscribe', Check::channel($channel) . ($recover ? '; recover' : ''));
    }

    public function unsubscribe(string ...$channels): self
    {
        foreach ($channels as $channel) {
            $this->add('Wsgate-Unsubscribe', Check::channel($channel));
        }
        return $this;
    }

    /**
     * Send the message to all who listen to these channels, instead of to this client alone.
     *
     * @param string|list<string> $channels one or several
     * @param bool $exceptSelf leave this connection out, even if it listens
     * @throws InvalidValue no channel, or there is no message to publish
     */
    public function publish(string|array $channels, bool $exceptSelf = false): self
    {
        $names = array_map(Check::channel(...), (array) $channels);
        if ($names === [] || $this->message === null || $this->status !== 200) {
            throw new InvalidValue('publish() needs a channel, and a message: Answer::text(), json()');
        }
        return $this->add('Wsgate-Publish', implode(', ', $names) . ($exceptSelf ? '; except-self' : ''));
    }

    /** From now on this connection is one of that user's; an empty one is nobody's. */
    public function setUser(string $user): self
    {
        return $this->set('Wsgate-User', $user === '' ? '' : Check::user($user));
    }

    /**
     * Keep a value on the connection: Event::variable() has it from the next event on. Empty: forget.
     *
     * @param string $name a letter, then letters, digits or _; its case is all one
     * @param string $value printable; what is not can go through rawurlencode(), JSON or base64_encode()
     */
    public function setVariable(string $name, string $value): self
    {
        return $this->add('Wsgate-Set', Check::variable($name) . '=' . Check::variableValue($value));
    }

    /**
     * Close the connection, after the message.
     *
     * @param int $code 4000 to 4999 are yours; 1000 is "done"
     * @param string $reason 123 bytes of UTF-8 at most
     */
    public function close(int $code = 1000, string $reason = ''): self
    {
        $value = Check::closeCode($code) . rtrim(' ' . Check::closeReason($reason));
        return $this->set('Wsgate-Close', $value);
    }

    /** To a connect: which of the subprotocols that the client offered is spoken. */
    public function subprotocol(string $name): self
    {
        return $this->set('Sec-WebSocket-Protocol', Check::token($name, 'subprotocol'));
    }

    /**
     * To a connect: give the browser a cookie. Unless told otherwise it is for the whole site, HttpOnly,
     * SameSite=Lax, and Secure where the connection is.
     *
     * @param array<string, string|int|bool> $attributes others, as ['Max-Age' => 3600, 'HttpOnly' => false]
     */
    public function cookie(string $name, string $value, array $attributes = []): self
    {
        $isSecure = ($_SERVER['HTTPS'] ?? '') === 'on';
        $attributes += ['Path' => '/', 'HttpOnly' => true, 'SameSite' => 'Lax', 'Secure' => $isSecure];
        $line = Check::token($name, 'cookie') . '=' . rawurlencode($value);
        foreach ($attributes as $attribute => $held) {
            if (str_contains((string) $held, ';')) {
                throw new InvalidValue("cookie $name: $attribute has a semicolon in it");
            }
            if ($held !== false) {
                $line .= '; ' . Check::token($attribute, "cookie $name") . ($held === true ? '' : "=$held");
            }
        }
        return $this->add('Set-Cookie', Check::headerValue($line, "cookie $name"));
    }

    public function status(): int
    {
        return $this->status;
    }

    /** @return array<string, list<string>> the values of each header, as frameworks take them */
    public function headers(): array
    {
        $type = $this->message === null ? [] : ['Content-Type' => [$this->message->contentType]];
        return $type + $this->headers;
    }

    public function body(): string
    {
        return $this->message->payload ?? '';
    }

    /**
     * Give the answer. The script may go on, but not print anything.
     *
     * @throws AlreadySent something was printed or sent before, and would be a part of the message
     */
    public function send(): void
    {
        Output::begin($this->status, $this->headers());
        echo $this->body();
    }

    private function add(string $name, string $value): self
    {
        $this->headers[$name][] = $value;
        return $this;
    }

    /** The last call counts. */
    private function set(string $name, string $value): self
    {
        $this->headers[$name] = [$value];
        return $this;
    }
}
