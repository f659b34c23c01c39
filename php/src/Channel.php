<?php

declare(strict_types=1);

namespace Wsgate;

/** Who listens to a channel. */
final class Channel
{
    public readonly int $subscribers;

    /** @var list<string> each user once, however many connections they have; empty unless asked for */
    public readonly array $users;

    /** @param array<array-key, mixed> $data as the control interface answers */
    public function __construct(public readonly string $name, array $data)
    {
        $subscribers = $data['subscribers'] ?? 0;
        $users = $data['users'] ?? [];
        $this->subscribers = is_int($subscribers) ? $subscribers : 0;
        $this->users = is_array($users) ? array_values(array_filter($users, is_string(...))) : [];
    }
}
