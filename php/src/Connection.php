<?php

declare(strict_types=1);

namespace Wsgate;

/** What wsgate knows of one open connection. */
final class Connection
{
    /** @param array<array-key, mixed> $data */
    public function __construct(public readonly string $id, private readonly array $data)
    {
    }
}
