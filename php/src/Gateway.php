<?php

declare(strict_types=1);

namespace Wsgate;

use Wsgate\Exception\GatewayException;
use Wsgate\Exception\InvalidValue;
use Wsgate\Exception\NoAnswer;
use Wsgate\Exception\Refused;
use Wsgate\Exception\Unreachable;
use Wsgate\Internal\Check;
use Wsgate\Internal\Endpoint;
use Wsgate\Internal\HttpClient;

/**
 * wsgate's control interface: reaches any client at any time, from a request, a cron job or a worker.
 *
 * Each call is one request, answered from memory. All of them throw InvalidValue for a name that wsgate
 * would not take, Unreachable where nothing was sent, NoAnswer where nobody knows, Refused for a no.
 */
final class Gateway
{
    private readonly HttpClient $http;

    /**
     * @param string $endpoint `unix:/run/wsgate/control.sock`, as --control has it, or
     *                         `http://127.0.0.1:9100`, or `https://...`
     * @param ?string $token what the file of --control-token-file holds; a UNIX socket needs none
     * @param float $timeout seconds that a call may take
     * @throws InvalidValue
     */
    public function __construct(
        string $endpoint = 'unix:/run/wsgate/control.sock',
        #[\SensitiveParameter]
        private readonly ?string $token = null,
        float $timeout = 2.0,
    ) {
        if ($token !== null) {
            Check::headerValue($token, 'the bearer token');
        }
        $this->http = new HttpClient(Endpoint::parse($endpoint), $timeout);
    }

    /**
     * One message to one connection.
     *
     * @param string|array<mixed>|\JsonSerializable|Message $message a string is text, an array JSON
     * @return bool false: the connection is gone
     * @throws GatewayException
     */
    public function sendToConnection(
        string $id,
        string|array|\JsonSerializable|Message $message,
    ): bool {
        return $this->ask('POST', self::connectionPath($id), $message) !== null;
    }

    /**
     * One message to all who listen to a channel.
     *
     * @param string|array<mixed>|\JsonSerializable|Message $message a string is text, an array JSON
     * @param ?string $except the id of a connection that does not get it
     * @return int how many got it
     * @throws GatewayException
     */
    public function publish(
        string $channel,
        string|array|\JsonSerializable|Message $message,
        ?string $except = null,
    ): int {
        $query = $except === null ? '' : '?except=' . Check::connectionId($except);
        return self::count($this->call('POST', self::channelPath($channel) . $query, $message));
    }

    /**
     * One message to all connections of a user.
     *
     * @param string|array<mixed>|\JsonSerializable|Message $message a string is text, an array JSON
     * @return int how many connections got it; 0: the user is not here
     * @throws GatewayException
     */
    public function sendToUser(
        string $user,
        string|array|\JsonSerializable|Message $message,
    ): int {
        return self::count($this->call('POST', self::userPath($user), $message));
    }

    /**
     * Close one connection.
     *
     * @return bool false: it is gone already
     * @throws GatewayException
     */
    public function close(string $id, int $code = 1000, string $reason = ''): bool
    {
        $target = self::connectionPath($id) . self::goodbye($code, $reason);
        return $this->ask('DELETE', $target) !== null;
    }

    /**
     * Close all connections of a user.
     *
     * @return int how many there were
     * @throws GatewayException
     */
    public function disconnectUser(string $user, int $code = 1000, string $reason = ''): int
    {
        $target = self::userPath($user) . self::goodbye($code, $reason);
        return self::count($this->call('DELETE', $target), 'closed');
    }

    /**
     * What is known of one connection; null: it is gone.
     *
     * @throws GatewayException
     */
    public function connection(string $id): ?Connection
    {
        $answer = $this->ask('GET', self::connectionPath($id));
        return $answer === null ? null : new Connection($id, $answer);
    }

    /**
     * How many listen to a channel, and who they are.
     *
     * @param bool $users ask for their names too
     * @throws GatewayException
     */
    public function channel(string $name, bool $users = false): Channel
    {
        return new Channel(
            $name,
            $this->call('GET', self::channelPath($name) . ($users ? '?users=1' : '')),
        );
    }

    /**
     * Make a connection a listener of a channel.
     *
     * @return bool false: the connection is gone
     * @throws GatewayException
     */
    public function subscribe(string $id, string $channel): bool
    {
        return $this->ask('PUT', self::connectionPath($id) . self::channelPath($channel)) !== null;
    }

    /**
     * @return bool false: the connection is gone
     * @throws GatewayException
     */
    public function unsubscribe(string $id, string $channel): bool
    {
        return $this->ask('DELETE', self::connectionPath($id) . self::channelPath($channel)) !== null;
    }

    /**
     * A call about one connection.
     *
     * @param string|array<mixed>|\JsonSerializable|Message|null $message
     * @return ?array<array-key, mixed> null: the connection is gone
     */
    private function ask(
        string $method,
        string $target,
        string|array|\JsonSerializable|Message|null $message = null,
    ): ?array {
        try {
            return $this->call($method, $target, $message);
        } catch (Refused $refused) {
            return $refused->status === 404 ? null : throw $refused;
        }
    }

    /**
     * @param string|array<mixed>|\JsonSerializable|Message|null $message
     * @return array<array-key, mixed> what the answer says
     */
    private function call(
        string $method,
        string $target,
        string|array|\JsonSerializable|Message|null $message = null,
    ): array {
        $sent = $message === null ? null : Message::of($message);
        $headers = ['Accept: application/json'];
        if ($this->token !== null) {
            $headers[] = "Authorization: Bearer {$this->token}";
        }
        if ($sent !== null) {
            $headers[] = "Content-Type: {$sent->contentType}";
        }
        [$status, $body] = $this->http->request($method, $target, $headers, $sent->payload ?? '');
        $answer = json_decode($body, true);
        if ($status < 200 || $status > 299) {
            $error = is_array($answer) ? $answer['error'] ?? null : null;
            $reason = is_array($error) ? $error['reason'] ?? null : null;
            $reason = is_string($reason) ? $reason : 'no reason given';
            // Another process of wsgate did not answer in time, and may have done it.
            throw $status === 504 ? new NoAnswer("504: $reason") : new Refused($status, $reason);
        }
        return is_array($answer) ? $answer : [];
    }

    /** @param array<array-key, mixed> $answer */
    private static function count(array $answer, string $of = 'delivered'): int
    {
        $count = $answer[$of] ?? null;
        return is_int($count) ? $count : throw new NoAnswer('the answer has no count in it');
    }

    private static function goodbye(int $code, string $reason): string
    {
        return '?' . http_build_query(
            ['code' => Check::closeCode($code), 'reason' => Check::closeReason($reason)],
            '',
            '&',
            PHP_QUERY_RFC3986,
        );
    }

    private static function connectionPath(string $id): string
    {
        return '/connections/' . Check::connectionId($id);
    }

    private static function channelPath(string $name): string
    {
        return '/channels/' . rawurlencode(Check::channel($name));
    }

    private static function userPath(string $user): string
    {
        return '/users/' . rawurlencode(Check::user($user));
    }
}
