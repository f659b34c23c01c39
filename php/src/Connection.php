<?php

declare(strict_types=1);

namespace Wsgate;

/** What wsgate knows of one open connection. */
final class Connection
{
    public readonly \DateTimeImmutable $connectedAt;
    public readonly string $remoteAddress;

    /** of the WebSocket's URL, without the query */
    public readonly string $path;
    public readonly ?string $user;

    /** @var list<string> */
    public readonly array $channels;

    /** messages of this client that have no answer yet */
    public readonly int $queue;

    /** @param array<array-key, mixed> $data as the control interface answers */
    public function __construct(public readonly string $id, array $data)
    {
        $at = $data['connected_at'] ?? 0;
        $this->connectedAt = new \DateTimeImmutable('@' . (is_numeric($at) ? (int) $at : 0));
        $this->remoteAddress = is_string($data['remote_addr'] ?? null) ? $data['remote_addr'] : '';
        $this->path = is_string($data['path'] ?? null) ? $data['path'] : '';
        $this->user = is_string($data['user'] ?? null) ? $data['user'] : null;
        $channels = is_array($data['channels'] ?? null) ? $data['channels'] : [];
        $this->channels = array_values(array_filter($channels, is_string(...)));
        $this->queue = is_int($data['queue'] ?? null) ? $data['queue'] : 0;
    }
}
